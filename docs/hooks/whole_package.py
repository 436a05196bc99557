"""Lets the reader of docstrings see the folders of the package that have no `__init__.py`.

It skips such folders, so it is given a copy of the package in which they have an empty one. The
copy lies in a temporary folder, and goes with the build.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

COPY = tempfile.TemporaryDirectory(prefix="raymetrics-docs-")


@event_priority(100)  # before the plugin reads where to look
def on_config(config: Any) -> Any:
    """Make the copy, and name it as the place where the package is looked for."""
    root = Path(config.config_file_path).parent
    package = Path(COPY.name) / "raymetrics"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    shutil.copytree(root / "raymetrics", package, ignore=ignored, dirs_exist_ok=True)
    for folder in package.rglob("*"):
        if folder.is_dir() and any(folder.glob("*.py")):
            (folder / "__init__.py").touch()
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [COPY.name]
    return config
