"""Top-1 histogram matching by rejection: accept samples in order while their class has room.

"sampling an equal number of unique generated images for each Top-1 class ... discarding the
generated images that fall into a bin that is already full" (Kynkaanniemi et al. 2023, section 3.1).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from raymetrics.errors import NotEnoughData, SampleRangeError

_INTEGER_TYPES = (int, np.integer)
_NEVER = np.inf  # draws needed by a class that was never drawn


def target_counts(counts: np.ndarray, n: int) -> np.ndarray:
    """Scale the real histogram to n samples by largest remainders, int64 [classes].

    counts: int64 [classes], of real samples. The result sums to n, equals `counts` if n is their
    sum, and is 0 where `counts` is 0; of equal remainders the first class is rounded up. Raise
    SampleRangeError if n < 1, NotEnoughData without real samples.
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
    """A decision for each sample in order: accept the first `targets[c]` samples of each class c.

    The only state is the number of draws per class. Samples are examined up to the sample that
    fills the last bin, or up to `max_draws` samples.
    """

    def __init__(self, targets: np.ndarray, max_draws: int | None = None) -> None:
        self.targets = np.asarray(targets, np.int64)
        self.max_draws = max_draws
        self.drawn_counts = np.zeros_like(self.targets)

    @property
    def total_draws(self) -> int:
        """The number of examined samples."""
        return int(self.drawn_counts.sum())

    @property
    def accepted_counts(self) -> np.ndarray:
        """The number of accepted samples per class, int64 [classes]."""
        return np.minimum(self.drawn_counts, self.targets)

    @property
    def unfilled_classes(self) -> np.ndarray:
        """The classes that still lack samples, int64, ascending."""
        return np.flatnonzero(self.drawn_counts < self.targets)

    @property
    def is_full(self) -> bool:
        """Whether every bin is full."""
        return not len(self.unfilled_classes)

    @property
    def is_finished(self) -> bool:
        """Whether no further sample is examined."""
        return self.is_full or self.total_draws == self.max_draws

    def accept(self, classes: np.ndarray) -> np.ndarray:
        """Decide the next samples: classes int64 [m] -> bool [m], whether each is accepted.

        Raise SampleRangeError for a class without a target.
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
    """Count the earlier samples of the same class for each sample, int64 [m]."""
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
    """Return the accepted positions, int64, ascending: the first samples of every class.

    target_counts: int64 [classes]. classes: of the samples in order, as one array, or as an
    iterable of single classes or of arrays [m]; only as many items are taken as needed, and only
    accepted positions are stored.

    Raise NotEnoughData, with the classes that lack samples, if the samples or `max_draws` end
    before all bins are full; SampleRangeError for a class without a target.
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
    """Decide single classes from `parts` while they come and are needed; append accepted positions.

    Return the next part that is an array, or None if the parts have ended or no more are needed.
    """
    # Lists, because an array of one class costs a hundred times as much as an int.
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


def stratified_positions(classes: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Draw positions of `counts[c]` samples of every class c, at random without repetition.

    Rejection in the order of sample ids gives one set with this histogram; each seed gives another,
    equally good set. classes: int64 [n], of drawn samples; counts: int64 [classes]. Returns int64,
    ascending. Raise NotEnoughData if fewer than `counts[c]` samples of a class c were drawn.
    """
    available = np.bincount(classes, minlength=len(counts))
    if (available < counts).any():
        short_class = int(np.flatnonzero(available < counts)[0])
        raise NotEnoughData(
            f"{available[short_class]} samples of class {short_class} were drawn, "
            f"{counts[short_class]} are asked for; draw more"
        )
    order = np.random.default_rng(seed).permutation(len(classes))
    is_chosen = _rank_in_class(classes[order]) < counts[classes[order]]
    return np.sort(order[is_chosen])


def require_full(matcher: Matcher, names: Sequence[str] = ()) -> None:
    """Raise NotEnoughData, with a description of the unfilled bins, unless every bin is full."""
    if not matcher.is_full:
        raise NotEnoughData(
            f"{len(matcher.unfilled_classes)} of {np.count_nonzero(matcher.targets)} classes lack "
            f"samples after {matcher.total_draws} draws: {describe_unfilled(matcher, names)}; "
            "draw more, or match fewer"
        )


def describe_unfilled(matcher: Matcher, names: Sequence[str] = (), limit: int = 8) -> str:
    """Describe the unfilled bins in words, the emptiest first.

    names: of the classes. For a class that was never drawn, the text adds an upper bound on its
    rate.
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
    """Compute the upper confidence bound on the rate of an event `seen` this often in `draws`.

    The one-sided bound of Clopper and Pearson: the rate at which so few or fewer events would be
    seen with probability 1 - confidence. For no event, 1 - (1 - confidence)^(1/draws), about
    3/draws.
    """
    from scipy.stats import beta

    return 1.0 if seen >= draws else float(beta.ppf(confidence, seen + 1, draws - seen))


def expected_draws(matcher: Matcher) -> np.ndarray:
    """Estimate how many more draws each bin needs at the rate so far, float64 [classes].

    The missing samples, divided by the share of the class among the draws: 0 for a full bin,
    infinite for a class that was never drawn. All bins together need at least the largest of these
    numbers.
    """
    missing = (matcher.targets - matcher.accepted_counts).astype(np.float64)
    rates = matcher.drawn_counts / max(matcher.total_draws, 1)
    expected = np.full(len(missing), _NEVER)
    np.divide(missing, rates, out=expected, where=rates > 0)
    return np.where(missing > 0, expected, 0.0)
