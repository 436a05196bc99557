"""A metric of the user's own is loaded with its facts; what is wrong with it is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raymetrics.errors import MetricError, RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import METRICS, find_metric, find_metrics
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.metrics.user_metric import UserState, UserStatistic
from raymetrics.statistics import FeatureRows
from tests.helpers.user_modules import ModuleFolder

IDS = np.arange(6)
SAMPLES = SampleIds(IDS, IDS)
CONVENTION = Convention()
CLASS = """
class Count:
    def needs(self, side):
        return {"count": lambda ids, features: Sum(len(ids))}
    def compute(self, real, generated):
        return real["count"].n - generated["count"].n
class Sum:
    def __init__(self, n):
        self.n = n
    def merge(self, addend):
        return Sum(self.n + addend.n)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleFolder:
    return ModuleFolder(tmp_path, monkeypatch)


def sides(features: np.ndarray) -> list[dict[str, FeatureRows]]:
    """The statistics of a function, for both sides."""
    return [{"rows": FeatureRows(IDS, features)}, {"rows": FeatureRows(IDS, features + 1)}]


def value_of(text: str) -> object:
    """The one value of a function on two small sets."""
    metric = find_metric(text)
    assert metric.compute
    (value,) = metric.compute(*sides(np.zeros((6, 2), np.float32)), SAMPLES, CONVENTION)
    return value.value


def test_a_function_with_all_facts(folder) -> None:
    folder.write(
        mine="def f(real, generated):\n    return (generated - real).mean()\nf.name = 'gap'"
    )
    metric = find_metric("mine:f")
    assert (metric.name, metric.user_code["callable"], metric.repeats_allowed) == (
        "mine:f", "mine:f", False,
    )  # fmt: skip
    assert metric.needs
    assert set(metric.needs(SAMPLES, "real", CONVENTION)) == {"rows"}
    assert metric.compute
    (value,) = metric.compute(*sides(np.zeros((6, 2), np.float32)), SAMPLES, CONVENTION)
    assert (value.metric, value.short_name, value.value, value.better) == ("gap", "gap", 1, "lower")
    facts = (
        "f.better = 'higher'\nf.min_samples = 7\nf.outputs = ['logits']\nf.repeats_allowed = True"
    )
    folder.write(mine=f"def f(real, generated):\n    return 0\n{facts}")
    metric = find_metric("mine:f")
    assert metric.min_samples(CONVENTION) == 7
    assert metric.repeats_allowed
    assert metric.applies_to("logits", "any", explicit=False)
    assert not metric.applies_to("pre_logits", "any", explicit=False)


def test_a_result_knows_the_code(folder) -> None:
    text = "def f(real, generated):\n    return 1\n"
    folder.write(mine=text)
    first = find_metric("mine:f").user_code
    folder.write(mine=text + "# changed")
    second = find_metric("mine:f").user_code
    assert len({str(code["source_sha256"]) for code in (first, second)}) == 2


def test_an_object_with_options(folder) -> None:
    folder.write(
        mine="class C:\n    def __init__(self, p='1'):\n        self.p = float(p)\n"
        "    def __call__(self, real, generated):\n        return self.p\n"
    )
    assert value_of("mine:C?p=2.5") == 2.5
    assert find_metric("mine:C?p=2.5").user_code["options"] == {"p": "2.5"}
    assert len(find_metrics(["mine:C", "mine:C?p=2", "mine:C"])) == 2


def test_statistics_of_a_class_are_merged_and_see_no_empty_block(folder) -> None:
    folder.write(mine=CLASS)
    metric = find_metric("mine:Count")
    assert metric.needs
    assert metric.compute
    (name,) = needs = metric.needs(SAMPLES, "real", CONVENTION)
    assert name == "mine:Count count"  # apart from a statistic "count" of another metric
    block = np.zeros((6, 2), np.float32)
    parts = [needs[name](IDS[rows], block[rows]) for rows in (slice(0), slice(4), slice(4, 6))]
    total = parts[0].merge(parts[1]).merge(parts[0]).merge(parts[2])
    less = needs[name](IDS[:2], block[:2])
    (value,) = metric.compute({name: total}, {name: less}, SAMPLES, CONVENTION)
    assert value.value == 4
    assert needs[name].estimated_bytes(10, 6) == 800


