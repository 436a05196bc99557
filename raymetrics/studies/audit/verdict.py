"""The verdict of an audit in words: which rule holds, with the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from raymetrics.studies.audit.estimates import Estimate
from raymetrics.studies.audit.null_space import (
    AttackEffect,
    AuditedGenerator,
    SpaceChange,
    share_in_reach,
)

# The thresholds. A number counts if it is more than so many standard deviations of a single draw
# away from 0. A smaller share is not called one: the paper's second opinions fall by up to 4 %
# (Tables 1 and 2) where it speaks of none.
DEVIATIONS = 2.0
LEAST_SHARE = 0.05

_DOING = {"matching": "Matching Top-1 classes", "reweighting": "Reweighting"}
_DOING_ALONE = {"matching": "Matching Top-1 classes of", "reweighting": "Reweighting"}
_REACH = {"matching": "class frequencies", "reweighting": "weights"}
_BOTH = {"matching": "the classes of both matched", "reweighting": "both reweighted"}

# What is concluded of one generator, by what the attacks show.
_SHARE_RULES = {
    "hidden": "{share} of {headline} lies in the perceptual null space: {doing} removes it, and no "
    "second space sees that.",
    "seen": "Nothing of {headline} is shown to lie in the perceptual null space: what the attacks "
    "remove, a second space sees too.",
    "unmoved": "Nothing of {headline} is shown to lie in the perceptual null space: the attacks do "
    "not lower it by more than draws differ.",
}
# What is concluded of two, by what the second spaces say of the order, and by how far the attacks
# on one of them reach.
_ORDER_RULES = {
    "same": "The second spaces confirm the order of {headline}: {lower} is better than {higher}.",
    "opposite": "The second spaces contradict the order of {headline}: {higher} is better than "
    "{lower}.",
    "mixed": "The second spaces contradict one another on the order of {lower} and {higher}.",
    "unknown": "No second space confirms the order of {headline}: they do not distinguish {lower} "
    "and {higher}.",
}
_REACH_RULES = {
    "within": "Its difference is within the perceptual null space: {doing} {higher} alone moves "
    "more.",
    "beyond": "Its difference is larger than what the attacks move in the perceptual null space.",
    "undecided": "Whether its difference is larger than what the attacks move in the perceptual "
    "null space, the deviations do not tell.",
}
_EQUAL_RULE = (
    "{headline} does not distinguish {lower} and {higher}: deviations cover the difference."
)
_AGREEMENT = {
    "same": "the spaces agree",
    "opposite": "the spaces disagree",
    "mixed": "the second spaces contradict one another",
    "unknown": "no second space distinguishes them",
}


def verdict_sentences(generators: Sequence[AuditedGenerator]) -> list[str]:
    """Return the verdict on one generator or on two: the conclusion, then what it rests on."""
    if len(generators) == 1:
        return _judge_generator(generators[0])
    return _judge_pair(*sorted(generators, key=_headline_value))


def is_distinguishable(estimate: Estimate) -> bool:
    """Return whether a number is so far from 0 that deviations do not cover it."""
    return abs(estimate.value) > DEVIATIONS * estimate.deviation


def is_null_share(share: Estimate) -> bool:
    """Return whether a share of a distance counts as lying in the perceptual null space."""
    return is_distinguishable(share) and share.value >= LEAST_SHARE


def _headline_value(generator: AuditedGenerator) -> float:
    return next(iter(generator.distances.values())).value


def _is_lowered(change: SpaceChange) -> bool:
    """Return whether an attack lowers a distance by more than its draws differ."""
    return change.fall.value > 0 and is_distinguishable(change.fall)


def _judge_generator(generator: AuditedGenerator) -> list[str]:
    """Return the verdict on one generator."""
    effects = generator.effects
    best = max(effects, key=lambda effect: effect.null_share.value)
    hidden = [effect for effect in effects if is_null_share(effect.null_share)]
    if hidden:
        best, rule = max(hidden, key=lambda effect: effect.null_share.value), "hidden"
    else:
        rule = "seen" if any(_is_lowered(effect.headline) for effect in effects) else "unmoved"
    conclusion = _SHARE_RULES[rule].format(
        share=best.null_share.as_percent(),
        headline=best.headline.label,
        doing=_lower_first(_DOING[best.attack]),
    )
    return [conclusion, *map(_describe_effect, effects)]


def _describe_effect(effect: AttackEffect) -> str:
    """Return what an attack does to one generator in every space."""
    seconds = ", ".join(f"{second.label} {_change_in_words(second)}" for second in effect.seconds)
    return (
        f"{_DOING[effect.attack]}: {effect.headline.label} {_change_in_words(effect.headline)}; "
        f"second opinion: {seconds}; in the perceptual null space: "
        f"{effect.null_share.as_percent()}."
    )


def _change_in_words(change: SpaceChange) -> str:
    """Return "falls by 35 ± 2 %", or that it moves no more than draws differ."""
    if not is_distinguishable(change.fall):
        return "moves no more than draws differ"
    return f"{'falls' if change.fall.value > 0 else 'rises'} by {abs(change.fall).as_percent()}"


def _judge_pair(lower: AuditedGenerator, higher: AuditedGenerator) -> list[str]:
    """Return the verdict on two generators, the one with the lower headline distance first."""
    headline, *_ = lower.distances
    difference = higher.distances[headline] - lower.distances[headline]
    order = _second_order(lower, higher)
    evidence = [
        _describe_order(lower, higher, order),
        *(_describe_reach(effect, higher.name, difference) for effect in higher.effects),
        _describe_attacked_order(lower, higher),
    ]
    words = {"headline": headline, "lower": lower.name, "higher": higher.name}
    if not is_distinguishable(difference):
        return [_EQUAL_RULE.format(**words), evidence[0], evidence[-1]]
    strongest = max(higher.effects, key=lambda effect: effect.null_distance.value)
    words["doing"] = _lower_first(_DOING_ALONE[strongest.attack])
    reach = _reach(strongest, difference)
    conclusion = f"{_ORDER_RULES[order]} {_REACH_RULES[reach]}".format(**words)
    return [conclusion, *evidence]


def _second_order(lower: AuditedGenerator, higher: AuditedGenerator) -> str:
    """Return a key of _ORDER_RULES: whether second spaces put the two in the headline's order."""
    _, *seconds = lower.distances
    differences = [higher.distances[label] - lower.distances[label] for label in seconds]
    signs = {d.value > 0 for d in differences if is_distinguishable(d)}
    if not signs:
        return "unknown"
    return "mixed" if len(signs) == 2 else "same" if signs.pop() else "opposite"


