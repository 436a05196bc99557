r"""Lets the page of the command line keep the lines of help that click is told to keep.

In a help text a paragraph after `\b` is shown line by line. On the page it becomes a block of text.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import click

KEPT = re.compile(r"^\x08\n(.*?)(?=\n\n(?!  )|\Z)", flags=re.MULTILINE | re.DOTALL)


def in_blocks(command: click.Command) -> None:
    """Rewrite the help of a command and of those below it."""
    if command.help:
        command.help = KEPT.sub(r"```text\n\1\n```", inspect.cleandoc(command.help))
    for below in getattr(command, "commands", {}).values():
        in_blocks(below)


def on_config(config: Any) -> Any:
    """Rewrite all, once."""
    from raymetrics.cli import main

    if "```" not in (main.help or ""):
        in_blocks(main)
    return config
