"""Tables of the docs that are made from the program.

    python -m tests.docs.tables

writes each between the comments `<!-- table: NAME -->` and `<!-- end of table -->` of its page; a
test holds the pages against it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence

from raymetrics.extractors.resize import CONVENTIONS as RESIZES
from raymetrics.metrics import PROTOCOLS
from raymetrics.weights.known_files import KNOWN_WEIGHTS
from tests.docs.blocks import ROOT, text_of

EXTRACTORS_PAGE = "docs/guides/extractors-and-weights.md"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def protocols() -> str:
    """Return the protocols with their metrics, sample counts and conventions."""

    def real(least: int | None, most: int | None) -> str:
        return f"{least:,}" if least else f"all, at most {most:,}" if most else "all"

    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{metric}`" for metric in protocol.metrics),
            f"{protocol.generated:,}" if protocol.generated else "all",
            real(protocol.real, protocol.real_at_most),
            "at random, seed 0" if protocol.choice == "random" else "the first",
            ", ".join(protocol.images.options.values()) if protocol.images else "",
            f"`{protocol.convention.name}`",
        )
        for name, protocol in PROTOCOLS.items()
    ]
    header = (
        "`--protocol`",
        "metrics",
        "generated",
        "real",
        "of a larger set",
        "images",
        "convention",
    )
    return markdown(header, rows)


def resizes() -> str:
    """Return the ways of resizing, as their docstrings describe them."""
    rows = []
    for name, resize in RESIZES.items():
        described = (inspect.getdoc(resize) or "").split("\n\n")[0].replace("\n", " ")
        rows.append((f"`{name}`", described))
    return markdown(("`resize=`", "what it does, and whose it is"), rows)


def weights() -> str:
    """Return every file of weights: how it comes here, and its licence."""
    rows = []
    for extractor, files in KNOWN_WEIGHTS.items():
        for file in files:
            comes = f"the package {file.package}" if file.package else "you copy it"
            if file.url and file.sha256:
                comes = "downloaded, digest checked"
            rows.append((f"`{extractor}`", f"`{file.name}`", comes, file.license_terms))
    return markdown(("extractor", "file", "how it comes", "licence"), rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "protocols": ("docs/guides/conventions-and-protocols.md", protocols),
    "resizes": (EXTRACTORS_PAGE, resizes),
    "weights": (EXTRACTORS_PAGE, weights),
}


def renewed(page: str) -> str:
    """Return a page with its tables as the program now has them."""
    text = text_of(page)
    for name, (where, make) in TABLES.items():
        if where == page:
            before, found, rest = text.partition(f"<!-- table: {name} -->\n\n")
            assert found, f"{page} has no place for the table {name}"
            _, found, after = rest.partition("\n\n<!-- end of table -->")
            assert found, f"the place of the table {name} in {page} has no end"
            text = f"{before}<!-- table: {name} -->\n\n{make()}\n\n<!-- end of table -->{after}"
    return text


if __name__ == "__main__":
    for page in sorted({page for page, _ in TABLES.values()}):
        (ROOT / page).write_text(renewed(page))
