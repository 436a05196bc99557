"""Top-1 histogram matching by rejection: of samples in order, those whose class still has room.

"sampling an equal number of unique generated images for each Top-1 class ... discarding the
generated images that fall into a bin that is already full" (P2, section 3.1).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from raymetrics.errors import NotEnoughData, SampleRangeError

_INTEGER_TYPES = (int, np.integer)
_NEVER = np.inf  # the estimate for a class that has not been drawn


def target_counts(counts: np.ndarray, n: int) -> np.ndarray:
    """How many samples of each class make n like the real histogram, by largest remainders.

    counts: int64 [classes], of real samples. The result has the sum n, is `counts` where that is
    their sum, and 0 where they are; of equal remainders the first class counts. RangeError for an n
    below 1, NotEnoughData without real samples.
    """
    if n < 1:
        raise SampleRangeError(f"{n} samples are asked for, expected at least 1")
    total = int(counts.sum())
    if total == 0:
        raise NotEnoughData("there are no real samples, so there is no histogram to match")
    whole, remainders = np.divmod(counts.astype(np.int64) * n, total)
    rounded_up = np.argsort(-remainders, kind="stable")[: n - int(whole.sum())]
    whole[rounded_up] += 1
    return whole


class Matcher:
    """Decides samples in order: accepted are the first `targets[c]` of each class c.

    What it remembers are the draws by class; `draws` in all ends with the sample that fills the
    last bin, or with `max_draws`, and nothing after it is looked at.
    """

    def __init__(self, targets: np.ndarray, max_draws: int | None = None) -> None:
        self.targets = np.asarray(targets, np.int64)
        self.max_draws = max_draws
        self.drawn_counts = np.zeros_like(self.targets)

    @property
    def total_draws(self) -> int:
        """How many samples were looked at."""
        return int(self.drawn_counts.sum())

    @property
    def accepted_counts(self) -> np.ndarray:
        """int64 [classes], accepted so far."""
        return np.minimum(self.drawn_counts, self.targets)

    @property
    def unfilled_classes(self) -> np.ndarray:
        """The classes that lack samples, int64, ascending."""
        return np.flatnonzero(self.drawn_counts < self.targets)

    @property
    def is_full(self) -> bool:
        """Whether every bin is."""
        return not len(self.unfilled_classes)

    @property
    def is_finished(self) -> bool:
        """Whether no further sample is looked at."""
        return self.is_full or self.total_draws == self.max_draws

    def accept(self, classes: np.ndarray) -> np.ndarray:
        """classes int64 [m], of the next samples -> bool [m], whether each is accepted.

        RangeError for a class that the targets do not have.
        """
        classes = self._require_classes(classes)
        accepted = np.zeros(len(classes), bool)
        if self.is_full:
            return accepted
        seen = classes if self.max_draws is None else classes[: self.max_draws - self.total_draws]
        room = self.targets[seen] - self.drawn_counts[seen]
        accepted[: len(seen)] = _rank_in_class(seen) < room
        drawn = self.drawn_counts + np.bincount(seen, minlength=len(self.targets))
        if (drawn >= self.targets).all():
            seen = seen[: np.flatnonzero(accepted)[-1] + 1]
        self.drawn_counts = self.drawn_counts + np.bincount(seen, minlength=len(self.targets))
        return accepted

    def _require_classes(self, classes: np.ndarray) -> np.ndarray:
        classes = np.asarray(classes)
        if classes.ndim != 1 or (len(classes) and classes.dtype.kind not in "iu"):
            raise SampleRangeError(
                f"classes are {classes.dtype} {list(classes.shape)}, expected integers [n]"
            )
        strange = classes[(classes < 0) | (classes >= len(self.targets))]
        if len(strange):
            raise SampleRangeError(
                f"class {strange[0]} is none of the {len(self.targets)} with a target"
            )
        return classes.astype(np.int64)


def _rank_in_class(classes: np.ndarray) -> np.ndarray:
    """How many of the same class come before each, int64 [m]."""
    order = np.argsort(classes, kind="stable")
    ascending = classes[order]
    rank = np.empty(len(classes), np.int64)
    rank[order] = np.arange(len(classes)) - np.searchsorted(ascending, ascending)
    return rank


def match_top1(
    *,
    target_counts: np.ndarray,
    classes: Iterable[int | np.ndarray],
    max_draws: int | None = None,
) -> np.ndarray:
    """The accepted positions in `classes`, int64, ascending: the first so many of every class.

    target_counts: int64 [classes]. classes: of the samples in order, as one array, or as a list,
    a generator or anything else that gives them one by one or in arrays [m]; no more of it is
    taken than is needed, and only what is accepted is remembered.
    NotEnoughData, with the classes that lack samples, if they or `max_draws` end before all bins
    are full. RangeError for what is no class with a target.
    """
    matcher, accepted = Matcher(target_counts, max_draws), array("q")
    parts = iter([classes] if isinstance(classes, np.ndarray) else classes)
    while not matcher.is_finished:
        block = _accept_single_ids(matcher, parts, accepted)
        if block is None:
            break
        start = matcher.total_draws
        chosen = start + np.flatnonzero(matcher.accept(np.atleast_1d(block)))
        accepted.frombytes(chosen.astype(np.int64).tobytes())
    require_full(matcher)
    return np.array(accepted, np.int64)


def _accept_single_ids(
    matcher: Matcher, parts: Iterator[int | np.ndarray], accepted: array[int]
) -> int | np.ndarray | None:
    """Decides single ids, as long as they come and are needed, and adds the accepted positions.
    What came after them and is none; or None."""
    # Lists, as an array of one id costs a hundred times as much as an int.
    targets, drawn = matcher.targets.tolist(), matcher.drawn_counts.tolist()
    unfilled, position, part = len(matcher.unfilled_classes), matcher.total_draws, None
    while unfilled and position != matcher.max_draws:
        part = next(parts, None)
        if not isinstance(part, _INTEGER_TYPES):
            break
        if not 0 <= part < len(targets):
            raise SampleRangeError(f"class {part} is none of the {len(targets)} with a target")
        drawn[part] += 1
        if drawn[part] <= targets[part]:
            accepted.append(position)
            unfilled -= drawn[part] == targets[part]
        position += 1
    else:
        part = None
    matcher.drawn_counts = np.array(drawn, np.int64)
    return part


def require_full(matcher: Matcher, names: Sequence[str] = ()) -> None:
    """NotEnoughData, with what is known of the bins that are not full, if there are any."""
    if not matcher.is_full:
        raise NotEnoughData(
            f"{len(matcher.unfilled_classes)} of {np.count_nonzero(matcher.targets)} classes lack samples "
            f"after {matcher.total_draws} draws: {describe_unfilled(matcher, names)}; draw more, or match fewer"
        )


def describe_unfilled(matcher: Matcher, names: Sequence[str] = (), limit: int = 8) -> str:
    """The bins that are not full in words, the emptiest first.

    names: of the classes. Of a class that was never drawn, how rare it must be.
    """
    missing = matcher.targets - matcher.accepted_counts
    order = sorted(
        matcher.unfilled_classes.tolist(), key=lambda c: (matcher.drawn_counts[c], -missing[c])
    )
    words = []
    for c in order[:limit]:
        name = f"{c} {names[c]!r}" if c < len(names) else str(c)
        words.append(f"class {name} has {matcher.accepted_counts[c]} of {matcher.targets[c]}")
        if not matcher.drawn_counts[c] and matcher.total_draws:
            words[-1] += f" (rate below {rate_bound(matcher.total_draws):.2g}, 95 % confidence)"
    return ", ".join(words) + (f", and {len(order) - limit} more" if order[limit:] else "")


def rate_bound(draws: int, seen: int = 0, confidence: float = 0.95) -> float:
    """The upper confidence bound on the rate of what was `seen` so often in `draws`.

    Clopper and Pearson's, one-sided: the rate at which so few or fewer would be seen with
    probability 1 - confidence. Of nothing seen, 1 - (1 - confidence)^(1/draws), about 3/draws.
    """
    from scipy.stats import beta

    return 1.0 if seen >= draws else float(beta.ppf(confidence, seen + 1, draws - seen))


def expected_draws(matcher: Matcher) -> np.ndarray:
    """About how many more draws each bin needs at the rate so far, float64 [classes].

    What it lacks, divided by the share of its class among the draws: 0 for a full bin, infinite
    for one whose class was never drawn. All bins together need the largest of them, or more.
    """
    missing = (matcher.targets - matcher.accepted_counts).astype(np.float64)
    rates = matcher.drawn_counts / max(matcher.total_draws, 1)
    expected = np.full(len(missing), _NEVER)
    np.divide(missing, rates, out=expected, where=rates > 0)
    return np.where(missing > 0, expected, 0.0)
