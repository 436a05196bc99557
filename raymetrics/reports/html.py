"""Templates to text, and text to a folder's page."""

from __future__ import annotations

from pathlib import Path

import jinja2
import markupsafe

from raymetrics.files import write_atomically
from raymetrics.printable import escape_unprintable


def render_template(template: str, **values: object) -> str:
    """A template of this package, filled in; values are escaped, also what cannot be printed in
    them, and one that lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raymetrics", "reports/templates"),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def write_page(text: str, to: str | Path) -> Path:
    """Writes `to`/index.html, whole; its path. StorageError if it cannot be written, and an earlier
    page stays."""
    page = Path(to) / "index.html"
    write_atomically(page, text.encode())
    return page


def _finalize(value: object) -> object:
    """What stands for a value on a page: of text every line as it can be printed; markup as is."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return "\n".join(map(escape_unprintable, value.split("\n")))
