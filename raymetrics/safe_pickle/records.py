"""What stands for an object whose class is not loaded, and for a name that is not known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

NETWORK = "dnnlib.tflib.network.Network"
RECORD = re.compile(r"torch\.nn\.modules\.\w+\.\w+|__torch__(\.\w+)+")


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object of a class that is not loaded: its name, and what the object held.

    Of NVIDIA's persistent classes, of torch.nn's modules (with a dotted name), of TorchScript's
    (`__torch__.` first), and of TensorFlow's `dnnlib.tflib.network.Network`. NVIDIA's state
    has the arguments of the constructor under `_init_args` and `_init_kwargs`.
    """

    class_name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class Refused(Exception):
    """The name of what a pickle asks for and does not get."""


def is_record(name: str) -> bool:
    """Tell whether objects of this class are read as `Persistent`, without the class."""
    return name == NETWORK or RECORD.fullmatch(name) is not None


def shown(value: object, most: int = 100) -> str:
    """Describe a value from a pickle: the start of a text in quotes, of all else the type.

    The text of a nested value could be longer than any memory, and of a number than any screen.
    """
    return repr(value[:most]) if isinstance(value, str) else type(value).__name__