WRONG = {
    "import nowhere_at_all": (MetricError, "cannot import 'mine' for metric 'mine:f'"),
    "x = 1": (MetricError, "mine has no 'f', as metric 'mine:f' needs"),
    "f = 3": (MetricError, "mine:f is int, expected a function or a class"),
    "class f:\n    pass": (MetricError, "an object of mine:f cannot be called"),
    "class f:\n    def __init__(self):\n        raise KeyError('w')": (
        MetricError, "cannot make mine:f .*KeyError: 'w' .*mine.py, line 3",
    ),
    "class f:\n    compute = print": (MetricError, "mine:f has no method 'needs'"),
    "class f:\n    def compute(self, r, g): pass\n    def needs(self, side): return [1]": (
        MetricError, r"mine:f needs \[1\] of the real side, expected functions",
    ),
    "class f:\n    def compute(self, r, g): pass\n    def needs(self, side): return 1 / 0": (
        MetricError, "mine:f failed on the needs of the real side: ZeroDivisionError",
    ),
    "def f(real, generated):\n    return 1 / 0": (
        MetricError, "mine:f failed on 6 real and 6 generated samples: Zero.*mine.py, line 2",
    ),
    "def f(real, generated):\n    raise SystemExit": (MetricError, "mine:f failed on 6 real"),
    "def f(real):\n    return 1": (MetricError, "mine:f failed on 6 real .*TypeError"),
    **{
        f"import numpy as np\ndef f(real, generated):\n    return {value}": (
            MetricError, "mine:f gives .* of 6 real .*, expected one finite number",
        )
        for value in ("'3'", "None", "True", "real", "float('nan')", "np.inf", "[1.0]", "1j")
    },
    **{
        f"def f(real, generated):\n    return 1\nf.{name} = {value}": (
            MetricError, f"{name} of mine:f is .*, expected",
        )
        for name, value in (
            ("name", "''"), ("name", "3"), ("better", "'least'"), ("min_samples", "0"),
            ("min_samples", "True"), ("repeats_allowed", "1"), ("outputs", "'logits'"),
            ("summary", "None"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told(text, folder) -> None:
    folder.write(mine=text)
    error, message = WRONG[text]
    with pytest.raises(error, match=message):
        value_of("mine:f")


def test_numbers_of_numpy_and_of_size_1(folder) -> None:
    for text in ("np.float32(2)", "np.int64(2)", "np.array(2.0)", "np.array([2.0])", "2"):
        folder.write(mine=f"import numpy as np\ndef f(real, generated):\n    return {text}")
        assert value_of("mine:f") == 2


def test_statistics_that_cannot_be_merged(folder) -> None:
    folder.write(mine=CLASS.replace("Sum(len(ids))", "3"))
    metric = find_metric("mine:Count")
    assert metric.needs
    (statistic,) = metric.needs(SAMPLES, "real", CONVENTION).values()
    with pytest.raises(MetricError, match="mine:Count gives int of a block of 6 real samples"):
        statistic(IDS, np.zeros((6, 2), np.float32))
    state = UserState("mine:Count", np.zeros(2))
    with pytest.raises(MetricError, match="mine:Count failed to merge statistics: Attrib"):
        state.merge(state)


def test_a_worker_with_other_code_is_refused(folder) -> None:
    folder.write(mine=CLASS)
    statistic = UserStatistic("mine:Count", "{}", "real", "count")
    with pytest.raises(MetricError, match="on a worker is not what it is on the driver"):
        statistic(IDS, np.zeros((6, 2), np.float32))


def test_names_that_are_no_metric() -> None:
    for name in ("ssim", "", "a:", ":b", "a b:c", "http://x"):
        with pytest.raises(RaymetricsError, match="no metric .*there are fid, .*module:callable"):
            find_metric(name)
    assert not [name for name in METRICS if ":" in name]
