"""FDr (Yang et al. 2026, arXiv 2604.28190): a Frechet distance in units of a validation set's.

FDr = FD(generated, train) / FD(validation, train). FDr6 is the mean over six feature spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from raymetrics.errors import NotEnoughData

PUBLISHED: Final = "published"  # the name of the norms below, where a validation set is expected
PUBLISHED_IN = "arXiv 2604.28190, ImageNet 256x256"
# FD(validation, train) of ImageNet in the spaces of FDr6, by extractor, with the digits that are
# published.
PUBLISHED_NORMS: Mapping[str, str] = {
    "inception": "1.68",
    "convnextv2-base": "56.87",
    "dinov2-vit-l-14-256": "14.19",
    "mae-vit-l-16": "0.04",
    "siglip2-so400m-16-256": "0.60",
    "clip-vit-l-14-256": "5.60",
}
FDR6_SPACES = tuple(PUBLISHED_NORMS)


@dataclass(frozen=True)
class Norm:
    """The distance of a validation set, and how far it may be from the number that is known.

    NotEnoughData for a distance of 0.
    """

    value: float
    rounding: float = 0.0

    def __post_init__(self) -> None:
        if not self.value > 0:
            raise NotEnoughData(
                "the validation set is at distance 0 from the real one, by which fdr cannot be "
                "divided; give real samples that the real side does not have"
            )

    @classmethod
    def from_text(cls, text: str) -> Norm:
        """Return the norm of published digits: "0.04" was rounded by 0.005 at most."""
        last_digit = Decimal(1).scaleb(int(Decimal(text).as_tuple().exponent))
        return cls(float(text), float(last_digit / 2))

    def __str__(self) -> str:
        """Return "0.04 ± 0.005", or five digits of a norm that was not rounded."""
        return f"{self.value:.5g}" + (f" ± {self.rounding:g}" if self.rounding else "")

    def ratio(self, distance: float) -> float:
        """Divide a distance by the norm."""
        return distance / self.value

    def ratio_range(self, distance: float) -> tuple[float, float]:
        """Return the smallest and the largest ratio that the rounding of the norm allows."""
        return distance / (self.value + self.rounding), distance / (self.value - self.rounding)
