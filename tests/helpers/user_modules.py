"""Write and change modules as a user does, for tests of `module:callable`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


class ModuleFolder:
    """A folder on the Python path whose modules are read again after every change."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = path
        patch.syspath_prepend(path)
        patch.setattr(sys, "dont_write_bytecode", True)  # times of change are too coarse for it

    def write(self, **modules: str) -> None:
        """Write modules, as name=text; a name's "__" is a slash."""
        for name, text in modules.items():
            file = self.path / f"{name.replace('__', '/')}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            sys.modules.pop(name, None)  # of an earlier test's folder
        self.forget()

    def forget(self) -> None:
        """Let the next import read the files, as a new process does."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.path)):
                del sys.modules[name]
        importlib.invalidate_caches()
