"""The registry is the only list of metrics, and every row of it is whole."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, registry
from raymetrics.metrics.registry import METRICS, find_metric, find_metrics
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.metrics.survey_needs import SurveyNeeds


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_whole(metric) -> None:
    """It has statistics or a survey, one line of help, and estimates its memory."""
    assert metric.name and "\n" not in metric.summary and len(metric.summary) < 70  # noqa: PT018
    formulas = (metric.compute, metric.survey_values, metric.nearest_values)
    assert sum(formula is not None for formula in formulas) == 1
    assert metric.compute is None or metric.needs is not None
    assert (metric.survey is None) == (metric.survey_values is None)
    count = metric.min_samples(Convention())
    assert count >= 1
    assert not metric.user_code
    assert set(metric.choices) <= {field.name for field in fields(Convention)}
    if metric.needs is not None:
        samples = SampleIds(np.arange(max(count, 200)), np.arange(max(count, 200)))
        for side in ("real", "generated"):
            for statistic in metric.needs(samples, side, Convention()).values():
                assert statistic.estimated_bytes(16, len(samples.real)) > 0
    samples = SampleIds.of_rows(range(900), range(800))
    assert (metric.survey is None) == (metric.survey_needs(samples, Convention()) == SurveyNeeds())


def test_the_lists_of_studies() -> None:
    """What each study offers, in the order in which it says so."""
    expected = {
        "is_default": "fid kid pr top1",
        "repeats_allowed": "fid fid-probabilities sfid fdr kid jedi top1 vendi mind "
        "sliced-wasserstein score clipscore aesthetic",
        "generated_suffices": "score clipscore aesthetic",
        "moments_suffice": "fid sfid fdr",
        "resamplings_allowed": "fid kid top1 mind",
        "in_sweeps": "fid pr dc prd",
        "in_sweeps_by_label": "fid fid-probabilities pr dc",
    }
    for fact, names in expected.items():
        assert " ".join(n for n, metric in METRICS.items() if getattr(metric, fact)) == names


def test_help_and_table_come_from_the_registry() -> None:
    text = CliRunner().invoke(main, ["evaluate", "--help"], terminal_width=80).output
    for line in registry.help_lines().splitlines():
        assert line in text
    assert f"[default: {','.join(registry.DEFAULT_METRICS)}, or" in " ".join(text.split())
    table = registry.markdown_table().splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + len(METRICS)


@pytest.mark.parametrize(
    ("name", "expected"), [("FID", "fid"), ("precision", "pr"), ("Coverage", "dc"), ("isc", "is")]
)
def test_names_in_capitals_and_aliases(name: str, expected: str) -> None:
    assert find_metric(name).name == expected


def test_kdd_is_kid_in_dinov2() -> None:
    assert [find_metric(name).text for name in ("KDD", "kid:dinov2")] == ["kid:dinov2"] * 2


def test_a_metric_is_computed_once_under_two_names() -> None:
    assert [metric.name for metric in find_metrics(["precision", "recall", "fid", "FID"])] == [
        "pr", "fid",
    ]  # fmt: skip


def test_a_misspelt_metric_has_a_suggestion() -> None:
    with pytest.raises(RaymetricsError, match=r"no metric 'fidd' \(did you mean fid\?\)"):
        find_metric("fidd")
