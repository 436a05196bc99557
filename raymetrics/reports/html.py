"""Fill in templates, and write pages."""

from __future__ import annotations

from pathlib import Path

import jinja2
import markupsafe

from raymetrics.files import write_atomically
from raymetrics.printable import escape_unprintable


def render_template(template: str, **values: object) -> str:
    """Return a template of this package, filled in.

    Markup and characters that cannot be printed are escaped in values. A value that is absent is an
    error.
    """
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
    """Write a text as `to`/index.html, and return its path.

    Raise StorageError if it cannot be written; an earlier page then stays as it was.
    """
    page = Path(to) / "index.html"
    write_atomically(page, text.encode())
    return page


def _finalize(value: object) -> object:
    """Return a value as it stands on a page: text with every line printable, markup unchanged."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return "\n".join(map(escape_unprintable, value.split("\n")))
