"""Draw random numbers that belong to a sample on any device, with the generator Philox.

Philox4x32-10 (Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3) is a function from a
counter and a key to 128 random bits. The key is the sample id here, so that a sample's numbers
depend on nothing else, and all numbers of a batch are computed at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = 2**32 - 1
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio, and the root of 3 less one


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int]) -> list[Tensor]:
    """Compute four random words from a counter of four words and a key of two.

    All words are in 0..2^32 - 1: numbers, or int64 tensors whose shapes broadcast.
    """
    a, b, c, d = (torch.as_tensor(word) for word in counter)
    left, right = key
    for _ in range(_ROUNDS):
        high_a, low_a = _multiply(a, _MULTIPLIERS[0])
        high_c, low_c = _multiply(c, _MULTIPLIERS[1])
        a, b, c, d = high_c ^ b ^ left, low_c, high_a ^ d ^ right, low_a
        left, right = (left + _KEY_STEPS[0]) & _WORD, (right + _KEY_STEPS[1]) & _WORD
    return [a, b, c, d]


def _multiply(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the upper and the lower word of a product."""
    product = word * factor  # of int64, whose 64 bits are those of the product without signs
    return product >> 32 & _WORD, product & _WORD


def normals(sample_ids: Tensor, stream: int, count: int) -> Tensor:
    """Draw standard normal numbers for samples, float32 [n, count], on the device of the ids.

    sample_ids: int64 [n]. stream: in 0..2^32 - 1; each stream of a sample has other numbers. The
    random words are the same on every device. The numbers, by Box & Muller (1958) in float64 and
    then rounded, differ between devices at most where a logarithm or a cosine of float64 differs in
    the last bits and the number lies between two of float32.
    """
    ids = sample_ids[:, None]
    groups = torch.arange(math.ceil(count / 4), device=sample_ids.device)
    words = philox([groups, stream, 0, 0], [ids & _WORD, ids >> 32 & _WORD])
    a, b, c, d = ((word.double() + 0.5) / 2**32 for word in words)  # in 0..1, without the ends
    numbers = torch.stack([*_box_muller(a, b), *_box_muller(c, d)], dim=2)
    return numbers.flatten(1)[:, :count].float()


def _box_muller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Convert two uniform numbers to two independent standard normal ones."""
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    return radius * angle.cos(), radius * angle.sin()
