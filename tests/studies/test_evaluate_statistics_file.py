"""A file of statistics as one side: the numbers of the programs that wrote it, and refusals."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleanfid.fid import frechet_distance as of_clean_fid
from pytorch_fid.fid_score import calculate_frechet_distance as of_pytorch_fid
from scipy.linalg import sqrtm

import raymetrics as rm
from raymetrics import results
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch, StorageError
from raymetrics.metrics import Protocol, conventions, get_convention
from raymetrics.reports.comparison_page import report
from raymetrics.reports.terminal import results_table
from raymetrics.shards.foreign.export import export
from tests.conftest import write_set
from tests.shards.foreign.test_statistics_files import pair, saved

pytestmark = pytest.mark.usefixtures("ray_session")

DIMENSIONS = {"pre_logits": 8, "spatial": 6, "logits": 5}


class Case:
    """Two sides of different sizes as arrays, as shards, and the real one as files."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder = folder
        self.real, self.generated = (
            {
                name: rng.normal(shift, 1 + shift, (count, d)).astype(np.float32)
                for name, d in DIMENSIONS.items()
            }
            for count, shift in ((400, 0.0), (350, 0.3))
        )
        self.uris = {"real": str(folder / "real"), "generated": str(folder / "generated")}
        for side, uri in self.uris.items():
            write_set(uri, getattr(self, side), shard_rows=90)
        self.file = self.saved("fid.npz", pair(self.real["pre_logits"]))

    def saved(self, name: str, arrays: Any) -> str:
        return saved(self.folder / name, arrays)


@pytest.fixture
def case(tmp_path: Path, rng: np.random.Generator) -> Case:
    return Case(tmp_path, rng)


# They ask SciPy for a way of calling sqrtm that it is taking away.
asks_disp = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        "disp" not in inspect.signature(sqrtm).parameters, reason="they need an older SciPy"
    ),
]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(of_pytorch_fid, marks=asks_disp, id="pytorch-fid"),
        pytest.param(of_clean_fid, marks=asks_disp, id="clean-fid"),
    ],
)
def test_the_number_of_the_programs(case: Case, program: Callable[..., float]) -> None:
    theirs = [pair(side["pre_logits"]).values() for side in (case.real, case.generated)]
    (found,) = rm.evaluate(real=case.file, generated=case.uris["generated"])
    assert found.value == pytest.approx(program(*theirs[0], *theirs[1]), rel=1e-9)
    assert found.label == "FD made-up"


def test_what_a_result_says(case: Case) -> None:
    (found,) = rm.evaluate(real=case.file, generated=case.uris["generated"], metrics=["fid"])
    assert found.convention == {
        "ddof": 1,
        "reference": "fid.npz",
        "reference_layout": "mu, sigma",
        "reference_part": "mu, sigma",
        "reference_sha256": found.real.digest,
        "reference_count": "not stated by the file",
        "reference_ddof": "as in the file: 1 in most programs, 0 in NVIDIA's StyleGANs",
        "resize": "not stated by the file",
        "features": "float32",
        "arithmetic": "float64",
    }
    assert (found.real.uri, found.real.count, found.real.samples) == (case.file, None, ())
    assert (found.generated.count, found.generated.samples) == (350, ("0-349",))
    row = results_table([found]).splitlines()[2]
    assert row.split()[5:] == [
        "better", "unknown", "350", "ddof=1,", "reference=fid.npz,", "resize=not", "stated", "by",
        "the", "file",
    ]  # fmt: skip
    results.append_results([found], case.folder / "results.jsonl")
    assert results.read_results(case.folder / "results.jsonl") == [found]
    page = report(case.folder / "results.jsonl", to=case.folder / "page").read_text()
    assert "unknown samples" in page
    assert "fid.npz is a file of statistics, which holds no samples" in page


@pytest.mark.parametrize("side", ["real", "generated"])
@pytest.mark.parametrize("ddof", [0, 1])
def test_an_exported_side_gives_the_number_of_both_sets(case: Case, side: str, ddof: int) -> None:
    asked = get_convention("raymetrics", ddof=ddof)
    (expected,) = rm.evaluate(**case.uris, metrics=["fid"], convention=asked)
    to = str(case.folder / f"{side}.npz")
    export(case.uris[side], to=to, format="npz", columns=["made_up_pre_logits"], ddof=ddof)
    # Another column of that dimension is none that could be meant.
    (found,) = rm.evaluate(**{**case.uris, side: to}, metrics=["fid"], convention=asked)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert (found.label, found.space) == (expected.label, expected.space)
    assert getattr(found, side).count == getattr(expected, side).count
    assert found.convention["reference_ddof"] == ddof
    assert found.convention["resize"] == "none"


def test_a_batch_of_adm_gives_sfid_too(case: Case) -> None:
    spatial = {f"{name}_s": value for name, value in pair(case.real["spatial"]).items()}
    file = case.saved("adm.npz", {**pair(case.real["pre_logits"]), **spatial})
    found = rm.evaluate(real=file, generated=case.uris["generated"], metrics=["fid", "sfid"])
    both = rm.evaluate(**case.uris, metrics=["fid", "sfid"])
    assert [r.value for r in found] == pytest.approx([r.value for r in both], rel=1e-9)
    assert [r.label for r in found] == [r.label for r in both]
    assert [r.convention["reference_part"] for r in found] == ["mu, sigma", "mu_s, sigma_s"]


