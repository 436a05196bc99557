"""FVD, FAD and JEDi of features that another program computed, as its own program has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

import raymetrics as rm
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import PROTOCOLS, conventions
from raymetrics.reports.comparison_page import report
from raymetrics.results import append_results
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

COUNT = 40  # of clips, in place of 2,048


@pytest.fixture(autouse=True)
def _few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = {
        **PROTOCOLS,
        "fvd2048": replace(PROTOCOLS["fvd2048"], generated=COUNT, real_at_most=COUNT, dimension=5),
        "cd-fvd": replace(PROTOCOLS["cd-fvd"], generated=COUNT),
    }
    monkeypatch.setattr(conventions, "PROTOCOLS", fewer)


@pytest.fixture
def clips(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "real": rng.normal(size=(60, 5)).astype(np.float32),
        "generated": rng.normal(0.4, 1.3, size=(50, 5)).astype(np.float32),
    }


@pytest.fixture
def sides(tmp_path: Path, clips: dict[str, np.ndarray]) -> dict[str, str]:
    for side, x in clips.items():
        np.savez(tmp_path / f"{side}.npz", features=x)
    return {side: f"{tmp_path}/{side}.npz?column=features&space=i3d-k400" for side in clips}


def by_sqrtm(real: np.ndarray, generated: np.ndarray, ddof: int) -> float:
    """The distance as all of these programs write it."""
    x, y = real.astype(np.float64), generated.astype(np.float64)
    a, b = np.cov(x, rowvar=False, ddof=ddof), np.cov(y, rowvar=False, ddof=ddof)
    root = sqrtm(b @ a).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root))


def test_the_protocols_are_those_of_the_programs(
    sides: dict[str, str], clips: dict[str, np.ndarray]
) -> None:
    real, generated = clips["real"], clips["generated"]
    expected = {
        "fvd2048": by_sqrtm(real[:COUNT], generated[:COUNT], ddof=0),
        "cd-fvd": by_sqrtm(real, generated[:COUNT], ddof=0),
        "fad": by_sqrtm(real, generated, ddof=1),
        "jedi": 100 * sum(
            sign * polynomial_kernel(a, b, degree=2, coef0=0).mean()
            for sign, a, b in ((1, real, real), (1, generated, generated), (-2, real, generated))
        ),
    }  # fmt: skip
    for protocol, value in expected.items():
        (found,) = rm.evaluate(**sides, protocol=protocol)
        assert found.value == pytest.approx(value, rel=1e-6), protocol
        assert found.convention["protocol"] == protocol
        assert found.label == ("JEDi" if protocol == "jedi" else "FD") + " i3d-k400"


def test_every_metric_without_images_takes_them(sides: dict[str, str], tmp_path: Path) -> None:
    found = rm.evaluate(**sides, metrics="fid,pr,dc,vendi,mifid", samples=50)
    assert {r.metric for r in found} >= {"precision", "density", "vendi_score", "mifid"}
    assert {r.convention["resize"] for r in found} == {"not stated by the file"}
    assert {(r.real.count, r.generated.count) for r in found} == {(50, 50)}
    assert found[0].real.source == sides["real"]
    append_results(found, tmp_path / "results.jsonl")
    page = report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text()
    assert "MiFD i3d-k400" in page


def test_what_cannot_be_compared(
    sides: dict[str, str], tmp_path: Path, clips: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "wide.npz", features=np.ones((50, 7)))
    wide = dict.fromkeys(sides, f"{tmp_path}/wide.npz?space=i3d-k400")
    with pytest.raises(
        SpecMismatch, match="used i3d-k400 differently.*dimension: there 7, on the other side 5"
    ):
        rm.evaluate(real=wide["real"], generated=sides["generated"])
    with pytest.raises(SpecMismatch, match="fvd2048 takes the 400 logits of I3D.*features .7."):
        rm.evaluate(**wide, protocol="fvd2048")
    other = sides["generated"].replace("i3d-k400", "videomae")
    with pytest.raises(SpecMismatch, match="has features of i3d-k400, .* of videomae; extract"):
        rm.evaluate(real=sides["real"], generated=other)
    write_set(str(tmp_path / "set"), {"features": clips["generated"]}, extractor="i3d-k400")
    with pytest.raises(SpecMismatch, match="used i3d-k400 differently"):
        rm.evaluate(real=sides["real"], generated=str(tmp_path / "set"))
    np.savez(tmp_path / "few.npz", features=clips["generated"][:30])
    few = f"{tmp_path}/few.npz?space=i3d-k400"
    with pytest.raises(NotEnoughData, match="fvd2048 takes 40 generated samples, there are 30"):
        rm.evaluate(real=sides["real"], generated=few, protocol="fvd2048")


def test_images_are_no_clips() -> None:
    with pytest.raises(RaymetricsError, match=r"fvd2048 takes the 400 logits .*, not images; c"):
        rm.evaluate(real="digits", generated="digits", protocol="fvd2048")
