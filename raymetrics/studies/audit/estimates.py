"""Numbers with a standard deviation, and arithmetic that carries it along."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MAX_DECIMALS = 6


@dataclass(frozen=True)
class Estimate:
    """A mean over draws, with the standard deviation of a single draw.

    Arithmetic is to first order, and takes both numbers to be independent.
    """

    value: float
    deviation: float

    def __sub__(self, other: Estimate) -> Estimate:
        """Subtract another number: the squares of the deviations add up."""
        return Estimate(self.value - other.value, math.hypot(self.deviation, other.deviation))

    def __mul__(self, other: Estimate) -> Estimate:
        """Multiply by another number."""
        deviation = math.hypot(self.deviation * other.value, self.value * other.deviation)
        return Estimate(self.value * other.value, deviation)

    def __truediv__(self, other: Estimate) -> Estimate:
        """Divide by another number, which must not be 0."""
        ratio = self.value / other.value
        deviation = math.hypot(self.deviation, ratio * other.deviation) / abs(other.value)
        return Estimate(ratio, deviation)

    def __abs__(self) -> Estimate:
        """Return the number without its sign."""
        return Estimate(abs(self.value), self.deviation)

    def clip(self, low: float, high: float = math.inf) -> Estimate:
        """Return the number within bounds; of its deviation only the part within them is left."""
        value = min(max(self.value, low), high)
        bottom = max(self.value - self.deviation, low)
        top = min(self.value + self.deviation, high)
        return Estimate(value, max(0.0, top - value, value - bottom))

    def __str__(self) -> str:
        """Write "0.92 ± 0.05": as many decimals as show two digits of the deviation."""
        digits = self.deviation or abs(self.value) / 1000
        decimals = 1 - math.floor(math.log10(digits)) if digits else 0
        decimals = min(max(decimals, 0), _MAX_DECIMALS)
        text = f"{self.value:.{decimals}f} ± {self.deviation:.{decimals}f}"
        return text.replace("-", "\u2212")

    def as_percent(self) -> str:
        """Write "78 ± 5 %"."""
        return f"{100 * self.value:.0f} ± {100 * self.deviation:.0f} %"