def test_a_pickle_of_edm2_gives_every_space_that_there_is(case: Case) -> None:
    spaces = {"fid": pair(case.real["pre_logits"]), "fd_dinov2": pair(case.real["logits"])}
    file = case.saved("img512.pkl", {"num_images": 400, **spaces})
    (found,) = rm.evaluate(real=file, generated=case.uris["generated"])
    assert found.convention["reference_part"] == "fid"
    assert found.real.count == 400
    both = ["made_up_pre_logits", "made_up_logits"]
    found = rm.evaluate(real=file, generated=case.uris["generated"], columns=both)
    expected = rm.evaluate(**case.uris, metrics=["fid"], columns=both)
    assert sorted(r.value for r in found) == pytest.approx(sorted(r.value for r in expected))


def test_the_first_samples_of_the_shards(case: Case) -> None:
    (found,) = rm.evaluate(real=case.file, generated=case.uris["generated"], samples=123)
    few = case.generated["pre_logits"][:123]
    expected = rm.frechet_distance(real=case.real["pre_logits"], generated=few)
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.generated.count == 123


def test_a_protocol(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = get_convention("pytorch-fid")
    protocols = [
        Protocol("all", ("fid",), asked, 200),
        Protocol("fixed", ("fid",), asked, 200, 400),
        Protocol("kernel", ("kid",), asked, 200),
    ]
    monkeypatch.setattr(conventions, "PROTOCOLS", {p.name: p for p in protocols})
    sides = {"real": case.file, "generated": case.uris["generated"]}
    (found,) = rm.evaluate(**sides, protocol="all")
    assert (found.generated.count, found.convention["protocol"]) == (200, "all")
    with pytest.raises(NotEnoughData, match="fixed takes 400 real .* of an unknown number"):
        rm.evaluate(**sides, protocol="fixed")
    with pytest.raises(RaymetricsError, match="kid cannot be computed from"):
        rm.evaluate(**sides, protocol="kernel")
    known = case.saved("known.pkl", {"num_images": 400, "fid": pair(case.real["pre_logits"])})
    (found,) = rm.evaluate(**{**sides, "real": known}, protocol="fixed")
    assert found.generated.count == 200


def changed(case: Case, **spec: Any) -> str:
    """The generated side with another specification of the extractor, or more columns."""
    uri = str(case.folder / "changed")
    more = {"again": case.generated["pre_logits"]} if not spec else {}
    of = {"name": "made-up", "resize": "none", **spec}
    write_set(uri, {**case.generated, **more}, spec=of)
    return uri


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"metrics": ["fid", "kid", "pr"]}, RaymetricsError, "kid, pr cannot be computed from"),
        ({"metrics": ["fud"]}, RaymetricsError, "no metric 'fud'"),
        ({"metrics": ["sfid"]}, RaymetricsError, "sfid takes mu_s, sigma_s, .* holds mu, sigma"),
        ({"by": "label"}, RaymetricsError, "knows neither labels nor samples"),
        ({"samples": 1}, NotEnoughData, "takes at least 2 samples, .* has 1;"),
        ({"samples": 351}, NotEnoughData, "the first 351 samples are asked for"),
        ({"columns": ["x"]}, SpecMismatch, "no column 'x' in .*; it has made_up_pre_logits,"),
        ({"extractors": ["x"]}, SpecMismatch, "no extractor 'x' in .*; it has made-up"),
        ({"columns": ["made_up_logits"]}, SpecMismatch, r"8 dimensions, .*made_up_logits \(5\);"),
        ({"real": "none.npz"}, StorageError, "there is no file none.npz"),
    ],
)
def test_refusals(
    case: Case, asked: dict[str, Any], error: type[RaymetricsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        rm.evaluate(**{"real": case.file, "generated": case.uris["generated"], **asked})


def test_two_files(case: Case) -> None:
    message = "files of statistics both; one side must be a shard set, a source"
    with pytest.raises(RaymetricsError, match=message):
        rm.evaluate(real=case.file, generated=case.file)


def test_two_columns_of_the_dimension(case: Case) -> None:
    generated = changed(case)
    with pytest.raises(SpecMismatch, match=r"made_up_pre_logits with mu, sigma, made_up_again"):
        rm.evaluate(real=case.file, generated=generated)
    (found,) = rm.evaluate(real=case.file, generated=generated, columns=["made_up_again"])
    assert found.label == "FD made-up again"


def test_an_exported_side_of_another_make(case: Case) -> None:
    to = str(case.folder / "exported.npz")
    export(case.uris["real"], to=to, format="npz", columns=["made_up_pre_logits"])
    with pytest.raises(SpecMismatch, match=r'resize: there "none", in the shards "bicubic"'):
        rm.evaluate(real=to, generated=changed(case, resize="bicubic"))
    with pytest.raises(SpecMismatch, match=r"exported from made_up_pre_logits, .* made_up_spatial"):
        rm.evaluate(real=to, generated=case.uris["generated"], columns=["made_up_spatial"])
