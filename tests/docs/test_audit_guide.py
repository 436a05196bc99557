"""The guide of the audit is true: its commands run, on fewer samples and on features of numbers."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.audit import verdict
from tests.docs.blocks import commands, text_of
from tests.helpers.audit_world import HEADLINE, UNEVEN, write_world

pytestmark = pytest.mark.usefixtures("no_actors")

PAGE = "docs/guides/audit.md"


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first into a set of its own, the second on sets with two spaces in its place."""
    monkeypatch.chdir(tmp_path)
    extract, audit = commands(PAGE, "audit")
    few = extract.replace("0-1999", "0-1").replace("demo-output/earlier", "few")
    assert CliRunner().invoke(main, shlex.split(few)[1:]).exit_code == 0
    assert {c.extractor for c in open_shards("few").spec.columns} >= {"digits"}
    for seed, (name, rates) in enumerate(
        {"real": None, "generated": UNEVEN, "earlier": None}.items()
    ):
        settings = {} if rates is None else {"rates": rates}
        rng = np.random.default_rng([9, seed])
        write_world(Path("demo-output", name), rng, 200, **settings)
    words = shlex.split(audit.replace("efficientnet-lite0", HEADLINE))
    done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 0, done.output
    assert f"FD {HEADLINE} prefers earlier" in done.output
    assert Path("audited", "index.html").exists()


def test_the_thresholds() -> None:
    text = text_of(PAGE)
    assert verdict.DEVIATIONS == 2
    assert "larger than two deviations" in text
    assert f"a share below {100 * verdict.LEAST_SHARE:.0f} %" in text
