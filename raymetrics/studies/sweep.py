"""Many generated sets against one real set: their features in one stream, then their numbers.

What is there is not made again: neither a shard, nor a number of the same two sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from raymetrics import option_strings, sample_ranges
from raymetrics.distributed.cluster_resources import Resources
from raymetrics.distributed.extraction.dataset_request import wanted_samples
from raymetrics.distributed.extraction.extract import Request, extract_each
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.session import one_session
from raymetrics.errors import (
    RangeError,
    RaymetricsError,
    ResultError,
    ShardError,
    SourceError,
    TemporaryFailure,
)
from raymetrics.generators import open_source, permission_for
from raymetrics.generators.latents.truncated_generator import IN_Z, LETTERS, Truncation
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import METRICS
from raymetrics.permissions import Permission
from raymetrics.provenance import environment, fingerprint
from raymetrics.python_arguments import as_names, as_texts
from raymetrics.results import Failure, Result
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writable import require_writable
from raymetrics.studies.comparison import known, opened, require_measurable
from raymetrics.studies.evaluate import evaluate, require_enough
from raymetrics.studies.sweep_table import Row, planned
from raymetrics.uris import require_no_secret

# Precision and recall, Sajjadi et al.'s and FID side by side, as in Kynkaanniemi et al. 2019.
USUAL = ("fid", "pr", "dc", "prd")
OF_LABELS = ("fid", "pr", "dc")  # a class may have fewer samples than prd's clusters take
NUMBERS = "numbers"  # below `to`: those of every set
LETTERS_OF_NAME = 60  # of a source, in the name of the folder of its shards


@dataclass(frozen=True)
class Swept:
    """What a sweep gave, in the order of its plan: by the names of rows their numbers.

    written: the sources of the plan, which a page may open.
    """

    measured: Mapping[str, list[Result]] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    written: frozenset[str] = frozenset()

    @property
    def results(self) -> list[Result]:
        """The numbers of all rows."""
        return [result for found in self.measured.values() for result in found]

    def updated(self, newer: Swept) -> Swept:
        """With the rows of another sweep, which count where both have them."""
        again = {*newer.measured, *(failure.name for failure in newer.failures)}
        rest = {name: found for name, found in self.measured.items() if name not in again}
        failures = [failure for failure in self.failures if failure.name not in again]
        written = self.written | newer.written
        return Swept({**rest, **newer.measured}, [*failures, *newer.failures], written)


@dataclass(frozen=True)
class Asked:
    """What is to be measured of every set."""

    metrics: tuple[str, ...]
    columns: tuple[str, ...] | None
    convention: Convention
    by: str | None
    any_size: bool = False

    def require_enough(self, count: int, side: str) -> None:
        """NotEnoughData if a metric takes more samples than this of a side."""
        for name in self.metrics:
            require_enough(METRICS[name], self.convention, count, f"there are {count} {side} ones")

    def results(self, real: str, generated: str) -> list[Result]:
        """Of all samples, and then label by label."""
        both = {
            "real": real, "generated": generated, "convention": self.convention,
            "any_size": self.any_size,
        }  # fmt: skip
        found: list[Result] = evaluate(**both, metrics=self.metrics, columns=self.columns)  # type: ignore[arg-type]
        some = [name for name in self.metrics if name in OF_LABELS]
        if self.by and some:
            found += evaluate(**both, metrics=some, columns=self.columns, by=self.by)  # type: ignore[arg-type]
        return found


@dataclass(frozen=True)
class RealSide:
    """The real set, and what is to be made of it first."""

    uri: str
    missing: tuple[Request, ...]
    ids: range  # of every generated set, where its row does not say which
    extractors: Sequence[str]


def sweep(
    plan: str | Iterable[str | Mapping[str, object]],
    *,
    real: str | None = None,
    real_source: str | None = None,
    real_samples: range | str | None = None,
    to: str,
    shards: str | None = None,
    extractors: str | Sequence[str] | None = None,
    samples: range | str | None = None,
    metrics: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | None = None,
    by: str | None = None,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    told: Callable[[str], None] | None = None,
) -> Swept:
    """The metrics of every row of a plan against one real set. A row that fails is told, and the
    others go on.

    plan: "plan.csv", "module:callable", dictionaries, or plain sources; see `planned`.
    real: a complete shard set, or some of its samples. Or real_source, of which real_samples (by
    default all) are extracted first, once for all rows.
    to: where the numbers of every set are kept; shards: where their features are, a set for each
    source, by default in `to`/shards.
    extractors: as texts; by default those that the real set was made with.
    samples: which ids of a source whose row does not say; by default the first as many as there
    are real ones.
    metrics, columns, convention: of `evaluate`; by default "fid", "pr", "dc" and "prd" of all
    features. by: "label" for the numbers of every label besides, of those metrics that are
    computed by label.
    run_code: open what a plan's file or the real set names also if it is a program, or on another
    machine.
    any_size: also of sets whose images have another size than the real ones.
    told: called with the name of the row whose numbers come next.

    Raises what is wrong with the request, with the real set, or with all rows; ProgramRefused for
    what would need run_code; and a
    TemporaryFailure, after which the same sweep goes on. What is made stays, whatever happens.
    """
    permission = Permission(run_code)
    rows = planned(plan, permission)
    asked = Asked(
        tuple(known(as_names(USUAL if metrics is None else metrics))),
        tuple(as_names(columns)) if columns else None,
        convention or Convention(), by, any_size,
    )  # fmt: skip
    folder, kept = shards or f"{to}/shards", Store(f"{to}/{NUMBERS}")
    for place_to_write in (to, folder):  # found before anything is made
        require_writable(place_to_write)
    texts = None if extractors is None else as_texts(extractors)
    side = real_side(real, real_source, real_samples, texts, folder, permission)
    ids = sample_ranges.parse(samples) if isinstance(samples, str) else samples or side.ids
    asked.require_enough(len(side.ids), "real")
    asked.require_enough(max(len(row.ids or ids) for row in rows), "generated")
    requests = [Request(place(folder, row), row.source, row.samples or ids) for row in rows]
    measured: dict[str, list[Result]] = {}
    failures: list[Failure] = []
    with one_session():
        made = extract_each(
            [*side.missing, *requests], side.extractors,
            shard_rows=shard_rows, resources=resources, progress=progress,
            check=lambda made_of: require_comparable(made_of, real, folder, asked),
        )  # fmt: skip
        for of_real in made[: len(side.missing)]:
            require(of_real)
        made = made[len(side.missing) :]
        for row, request, extraction in zip(rows, requests, made, strict=True):
            try:
                require(extraction)
                require_asked(request)
                if told:
                    told(row.name)
                found = numbers(kept, side.uri, request.to, asked)
                measured[row.name] = [replace(result, row=dict(row.said)) for result in found]
            except TemporaryFailure:
                raise
            except RaymetricsError as error:
                failures.append(failure(row, error))
    written = [*([real_source] if real_source else []), *(row.source for row in rows)]
    return Swept(measured, failures, permission_for(run_code, *written).written)


def require_comparable(made_of: DatasetSpec, real: str | None, folder: str, asked: Asked) -> None:
    """Raise what the numbers of every row would: SpecMismatch for sets of these extractors that
    cannot be compared with the real one, or lack a column, ShardError without labels."""
    made = ShardSet(Store(folder), made_of, ())
    of_real = made if real is None else opened(real).shards
    require_measurable(of_real, made, asked.metrics, asked.columns)
    if asked.by and real is not None:
        of_real.require_labels()


def require(extraction: object) -> None:
    """Raises what went wrong with a set."""
    if isinstance(extraction, RaymetricsError):
        raise extraction


def require_asked(request: Request) -> None:
    """ShardError if the set is also to hold other samples, because of a larger sweep."""
    shards, ids = open_shards(request.to), request.samples
    asked = sample_ranges.parse(ids) if isinstance(ids, str) else ids
    if asked is not None and sample_ranges.union(shards.spec.samples) != [asked]:
        there = ", ".join(map(sample_ranges.describe, shards.spec.samples))
        raise ShardError(
            f"{shards.uri} is to hold samples {there}, asked for are "
            f"{sample_ranges.describe(asked)}; ask "
            "for the same ones, or sweep to another place"
        )


def failure(row: Row, error: RaymetricsError) -> Failure:
    """Why a row has no numbers."""
    return Failure(row.name, row.source, dict(row.said), type(error).__name__, str(error))


def real_side(
    shards: str | None,
    source: str | None,
    samples: range | str | None,
    extractors: Sequence[str] | None,
    folder: str,
    permission: Permission,
) -> RealSide:
    """The set that is there, or the one that is to be made of a source, in this folder."""
    if shards is not None and source is None:
        view = opened(shards)
        if samples is not None:
            raise RangeError(
                f"{view.shards.uri} is a shard set, whose samples are all taken; leave out which "
                "real samples, or name the source"
            )
        for text in () if extractors else view.shards.spec.asked:
            permission.require_extractor(text, view.shards.uri)
        return RealSide(shards, (), range(len(view)), extractors or view.shards.spec.asked)
    if shards is not None or source is None:
        raise RaymetricsError("give the real side either as a shard set or as a source of samples")
    ids = wanted_samples(open_source(source, torch.device("cpu")), samples)
    uri = place(folder, Row(source, sample_ranges.describe(ids)), "real-")
    return RealSide(uri, (Request(uri, source, ids),), range(len(ids)), extractors or ())


def numbers(kept: Store, real: str, generated: str, asked: Asked) -> list[Result]:
    """Those of one set: the ones that an earlier run kept, or new ones, which are kept."""
    shards = open_shards(generated)
    sides = {"real": opened(real).digest(), "generated": shards.digest}
    # Two sources may give the same images.
    what = {**sides, "made_of": shards.spec.fingerprint, "asked": asdict(asked)}
    name = f"{fingerprint({**what, 'by': environment()})[:24]}.jsonl"
    data = kept.read(name)
    if data is not None:
        try:
            return [Result.from_json(line) for line in data.decode().splitlines()]
        except (UnicodeDecodeError, ResultError) as error:
            raise ResultError(
                f"{kept.path(name)} holds no results ({error}); remove it, and they are computed "
                "again"
            ) from None
    found = asked.results(real, generated)
    kept.replace(name, "".join(result.to_json() + "\n" for result in found).encode())
    return found


def place(folder: str, row: Row, prefix: str = "") -> str:
    """Where the shards of a row go, by a name that can be read. Other rows go elsewhere, whatever
    characters or folders tell them apart; a row without samples of its own keeps its place when
    the sweep takes more of them."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", row.source.rpartition("/")[2]).strip("-.")
    own = {"samples": row.samples} if row.samples else {}
    digest = fingerprint({"source": row.source, **own})[:6]
    return f"{folder}/{prefix}{readable[:LETTERS_OF_NAME]}-{digest}"


