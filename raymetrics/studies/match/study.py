"""The study `match`: draw samples whose Top-1 classes match, then measure what that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import shared_session
from raymetrics.python_arguments import as_texts
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.attack_numbers import evaluate_matched
from raymetrics.studies.comparison import open_as_view, set_uri
from raymetrics.studies.match.draw import draw_matched
from raymetrics.studies.match.result import MatchProgress, MatchResult
from raymetrics.studies.seeds import as_seeds


def match(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    shards: str | None = None,
    extractors: str | Sequence[str] = (),
    classes: str | None = None,
    n: int = 50_000,
    max_draws: int | None = None,
    on_unfilled: str = "stop",
    first: int | None = None,
    seeds: int | Sequence[int] = 5,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[MatchProgress], None] | None = None,
    tell: Callable[[MatchResult], None] = lambda result: None,
) -> MatchResult:
    """Draw generated samples until their Top-1 classes are as often as in the real set.

    Kynkaanniemi et al. 2023, section 3.1 and Table 1: an attack on FID.

    real: a complete shard set, or some of its samples as "SHARDS?ids=FILE".
    generated: a shard set, which is extended from its own source; or a source, whose shards go to
    `shards` (by default `to`/shards) with `extractors` (by default those of the real set).
    to: a folder or a prefix for accepted.parquet, a selection for other verbs.
    classes: the column of logits that gives the classes; by default inception's, or the only one.
    n: samples to find. max_draws: samples to look at, at most; by default no limit.
    on_unfilled: what to do if a class has too few samples then: "stop" accepts a part that says
    so, "fail" raises NotEnoughData; the shards stay.
    first: the first id looked at; by default the set's first, or 0.
    seeds: how many sets' mean is reported, or their seeds. The set of seed 0 is the accepted one,
    the others take as many samples of every class at random. Random sets of as many samples stand
    beside them.
    shard_rows, resources: see `extract`.
    run_code: also open what a shard set names if it is a program, or on another machine.
    any_size: also compare sets whose images have different sizes.
    progress: called after every shard. tell: called with the accepted samples before the numbers
    are computed.

    Samples are accepted in the order of their ids as long as their class has room, so the same
    ones for any number of workers. Run again after anything that stopped it: no shard is made
    twice. Raises SourceError, ExtractorError, SampleRangeError, ShardError, StorageError;
    SpecMismatch for sets that cannot be compared; ProgramRefused without run_code.
    """
    generated, seeds = set_uri("generated", generated), as_seeds(seeds)
    require_writable_store(to)
    real_view = open_as_view(set_uri("real", real))
    with shared_session(local=resources.local if resources else None):
        result = draw_matched(
            real=real_view,
            generated=generated,
            to=to,
            shards=shards,
            extractors=as_texts(extractors),
            classes=classes,
            n=n,
            max_draws=max_draws,
            on_unfilled=on_unfilled,
            first=first,
            shard_rows=shard_rows,
            run_code=run_code,
            any_size=any_size,
            resources=resources,
            progress=progress,
        )
        tell(result)
        if len(result.sample_ids) < 2:  # a covariance takes two
            return result
        numbers = evaluate_matched(
            real=real_view, generated=result.shards, accepted=result.path, seeds=seeds
        )
    return replace(result, numbers=numbers)
