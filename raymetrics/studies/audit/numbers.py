"""The numbers of an audit: distances of all draws in all spaces, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raymetrics.errors import NotEnoughData
from raymetrics.results import Result
from raymetrics.studies.audit.draws import (
    MatchedCounts,
    matched_draws,
    random_draws,
    weighted_draws,
)
from raymetrics.studies.audit.estimates import Estimate
from raymetrics.studies.audit.null_space import AttackEffect, AuditedGenerator, SpaceChange
from raymetrics.studies.audit.request import AuditRequest
from raymetrics.studies.resampled_metrics import Resampling, evaluate_resamplings
from raymetrics.studies.reweight.weights_file import SampleWeights

MATCHING, REWEIGHTING = "matching", "reweighting"


@dataclass(frozen=True, eq=False)
class AttackNumbers:
    """The distances of an attack's draws and of random draws of the same size, headline first."""

    attack: str
    random: Sequence[Result]
    attacked: Sequence[Result]


def evaluate_attacks(
    request: AuditRequest, name: str, weights: SampleWeights, matched: MatchedCounts
) -> list[AttackNumbers]:
    """Compute the distances of a generator's draws, in the headline space and the second spaces.

    Random draws are as large as those of the attack: distances of few samples are larger.
    """
    view, extractor = request.candidates[name], request.headline.extractor
    attacks = {
        MATCHING: matched_draws(view, matched, extractor, request.seeds),
        REWEIGHTING: weighted_draws(weights, request.n, request.seeds),
    }
    numbers = []
    for size in sorted({len(draws.ids[0]) for draws in attacks.values()}):
        same_size = {key: draws for key, draws in attacks.items() if len(draws.ids[0]) == size}
        random, *attacked = _evaluate_draws(
            request, name, [random_draws(view, size, request.seeds), *same_size.values()]
        )
        numbers += [
            AttackNumbers(attack, random, results)
            for attack, results in zip(same_size, attacked, strict=True)
        ]
    return numbers


def _evaluate_draws(
    request: AuditRequest, name: str, resamplings: Sequence[Resampling]
) -> list[list[Result]]:
    """Return the distances of every way of drawing in all spaces, the headline space first."""
    headline = request.headline.extractor
    results = evaluate_resamplings(
        real=request.real,
        generated=request.candidates[name],
        resamplings=resamplings,
        metrics=("fid",),
        extractors=[headline, *request.second_extractors],
    )
    by_draws = [results[i :: len(resamplings)] for i in range(len(resamplings))]
    return [sorted(row, key=lambda result: result.space["name"] != headline) for row in by_draws]


def summarize_generator(name: str, numbers: Sequence[AttackNumbers]) -> AuditedGenerator:
    """Return a generator's distances and the effects of the attacks on it.

    NotEnoughData if a distance of random draws is not above 0, as of features that never differ.
    """
    for result in numbers[-1].random:
        if result.value <= 0:
            raise NotEnoughData(
                f"{result.label} is {result.value:g}, so there is nothing to remove from it; give "
                "generated samples that differ from the real ones"
            )
    distances = {result.measure_name: _estimate(result) for result in numbers[-1].random}
    return AuditedGenerator(name, distances, tuple(map(_effect, numbers)))


def _effect(numbers: AttackNumbers) -> AttackEffect:
    """Return what an attack does in every space."""
    headline, *seconds = (
        SpaceChange(random.measure_name, _estimate(random), _estimate(attacked))
        for random, attacked in zip(numbers.random, numbers.attacked, strict=True)
    )
    return AttackEffect(numbers.attack, headline, tuple(seconds))


def _estimate(result: Result) -> Estimate:
    """Return the mean over the seeds with its deviation."""
    assert result.spread is not None  # there are two seeds or more
    return Estimate(result.value, result.spread)


def make_audit_results(
    generator: AuditedGenerator, numbers: Sequence[AttackNumbers]
) -> list[Result]:
    """Return all numbers of a generator: distances by space, then the shares in the null space.

    The details of each hold the generator's name; of an attacked distance also the attack and its
    relative change from random draws with the deviation.
    """
    about: dict[str, object] = {"generator": generator.name}
    results = []
    for space in range(len(numbers[0].random)):
        randoms = {id(part.random): part.random[space] for part in numbers}
        results += [_with_details(random, about) for random in randoms.values()]
        for effect, part in zip(generator.effects, numbers, strict=True):
            change = (effect.headline, *effect.seconds)[space]
            fall = change.fall
            attacked = {"attack": part.attack, "relative_change": [-fall.value, fall.deviation]}
            results.append(_with_details(part.attacked[space], about | attacked))
    shares = [
        _share_result(effect, part.attacked, about)
        for effect, part in zip(generator.effects, numbers, strict=True)
    ]
    return [*results, *shares]


def _with_details(result: Result, details: Mapping[str, object]) -> Result:
    return replace(result, details={**result.details, **details})


def _share_result(
    effect: AttackEffect, attacked: Sequence[Result], about: Mapping[str, object]
) -> Result:
    """Return the share in the perceptual null space, with the convention of the headline."""
    headline, *seconds = attacked
    share, short_name = effect.null_share, "null-space share"
    return replace(
        headline,
        metric="null_space_share",
        label=f"{short_name} of {headline.label}",
        short_name=short_name,
        space_name=headline.measure_name,
        value=share.value,
        spread=share.deviation,
        convention={
            **headline.convention,
            "second": ", ".join(result.measure_name for result in seconds),
            "share": "fall of the headline - largest fall of a second space",
        },
        details={**about, "attack": effect.attack},
        warnings=(),
    )
