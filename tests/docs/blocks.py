"""Fenced blocks of README and docs, by the name in a comment before them.

<!-- run: sweep -->
```console
$ raymetrics sweep plan.csv --real-source mnist --to sweep
```
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "SECURITY.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))),
]
NAMED = re.compile(
    r"^ *<!-- run: ([\w-]+) -->\n *```(\w+)\n(.*?)^ *```$", flags=re.MULTILINE | re.DOTALL
)


def text_of(page: str) -> str:
    """Read a page, by its path from the root: "docs/guides/sweeps.md"."""
    return (ROOT / page).read_text()


def names_of(page: str) -> list[str]:
    """List the names of a page's blocks."""
    return [name for name, _, _ in NAMED.findall(text_of(page))]


def block(page: str, name: str) -> str:
    """Return what stands in a block of a page."""
    found = [text for known, _, text in NAMED.findall(text_of(page)) if known == name]
    assert len(found) == 1, f"{page} has {len(found)} blocks called {name}, expected one"
    return str(found[0])


def commands(page: str, name: str) -> list[str]:
    """Return the commands of a console block, without their prompts; each on one line."""
    lines = re.sub(r" \\\n +", " ", block(page, name)).splitlines()
    found = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert found, f"block {name} of {page} has no command"
    return found


def command(page: str, name: str) -> str:
    """Return the only command of a console block."""
    (found,) = commands(page, name)
    return found


def first_cells(page: str, header: str) -> list[str]:
    """Return what stands in code in the first column of the table that begins with a header."""
    return [text for row in table(page, header) for text in re.findall("`(.*?)`", row[0])]


def table(page: str, header: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this header."""
    text = text_of(page)
    rows = text[text.index(f"| {header} |") :].split("\n\n")[0].splitlines()[2:]
    return [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
