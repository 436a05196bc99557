"""The perceptual null space of a distance: what an attack removes, and no second space sees.

Kynkaanniemi et al. (2023), The Role of ImageNet Classes in Frechet Inception Distance: an
improvement of FID that FID of CLIP's features does not second "lies in the perceptual null space,
i.e., it is not actually visible in the generated images" (section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics.studies.audit.estimates import Estimate


def relative_fall(*, random: Estimate, attacked: Estimate) -> Estimate:
    """Compute 1 - attacked / random, the share of a distance that an attack removes.

    Negative where the distance rises. random: the distance of random draws, above 0.
    """
    return Estimate(1.0, 0.0) - attacked / random


def null_space_share(headline_fall: Estimate, second_falls: Sequence[Estimate]) -> Estimate:
    """Compute the share of the headline distance that an attack removes and no second space sees:

        share = max(0, fall of the headline - max(0, fall of second 1, ..., fall of second k))

    All falls are relative. The second space that falls most counts, as what one of them sees is
    not in the null space; spaces that rise take nothing away. second_falls: at least one.
    """
    largest = max(second_falls, key=lambda fall: fall.value)
    return (headline_fall - largest.clip(0.0)).clip(0.0)


def share_in_reach(moved: Estimate, difference: Estimate) -> Estimate:
    """Compute min(1, moved / |difference|).

    The share of the difference of two generators that an attack on one of them makes or unmakes.
    """
    return (moved / abs(difference)).clip(0.0, 1.0)


@dataclass(frozen=True)
class SpaceChange:
    """The distance in one space, before and after an attack, of draws of the same size."""

    label: str  # "FID", "FD clip"
    random: Estimate
    attacked: Estimate

    @property
    def fall(self) -> Estimate:
        """The share of the distance that the attack removes."""
        return relative_fall(random=self.random, attacked=self.attacked)


@dataclass(frozen=True)
class AttackEffect:
    """What one attack on one generator does in the headline space and in the second spaces."""

    attack: str  # a key of ATTACKS
    headline: SpaceChange
    seconds: tuple[SpaceChange, ...]

    @property
    def null_share(self) -> Estimate:
        """The share of the headline distance that lies in the perceptual null space."""
        return null_space_share(self.headline.fall, [second.fall for second in self.seconds])

    @property
    def null_distance(self) -> Estimate:
        """The part of the headline distance that lies in the perceptual null space."""
        return self.null_share * self.headline.random


@dataclass(frozen=True)
class AuditedGenerator:
    """A generator: its distance in every space, and what the attacks do to it."""

    name: str
    distances: dict[str, Estimate]  # of random draws, by the label of the space; headline first
    effects: tuple[AttackEffect, ...]