def strategies_of(source: str) -> tuple[list[str], dict[str, str]]:
    """All strategies that a source has, and why it lacks the others: a mapping that takes only the
    direction of z leaves nothing to do in Z."""
    cpu, lacking = torch.device("cpu"), {}
    for strategy in IN_Z:
        try:
            open_source(truncations(source, [strategy], [0.5])[0], cpu)
        except SourceError as error:
            lacking[strategy] = str(error)
    if len(lacking) == len(IN_Z):
        return list(LETTERS.values()), {}  # what is wrong is the source itself, and will be told
    return [name for name in LETTERS.values() if name not in lacking], lacking


def truncations(source: str, strategies: Sequence[str], amounts: Sequence[float]) -> list[str]:
    """The source truncated by every strategy to every amount; with 1 it is the source itself, which
    comes first and once. SourceError for no such strategy or amount."""
    name, options = option_strings.split(require_no_secret(source, SourceError))
    if "truncate" in options:
        raise RaymetricsError(f"{source} is truncated already; give the source without it")
    if not strategies or not amounts:
        raise RangeError("no strategies or no amounts are asked for")
    mean = {"mean": options.pop("mean")} if "mean" in options else {}
    some = sorted({amount for amount in amounts if amount != 1}, reverse=True)
    texts = []
    for strategy in dict.fromkeys(strategies):
        own = {} if LETTERS.get(strategy, strategy) in IN_Z else mean
        for amount in some:
            how = {"truncate": f"{strategy}:{amount:g}", **own}
            Truncation.read(how["truncate"], how.get("mean"))
            texts.append(option_strings.join(name, {**options, **how}))
    return [option_strings.join(name, options), *texts] if 1 in amounts else texts
