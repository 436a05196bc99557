"""The stages that generate and extract: one in each worker, one unit at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import ray
import torch

from raymetrics import sample_ranges
from raymetrics.distributed.devices import device, device_name, machine_kind, reproducible
from raymetrics.distributed.extraction.commit_stage import ACCOUNT, PADDING, TARGET, packed
from raymetrics.distributed.extraction.generate_with_retry import made
from raymetrics.distributed.extraction.retry_limit import bounded
from raymetrics.distributed.extraction.unit_record import EXTRACT, GENERATE, Account
from raymetrics.errors import (
    ClusterFailure,
    ExtractorError,
    RaymetricsError,
    SourceError,
    TemporaryFailure,
)
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.fixed_batches import in_blocks
from raymetrics.generators import Generator, listing, open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.schema import Column
from raymetrics.user_code import without_folders

IMAGE = "image"


class Generate:
    """A stage: units to {"account", "sample_id" int64 [1, n], "image" uint8 [1, n, 3, h, w],
    "label"}; of those that hold no sample the account alone.

    One row holds a whole unit, as everywhere in the stream. sources: of every target, with the
    listing of its generator; one generator is held at a time. attempts: counts how often a unit
    ends its worker.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], attempts: Any = None) -> None:
        reproducible()
        self.sources, self.attempts = sources, attempts
        self.target: int | None = None
        self.opened: Generator | RaymetricsError | None = None

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """unit: {"target" [1], "first" [1], "rows" [1]}; one that holds nothing stays one."""
        account = account_of(unit)
        if account is None:
            return {ACCOUNT: np.array([""])}
        name = f"{GENERATE} {account.target} {account.first}"
        return bounded(
            self.attempts, name, lambda: self.make(account), lambda n: told(deadly(account, n))
        )

    def make(self, account: Account) -> dict[str, np.ndarray]:
        """The unit's samples."""
        start = time.monotonic()
        try:
            samples = made(self._opened(account.target), np.array(account.ids))
        except TemporaryFailure:
            raise
        except RaymetricsError as error:
            return told(account.failed(error))
        account = replace(
            account,
            left_out=samples.left_out,
            retried=int(samples.again),
            made_on=(machine_kind(),),
            image_size=size_of(samples.images),
        )
        found = told(account.took(GENERATE, time.monotonic() - start))
        if len(samples.sample_ids):
            found |= {schema.SAMPLE_ID: samples.sample_ids[None], IMAGE: samples.images[None]}
            if samples.labels is not None:
                found[schema.LABEL] = samples.labels[None]
        return found

    def _opened(self, target: int) -> Generator:
        """The generator of this target, or its error, as often as it is asked for; the one before
        is let go first, as it takes room."""
        if target != self.target:
            self.opened = None
            try:
                self.opened = same_generator(*self.sources[target])
            except TemporaryFailure:
                raise
            except RaymetricsError as error:
                self.opened = error
            self.target = target
        if isinstance(self.opened, RaymetricsError):
            raise self.opened
        assert self.opened is not None
        return self.opened


