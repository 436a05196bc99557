"""What an audit is asked for, checked and opened before anything slow starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics.registry import METRICS
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.studies.comparison import comparable_columns, metric_applies, open_as_view
from raymetrics.studies.reweight.optimize import choose_output_column, make_reweight_request
from raymetrics.studies.reweight.settings import ReweightSettings

MATCH = "pre_logits"  # the features of the headline distance
_LEAST_SEEDS = 2  # for a deviation
_MOST_GENERATORS = 2
_NAME = re.compile(r"\w[\w.-]*")  # of a generator, and of its folder
_LETTERS = ("A", "B")


@dataclass(frozen=True, eq=False)
class AuditRequest:
    """What is asked, checked and opened."""

    real: View
    candidates: Mapping[str, View]  # by the name of the generator, one or two
    headline: Column  # the features whose distance is audited
    logits: Column  # of the same extractor
    second_extractors: Sequence[str]
    n: int
    seeds: Sequence[int]
    max_evaluations: int | None
    any_size: bool


def make_audit_request(
    *,
    real: str,
    generated: Sequence[str],
    names: Sequence[str] | None,
    space: str | None,
    second: Sequence[str] | None,
    n: int | None,
    seeds: Sequence[int],
    max_evaluations: int | None,
    any_size: bool,
) -> AuditRequest:
    """Check a request and open its sets; see `raymetrics.studies.audit.study.audit`."""
    if not 1 <= len(generated) <= _MOST_GENERATORS:
        raise RaymetricsError(
            f"{len(generated)} generated sets are given; an audit takes one, or two to compare"
        )
    if len(seeds) < _LEAST_SEEDS:
        raise NotEnoughData(
            f"{len(seeds)} seed gives no deviation; ask for at least {_LEAST_SEEDS} (--seeds)"
        )
    generator_names = _name_generators(generated, names)
    real_view, views = open_as_view(real), [open_as_view(uri) for uri in generated]
    headlines, second_extractors = [], []
    for view in views:
        settings = ReweightSettings(max_evaluations=max_evaluations)
        weights_request = make_reweight_request(
            real_view, view, MATCH, space, settings, any_size=any_size
        )
        headlines.append(weights_request.column)
        second_extractors.append(
            _choose_second_extractors(
                real_view, view, weights_request.column.extractor, second, any_size=any_size
            )
        )
    headline = headlines[0]
    logits = [
        choose_output_column(
            real=real_view.shards, generated=view.shards, output="logits",
            extractor=headline.extractor, any_size=any_size,
        )
        for view in views
    ]  # fmt: skip
    if any(extractors != second_extractors[0] for extractors in second_extractors):
        raise SpecMismatch(
            f"the second spaces of {views[0].shards.uri} are {', '.join(second_extractors[0])}, "
            f"those of {views[1].shards.uri} {', '.join(second_extractors[1])}; choose some that "
            "both have: --second NAME[,NAME]"
        )
    return AuditRequest(
        real=real_view,
        candidates=dict(zip(generator_names, views, strict=True)),
        headline=headline,
        logits=logits[0],
        second_extractors=second_extractors[0],
        n=_require_draw_size(real_view, views, n),
        seeds=seeds,
        max_evaluations=max_evaluations,
        any_size=any_size,
    )


def _name_generators(uris: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """Return the given names, or the last parts of the addresses if they can be names, or letters.

    RaymetricsError for names that are not one for each, or cannot name a folder.
    """
    if names is None:
        last_parts = [uri.partition("?")[0].rstrip("/").rpartition("/")[2] for uri in uris]
        fit = all(map(_NAME.fullmatch, last_parts)) and len({*last_parts}) == len(uris)
        return last_parts if fit else list(_LETTERS[: len(uris)])
    if len(names) != len(uris) or len({*names}) != len(names):
        raise RaymetricsError(
            f"names {', '.join(names) or 'none'} for {len(uris)} generated sets; give each its own"
        )
    for name in names:
        if not _NAME.fullmatch(name):
            raise RaymetricsError(
                f"name {name!r} also names a folder; write letters, digits, '-', '_' and '.'"
            )
    return list(names)


def _choose_second_extractors(
    real: View, generated: View, headline: str, second: Sequence[str] | None, *, any_size: bool
) -> list[str]:
    """Return the extractors of the second spaces: the named ones, or all but the headline's.

    SpecMismatch if there is none, or none of this name, or one that both sets used differently.
    """
    columns = comparable_columns(real.shards, generated.shards, None, None, any_size=any_size)
    extractors = list(
        dict.fromkeys(
            column.extractor
            for column in columns
            if metric_applies(METRICS["fid"], column, real.shards.spec, explicit=False)
            and column.extractor != headline
        )
    )
    if not extractors:
        raise SpecMismatch(
            f"no second space: {real.shards.uri} and {generated.shards.uri} both have features of "
            f"{headline} alone, so nothing can be said of what it overlooks; extract both with "
            "another network too, such as clip or dinov2"
        )
    for name in second or ():
        if name not in extractors:
            raise SpecMismatch(
                f"{name!r} is no second space of {headline} that {real.shards.uri} and "
                f"{generated.shards.uri} both have; there are {', '.join(extractors)}"
            )
    return extractors if second is None else [name for name in extractors if name in second]


def _require_draw_size(real: View, candidates: Sequence[View], n: int | None) -> int:
    """Return n; by default as many as there are real samples, or half of the candidates if fewer.

    A draw takes at most half of the candidates: so random draws differ at least as much as sets
    of candidates do, and their deviation covers that of the candidates. NotEnoughData for larger
    draws, and for smaller ones than a covariance takes.
    """
    fewest = min(candidates, key=len)
    limit = len(fewest) // 2
    count = min(len(real), limit) if n is None else n
    if not 2 <= count <= limit:
        raise NotEnoughData(
            f"draws of {count} samples from the {len(fewest)} candidates in {fewest.shards.uri}; "
            "a draw takes 2 or more, and at most half of them, so that draws differ: "
            + (f"ask for 2 to {limit} (--n), or " if limit >= 2 else "")
            + "extract more candidates"
        )
    return count
