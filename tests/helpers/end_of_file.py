"""Checks that text files end with one newline, and that no line ends with a space.

    python tests/helpers/end_of_file.py FILE...

Exit code 1, with the names of the files, if one does not.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def fault(text: str) -> str | None:
    """Say what is wrong with a text; None if nothing is."""
    if text and not text.endswith("\n"):
        return "has no newline at its end"
    if text.endswith("\n\n"):
        return "ends with empty lines"
    space = re.search(r"[ \t]+$", text, flags=re.MULTILINE)
    if space:
        return f"has a space at the end of line {text.count(chr(10), 0, space.start()) + 1}"
    return None


def main(names: list[str]) -> int:
    """Print what is wrong with the files."""
    faults = [(name, fault(Path(name).read_text(encoding="utf-8"))) for name in names]
    wrong = [f"{name} {what}" for name, what in faults if what]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
