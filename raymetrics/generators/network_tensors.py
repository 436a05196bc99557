"""Put the tensors of a file into a network of raymetrics: names, shapes, and spectral norms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from torch import Tensor, nn

_ORIGINAL, _VECTORS = "weight_orig", ("weight_u", "weight_v")
_MOST_NAMES = 5


def fold_spectral_norms(
    state: Mapping[str, Tensor], transposed: Collection[str] = ()
) -> dict[str, Tensor]:
    """Divide weights by their spectral norms (Miyato et al. 2018, equation 8), and return all
    tensors, with `weight` in the place of `weight_orig`, `weight_u` and `weight_v`.

    The norm is u W v, with the vectors of the file, as torch computes it outside of training. W is
    the weight as a matrix of one row for each output; the second axis of a weight holds its outputs
    if its module, such as "init.0", is in `transposed`. Raises KeyError for vectors that are
    missing, RuntimeError for vectors of another length.
    """
    folded = dict(state)
    for name in state:
        module = name.removesuffix(f".{_ORIGINAL}")
        if module == name:
            continue
        weight, u, v = (folded.pop(f"{module}.{part}") for part in (_ORIGINAL, *_VECTORS))
        rows = weight.transpose(0, 1) if module in transposed else weight
        folded[f"{module}.weight"] = weight / (u @ (rows.flatten(1) @ v))
    return folded


def assign_tensors(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put tensors into a network that is on the device "meta", and make it ready for evaluation.

    Nothing is allocated before all fit. Raises ValueError, which lists the tensors that are
    missing, are not known or have another shape.
    """
    expected = network.state_dict()
    problems = {
        "lacks": [name for name in expected if name not in state],
        "has the unknown": [name for name in state if name not in expected],
        "has another shape of": [
            f"{name}, {list(state[name].shape)} for {list(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        raise ValueError(
            "; ".join(f"it {k} {_first(names)}" for k, names in problems.items() if names)
        )
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    network.eval().requires_grad_(False)


def _first(names: Iterable[str]) -> str:
    """Format the first few names."""
    listed = list(names)
    more = len(listed) - _MOST_NAMES
    return ", ".join(listed[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
