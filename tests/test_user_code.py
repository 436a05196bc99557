"""What goes wrong in a user's own code is told in one line that blames it, before Ray starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.distributed.extraction import extract
from raymetrics.errors import ExtractorError, RaymetricsError, SourceError
from raymetrics.extractors import make_extractor
from raymetrics.generators import open_source
from tests.helpers.user_modules import ModuleFolder

CPU = torch.device("cpu")
IMAGES = "np.zeros((len(ids), 3, 4, 4), np.uint8)"
MODEL = f"""import numpy as np
class Model:
    def __call__(self, ids):
        return {IMAGES}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleFolder:
    return ModuleFolder(tmp_path, monkeypatch)


AT_IMPORT = {
    "import nowhere_at_all\n": "No module named 'nowhere_at_all'; looked in",
    "x = 1\nraise ValueError('no weights')\n": r"ValueError: no weights .*broken_gen.py, line 2",
    "def f(:\n": r"SyntaxError: .* \(.*broken_gen.py, line 1\)",
    "import sys\n\nsys.exit(0)\n": (
        r"it ends the program, sys.exit\(0\) \(.*broken_gen.py, line 3\); put .* below if __name__"
    ),
    "import json\njson.loads('{')\n": r"JSONDecodeError: .*\(.*broken_gen.py, line 2\)",
    "raise AssertionError\n": r"AssertionError \(.*broken_gen.py, line 1\)",
}


@pytest.mark.parametrize("text", AT_IMPORT)
def test_a_module_that_cannot_be_imported(text, folder) -> None:
    folder.write(broken_gen=text)
    with pytest.raises(SourceError, match=f"cannot import 'broken_gen' .*{AT_IMPORT[text]}"):
        open_source("broken_gen:Model", CPU)
    with pytest.raises(ExtractorError, match=f"cannot import 'broken_gen' .*{AT_IMPORT[text]}"):
        make_extractor("broken_gen:Model", CPU)


WHEN_MADE = {
    "    def __init__(self):\n        raise SystemExit(0)\n": r"cannot make .*sys.exit.*line 6",
    "    def __init__(self):\n        self.x = {}['w']\n": r"cannot make .*KeyError: 'w' .*line 6",
    "    uint8 = [1, 2]\n": r"uint8 of broken_gen:Model is \[1, 2\]; the rules are",
    "    uint8 = property(lambda self: 1 / 0)\n": "uint8 of broken_gen:Model failed: ZeroDivision",
}


@pytest.mark.parametrize("text", WHEN_MADE)
def test_an_object_that_cannot_be_made(text, folder) -> None:
    folder.write(broken_gen=MODEL + text)
    with pytest.raises(SourceError, match=WHEN_MADE[text]):
        open_source("broken_gen:Model", CPU)


WHEN_ASKED = {
    "    length = 'x'\n": "length of broken_gen:Model is 'x', expected how many",
    "    length = True\n": "length of broken_gen:Model is True",
    "    length = 0\n": "length of broken_gen:Model is 0",
    "    length = 2.5\n": "length of broken_gen:Model is 2.5",
    "    def length(self):\n        return 9\n": "length of broken_gen:Model is <bound method",
    "    spec = {'psi': float('nan')}\n": "spec of broken_gen:Model cannot be written as JSON",
    "    spec = {'noise': np.zeros(3)}\n": "spec of broken_gen:Model cannot be written as JSON",
    "    def labels(self, ids):\n        return ['cat'] * len(ids)\n": "labels .* are <U3",
    "    def labels(self, ids):\n        return ids > 1\n": r"labels .* are bool .*int64 \[3\]",
    "    def labels(self, ids):\n        return ids * 0.5\n": r"labels .* are float64 \[3\]",
    "    def labels(self, ids):\n        return ids - 7\n": "from 0 on, the least is -7",
    "    def labels(self, ids):\n        return ids[:1]\n": r"labels .* are \[1\] for 3 sample ids",
    "    def labels(self, ids):\n        return [[1], [2, 3]]\n": "failed on the labels of 3 ",
    "    def labels(self, ids):\n        raise SystemExit\n": "failed on the labels .*sys.exit",
    "    labels = 3\n": "failed on the labels .*not callable",
}


@pytest.mark.parametrize("text", WHEN_ASKED)
def test_the_verb_ends_with_2_and_one_line_before_ray_starts(text, folder, monkeypatch) -> None:
    def started() -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(extract, "session", started)
    folder.write(broken_gen=MODEL + text)
    to = folder.path / "shards"
    arguments = ["extract", "broken_gen:Model", "--extractor", "digits", "--samples", "0-8"]
    done = CliRunner().invoke(main, [*arguments, "--to", str(to)])
    assert done.exit_code == 2, done.output
    (line,) = done.output.splitlines()
    assert line.startswith("error: ")
    with pytest.raises(RaymetricsError, match=WHEN_ASKED[text]):
        raise RaymetricsError(line)
    assert not to.exists()


def test_a_module_that_ends_the_program_makes_nothing_and_says_so(folder) -> None:
    """It was taken for a run that had done all of its work."""
    folder.write(broken_gen="import sys\nsys.exit(0)\n")
    arguments = ["extract", "broken_gen:Model", "--extractor", "digits", "--samples", "0-8"]
    done = CliRunner().invoke(main, [*arguments, "--to", str(folder.path / "shards")])
    assert done.exit_code == 2
    assert "error: cannot import 'broken_gen'" in done.output


def test_a_plan_that_ends_the_program_is_named_too(folder) -> None:
    from raymetrics.studies.sweep_table import read_plan

    folder.write(broken_plan="import sys\ndef rows():\n    sys.exit(0)\n")
    with pytest.raises(RaymetricsError, match=r"gives no rows: sys.exit\(0\) .*line 3"):
        read_plan("broken_plan:rows")
