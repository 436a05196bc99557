"""Templates to text, and text to a folder's page."""

from __future__ import annotations

from pathlib import Path

import jinja2

from raymetrics.errors import StorageError


def rendered(template: str, **values: object) -> str:
    """A template of this package, filled in; values are escaped, and one that lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raymetrics", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def write_page(text: str, to: str | Path) -> Path:
    """Writes `to`/index.html; its path. StorageError if it cannot be written."""
    page = Path(to) / "index.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write the page to {page}: {error.strerror}") from None
    return page
