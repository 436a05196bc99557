"""How weights are sought, and which of those on the way are taken."""

from __future__ import annotations

from dataclasses import dataclass

from raymetrics.attacks.matched_features import MatchTarget
from raymetrics.attacks.reweight_arrays import require_optimizer
from raymetrics.attacks.weighted_sampling import SAMPLING_SCHEMES
from raymetrics.errors import RaymetricsError

SELECTIONS = ("last", "best-of-draws")
_DEFAULT_EVALUATIONS = {"lbfgs": 100, "gd": 1000}  # evaluations, by optimizer
_DEFAULT_EVERY = {"lbfgs": 10, "gd": 500}  # evaluations between two of draws; 500 as the program


@dataclass(frozen=True)
class ReweightSettings:
    """How weights are sought, and which of those on the way are taken.

    See `raymetrics.reweight` for the options. Raise RaymetricsError for options that are unknown or
    do not fit.
    """

    max_evaluations: int | None = None
    optimizer: str = "lbfgs"
    tolerance: float = 1e-3
    learning_rate: float | None = None
    covariance: str = "paper"
    select: str = "last"
    evaluate_every: int | None = None
    n: int | None = None  # samples of a draw on the way
    scheme: str = "multinomial"  # of a draw on the way

    def __post_init__(self) -> None:
        require_optimizer(self.optimizer, self.covariance)
        for name, choices in (("select", SELECTIONS), ("scheme", SAMPLING_SCHEMES)):
            value = getattr(self, name)
            if value not in choices:
                raise RaymetricsError(f"no {name} {value!r}; there are {', '.join(choices)}")
        if not 0 <= self.tolerance < 1:
            raise RaymetricsError(
                f"the tolerance is {self.tolerance}; expected at least 0 and below 1"
            )
        if self.budget < 1:
            raise RaymetricsError(f"{self.budget} evaluations are asked for; it takes at least 1")
        if self.evaluate_every is not None and self.evaluate_every < 1:
            raise RaymetricsError(
                f"draws are to be evaluated every {self.evaluate_every} evaluations; expected at "
                "least 1"
            )
        self._require_learning_rate()

    def _require_learning_rate(self) -> None:
        """Raise RaymetricsError for a rate that is not above 0, or that nothing takes."""
        if self.learning_rate is None:
            return
        if self.optimizer != "gd":
            raise RaymetricsError(
                f"{self.optimizer} has no learning rate; leave it out, or ask for the optimizer gd"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise RaymetricsError(
                f"the learning rate is {self.learning_rate}; expected a number above 0"
            )

    @property
    def budget(self) -> int:
        """The evaluations of the distance with its gradient, at most."""
        if self.max_evaluations is not None:
            return self.max_evaluations
        return _DEFAULT_EVALUATIONS[self.optimizer]

    @property
    def every(self) -> int | None:
        """The evaluations between two of draws; None where no draws are evaluated on the way."""
        if self.evaluate_every is None and self.select == "best-of-draws":
            return _DEFAULT_EVERY[self.optimizer]
        return self.evaluate_every

    def rate(self, match: MatchTarget) -> float:
        """Return the learning rate of gradient descent, by default the paper's."""
        return match.learning_rate if self.learning_rate is None else self.learning_rate

    def identity(self, match: MatchTarget) -> dict[str, object]:
        """Return all that the way to the weights depends on.

        How far to go on it is not in here, nor are choices that are as they were before there was a
        choice, so that earlier runs are continued.
        """
        fields: dict[str, object] = {"optimizer": self.optimizer, "tolerance": self.tolerance}
        if self.optimizer == "gd" and self.rate(match) != match.learning_rate:
            fields["learning_rate"] = self.rate(match)
        if self.covariance != "paper":
            fields["covariance"] = self.covariance
        if self.every is not None:
            fields |= {"select": self.select, "evaluate_every": self.every}
            fields |= {"n": self.n, "scheme": self.scheme}
        return fields