def _reach(effect: AttackEffect, difference: Estimate) -> str:
    """Return a key of _REACH_RULES: whether an attack moves more or less than a difference."""
    excess = effect.null_distance - abs(difference)
    if not is_distinguishable(excess) or not (excess.value < 0 or is_null_share(effect.null_share)):
        return "undecided"
    return "within" if excess.value > 0 else "beyond"


def _describe_order(lower: AuditedGenerator, higher: AuditedGenerator, order: str) -> str:
    """Return which of the two every space prefers, and whether the spaces agree."""
    headline, *seconds = (
        _preference(label, distance, higher.distances[label], lower.name, higher.name)
        for label, distance in lower.distances.items()
    )
    return f"{headline}; {', '.join(seconds)}: {_AGREEMENT[order]}."


def _preference(label: str, first: Estimate, second: Estimate, *names: str) -> str:
    """Return which of two generators a space prefers, and by how much."""
    difference = second - first
    if not is_distinguishable(difference):
        return f"{label} does not distinguish {names[0]} and {names[1]} ({difference})"
    return f"{label} prefers {names[0 if difference.value > 0 else 1]} by {abs(difference)}"


def _describe_reach(effect: AttackEffect, name: str, difference: Estimate) -> str:
    """Return how much of the difference an attack on one generator alone can make."""
    headline = effect.headline
    moved = _movement(headline)
    seconds = ", ".join(f"{second.label}: {_movement(second)}" for second in effect.seconds)
    share = "nothing"
    if is_null_share(effect.null_share):
        share = share_in_reach(effect.null_distance, difference).as_percent()
    return (
        f"{_DOING_ALONE[effect.attack]} {name} alone moves {headline.label} by {moved} "
        f"({seconds}): {share} of the difference is in reach of {_REACH[effect.attack]}."
    )


def _movement(change: SpaceChange) -> str:
    """Return by how much an attack moves a distance, with its sign."""
    difference = change.attacked - change.random
    return f"{'+' if difference.value > 0 else ''}{difference}"


def _describe_attacked_order(lower: AuditedGenerator, higher: AuditedGenerator) -> str:
    """Return which of the two the headline space prefers if both are attacked."""
    preferences = [
        f"with {_BOTH[first.attack]}, "
        + _preference(
            first.headline.label, first.headline.attacked, second.headline.attacked,
            lower.name, higher.name,
        )
        for first, second in zip(lower.effects, higher.effects, strict=True)
    ]  # fmt: skip
    text = "; ".join(preferences)
    return f"{text[0].upper()}{text[1:]}."


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]
