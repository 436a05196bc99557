"""What stands for an object whose class is not loaded, and for a name that is not known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TENSORFLOW_NETWORK = "dnnlib.tflib.network.Network"
_RECORD_NAME = re.compile(r"torch\.nn\.modules\.\w+\.\w+|__torch__(\.\w+)+")


@dataclass(frozen=True, eq=False)
class PickledObject:
    """An object of a class that is not loaded: its name, and what the object held.

    Of NVIDIA's persistent classes, of torch.nn's modules (with a dotted name), of TorchScript's
    (`__torch__.` first), and of TensorFlow's `dnnlib.tflib.network.Network`. NVIDIA's state
    has the arguments of the constructor under `_init_args` and `_init_kwargs`.
    """

    class_name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class ForbiddenName(Exception):
    """The name of what a pickle asks for and does not get."""


def is_record(name: str) -> bool:
    """Tell whether objects of this class are read as `Persistent`, without the class."""
    return name == TENSORFLOW_NETWORK or _RECORD_NAME.fullmatch(name) is not None


def describe_value(value: object, limit: int = 100) -> str:
    """Describe a value from a pickle: the start of a text in quotes, of all else the type.

    The text of a nested value could be longer than any memory, and of a number than any screen.
    """
    return repr(value[:limit]) if isinstance(value, str) else type(value).__name__
