"""Many generated sets against one real set: their features in one stream, then their numbers.

What is there is not made again: neither a shard, nor a number of the same two sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from raymetrics import queries
from raymetrics.errors import RangeError, RaymetricsError, ResultError, SourceError
from raymetrics.evaluation.run import evaluate
from raymetrics.evaluation.selection import opened
from raymetrics.generators import open_source
from raymetrics.generators.latents.truncated import IN_Z, LETTERS
from raymetrics.metrics import Convention
from raymetrics.provenance import environment, fingerprint
from raymetrics.results import Result
from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.streaming.extract import Progress, extract_all
from raymetrics.streaming.resources import Resources
from raymetrics.streaming.session import session

# Precision and recall, Sajjadi et al.'s and FID side by side, as in Kynkaanniemi et al. 2019.
USUAL = ("fid", "pr", "dc", "prd")
OF_LABELS = ("fid", "pr", "dc")  # a class may have fewer samples than prd's clusters take
NUMBERS = "numbers"  # below `to`: those of every set


@dataclass(frozen=True)
class Asked:
    """What is to be measured of every set."""

    metrics: tuple[str, ...]
    columns: tuple[str, ...] | None
    convention: Convention
    by: str | None

    def results(self, real: str, generated: ShardSet) -> list[Result]:
        """Of all samples, and then label by label."""
        both = {"real": real, "generated": generated, "convention": self.convention}
        found: list[Result] = evaluate(**both, metrics=self.metrics, columns=self.columns)  # type: ignore[arg-type]
        some = [name for name in self.metrics if name in OF_LABELS]
        if self.by and some:
            found += evaluate(**both, metrics=some, columns=self.columns, by=self.by)  # type: ignore[arg-type]
        return found


def sweep(
    *,
    real: str,
    sources: Sequence[str],
    to: str,
    shards: str | None = None,
    extractors: Sequence[str] | None = None,
    samples: range | str | None = None,
    metrics: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    convention: Convention | None = None,
    by: str | None = None,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    told: Callable[[str], None] | None = None,
) -> list[Result]:
    """The metrics of every source against the real set, in the order of the sources.

    real: a complete shard set, or some of its samples. sources: see `open_source`.
    to: where the numbers of every set are kept; shards: where their features are, a set for each
    source, by default in `to`/shards.
    extractors: as texts; by default those that the real set was made with.
    samples: which ids of every source; by default the first as many as there are real ones.
    metrics, columns, convention: of `evaluate`; by default "fid", "pr", "dc" and "prd" of all
    features. by: "label" for the numbers of every label besides, of those metrics that are
    computed by label.
    told: called with a source whose numbers come next.

    Raises what `extract` and `evaluate` do.
    """
    if not sources:
        raise RangeError("no sources are asked for")
    view = opened(real)
    texts = extractors or view.shards.spec.asked
    wanted = range(len(view)) if samples is None else samples
    asked = Asked(
        tuple(metrics or USUAL), tuple(columns) if columns else None, convention or Convention(), by
    )
    places = named(shards or f"{to}/shards", sources)
    kept = Store(f"{to}/{NUMBERS}")
    with session():
        extract_all(
            places, texts, wanted, shard_rows=shard_rows, resources=resources, progress=progress
        )
        found = []
        for place, source in places.items():
            if told:
                told(source)
            found += numbers(kept, real, open_shards(place), asked)
    return found


def numbers(kept: Store, real: str, generated: ShardSet, asked: Asked) -> list[Result]:
    """Those of one set: the ones that an earlier run kept, or new ones, which are kept."""
    sides = {"real": opened(real).digest(), "generated": generated.digest}
    # Two sources may give the same images.
    what = {**sides, "made_of": generated.spec.fingerprint, "asked": asdict(asked)}
    name = f"{fingerprint({**what, 'by': environment()})[:24]}.jsonl"
    data = kept.read(name)
    if data is not None:
        try:
            return [Result.from_json(line) for line in data.decode().splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise ResultError(
                f"{kept.path(name)} holds no results ({type(error).__name__}: {error}); remove it, "
                "and they are computed again"
            ) from None
    found = asked.results(real, generated)
    kept.replace(name, "".join(result.to_json() + "\n" for result in found).encode())
    return found


def named(folder: str, sources: Sequence[str]) -> dict[str, str]:
    """{where its shards go: source}, by names that can be read."""
    places: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", source.rpartition("/")[2]).strip("-.")
        # Other characters, or another folder, must not lead to the same place.
        places[f"{folder}/{readable}-{fingerprint({'source': source})[:6]}"] = source
    return places


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
    comes first and once."""
    name, options = queries.split(source)
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
            texts.append(queries.join(name, {**options, **how}))
    return [queries.join(name, options), *texts] if 1 in amounts else texts
