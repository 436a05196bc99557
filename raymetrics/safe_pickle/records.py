"""Records of objects whose class is not loaded, and the error for a forbidden name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

TENSORFLOW_NETWORK = "dnnlib.tflib.network.Network"
# Networks are pickled by the names of their classes: those of torch, with their hooks, and those of
# Projected GAN, whose discriminator holds a network of timm.
_RECORD_NAME = re.compile(
    r"torch\.nn\.(modules|utils)\.\w+\.\w+|torch(\.ao)?\.nn\.quantized\.modules\.\w+\.\w+"
    r"|__torch__(\.\w+)+|pg_modules\.\w+\.\w+|timm(\.\w+)+"
)


@dataclass(frozen=True, eq=False)
class PickledObject:
    """An object whose class is not loaded: the name of the class, and the state of the object.

    The class is one of NVIDIA's persistent classes, a module of torch.nn, timm or Projected GAN
    (with a dotted name), a class of TorchScript (its name begins with `__torch__.`), or
    TensorFlow's `dnnlib.tflib.network.Network`. NVIDIA's state has the arguments of the constructor
    under `_init_args` and `_init_kwargs`.
    """

    class_name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class ForbiddenName(Exception):
    """A name in a pickle that is refused."""


def is_record(name: str) -> bool:
    """Return whether objects of this class are read as `PickledObject`, without the class."""
    return name == TENSORFLOW_NETWORK or _RECORD_NAME.fullmatch(name) is not None


def describe_value(value: object, limit: int = 100) -> str:
    """Describe a value from a pickle: the start of a text in quotes, or the type of a value.

    The text of a nested value could be longer than any memory, and of a number longer than any
    screen.
    """
    return repr(value[:limit]) if isinstance(value, str) else type(value).__name__