class Extract:
    """A stage: what `Generate` gives to the rows of a shard, packed."""

    def __init__(
        self,
        texts: Sequence[str],
        expected: Sequence[Mapping[str, object]],
        attempts: Any = None,
    ) -> None:
        reproducible()
        self.attempts, self.extractors = attempts, []
        self.error: RaymetricsError | None = None
        try:
            self.extractors = bounded(
                attempts, starting(attempts), lambda: same_extractors(texts, expected), crashed
            )
        except RaymetricsError as error:
            self.error = error  # raised by a call; an actor that dies here would be started again
        except torch.OutOfMemoryError as error:
            self.error = ExtractorError(
                "the extractors do not fit into the GPU beside its other workers "
                f"({str(error).splitlines()[0]}); ask for fewer --actors"
            )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: one, as `Generate` gives it."""
        account = account_told(unit)
        if account is None:
            return packed(None)
        name = f"{EXTRACT} {account.target} {account.first}"
        return bounded(
            self.attempts,
            name,
            lambda: self.make(unit),
            lambda times: packed(None, deadly(account, times)),
        )

    def make(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """The features of the unit's samples."""
        if self.error is not None:
            raise self.error
        account = account_told(unit)
        if account is None or schema.SAMPLE_ID not in unit:
            return packed(None, account)
        start = time.monotonic()
        try:
            table = self._features(unit)
        except TemporaryFailure:
            raise
        except RaymetricsError as error:
            return packed(None, account.failed(error))
        machines = sorted({*account.made_on, machine_kind()})
        account = replace(account, device=device_name(), made_on=machines)
        return packed(table, account.took(EXTRACT, time.monotonic() - start))

    def _features(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        sample_ids, images = unit[schema.SAMPLE_ID][0], unit[IMAGE][0]
        labels = unit[schema.LABEL][0] if schema.LABEL in unit else None
        columns: list[Column] = []
        features = {}
        for extractor in self.extractors:
            found = in_blocks(extractor, sample_ids, images, extractor.block)
            for column in schema.columns_of(extractor.name, extractor.columns):
                columns.append(column)
                features[column.name] = found[column.output]
        return schema.to_table(columns, sample_ids, labels, features)


class GenerateAndExtract:
    """Both stages in one actor, so that images never leave it."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        extractors: tuple[Sequence[str], Sequence[Mapping[str, object]]],
        attempts: Any = None,
    ) -> None:
        self.generate, self.extract = Generate(sources), Extract(*extractors, attempts)
        self.attempts = attempts

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: {"target" [1], "first" [1], "rows" [1]}."""
        account = account_of(unit)
        if account is None:
            return packed(None)
        return bounded(
            self.attempts,
            f"{account.target} {account.first}",
            lambda: self.extract.make(self.generate.make(account)),
            lambda times: packed(None, deadly(account, times)),
        )


def account_of(unit: Mapping[str, np.ndarray]) -> Account | None:
    """A new one of a unit; None of one that holds nothing."""
    first, rows, target = (int(unit[name][0]) for name in ("first", "rows", TARGET))
    return None if first == PADDING else Account(target, first, rows)


def size_of(images: np.ndarray) -> tuple[int, int] | None:
    """Height and width of images [n, 3, h, w]; None of no image."""
    return (images.shape[2], images.shape[3]) if len(images) else None


def told(account: Account) -> dict[str, np.ndarray]:
    """It alone, as a unit on its way."""
    return {ACCOUNT: np.array([account.to_json()])}


def account_told(unit: Mapping[str, np.ndarray]) -> Account | None:
    """What `told` told; None of a unit that holds nothing."""
    text = str(unit[ACCOUNT][0])
    return Account.from_json(text) if text else None


def deadly(account: Account, times: int) -> Account:
    """Of samples that end their worker whenever they are begun."""
    return account.failed(
        SourceError(
            f"samples {sample_ranges.describe(account.ids)} ended their worker "
            f"{times} times, and are not "
            "begun again: the process crashed in native code, was killed, or the machine had no "
            "memory left (Ray's logs say which); try a smaller --batch or other samples; if it was "
            "machines that were lost, run the same command again"
        )
    )


def starting(attempts: Any) -> str:
    """The start of this actor, as something that is begun and ended; of a restarted one too."""
    return "" if attempts is None else f"start {ray.get_runtime_context().get_actor_id()}"


def crashed(times: int) -> NoReturn:
    """Of an actor that ends whenever it starts."""
    raise ClusterFailure(
        f"a worker ended {times} times while it loaded the extractors: its process crashed, was "
        "killed, or the machine had no memory left (Ray's logs say which); with fewer --actors, "
        "run the same command again"
    )


def same_extractors(
    texts: Sequence[str], expected: Sequence[Mapping[str, object]]
) -> list[Extractor]:
    """The extractors. ExtractorError if one is not what it is on the driver."""
    found = [make_extractor(text, device()) for text in texts]
    for extractor, spec in zip(found, expected, strict=True):
        fields = layout.differences(without_folders(extractor.spec), without_folders(spec))
        if fields:
            raise ExtractorError(
                f"{extractor.name} on a worker is not what it is on the driver "
                f"({'; '.join(fields)}); bring code and "
                "weights in line on all machines and run the command again"
            )
    return found


def same_generator(source: str, expected: str) -> Generator:
    """The generator. SourceError if it is not what it is on the driver; expected: its listing."""
    generator = open_source(source, device())
    if listing(generator) != expected:
        raise SourceError(
            f"{source} on a worker is not what it is on the driver: another version of the code, "
            "or a file or folder that has changed; bring them in line and run the command again"
        )
    return generator
