"""Numbers under every convention, count and resize are those of separate evaluations."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.errors import RaymetricsError, ResultsFileError
from raymetrics.extractors.resize import SQUARE_CONVENTIONS
from raymetrics.metrics import CONVENTIONS
from raymetrics.reports.comparison_page import report
from raymetrics.reports.number_table import number_table
from raymetrics.reports.sensitivity_section import sensitivity_sections
from raymetrics.results import VARIATION, Result, append_results, read_results
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, create_or_extend_spec
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard
from raymetrics.studies.sensitivity_to_protocol import add_other_resizes, sample_counts
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

CHANGES = {"kid_subsets": 4, "kid_subset_size": 25}
# Of each choice in which conventions differ one that makes it.
DIFFERING = (None, "prdc", "torch-fidelity", "nvidia", "adm", "torchmetrics")
METRICS = "fid,kid,pr,dc,realism,is,top1,vendi,sfid,fid-probabilities"


@pytest.fixture
def uris(tmp_path: Path, rng: np.random.Generator) -> dict[str, str]:
    uris = {}
    for side, shift in (("real", 0.0), ("generated", 0.4)):
        uris[side] = str(tmp_path / side)
        features = {
            name: rng.normal(shift, 1, (80, d)).astype(np.float32)
            for name, d in (("pre_logits", 4), ("logits", 6), ("spatial", 3))
        }
        features["pre_logits"][10:14] = features["pre_logits"][20:24]  # open balls differ
        write_set(uris[side], features)
    return uris


def rows(results: list[Result]) -> dict[str, list[Result]]:
    """The results by setting."""
    by_setting: dict[str, list[Result]] = {}
    for result in results:
        by_setting.setdefault(result.details[VARIATION]["setting"], []).append(result)
    return by_setting


def test_conventions_are_those_of_separate_evaluations(uris: dict[str, str]) -> None:
    asked = {**uris, "metrics": METRICS, "changes": CHANGES}
    found = rows(rm.evaluate(**asked, under="conventions"))
    assert list(found) == ["as asked", *(f"convention {name}" for name in CONVENTIONS)]
    for name in DIFFERING:
        varied = found["as asked" if name is None else f"convention {name}"]
        alone = rm.evaluate(**asked, convention=name)
        assert [r.label for r in varied] == [r.label for r in alone]
        for one, other in zip(varied, alone, strict=True):
            assert one.convention == other.convention
            assert one.value == pytest.approx(other.value, rel=1e-12)
            assert (one.spread or 0) == pytest.approx(other.spread or 0, rel=1e-12)
            details = {k: v for k, v in one.details.items() if k != VARIATION}
            assert details.keys() == other.details.keys()


def test_counts(uris: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="raymetrics"):
        found = rows(rm.evaluate(**uris, metrics="fid,kid", changes=CHANGES, under="counts"))
    assert list(found) == ["as asked", "40 samples", "20 samples"]
    for count in (40, 20):
        (alone,) = rm.evaluate(
            **uris, metrics="fid", samples=count, real_samples=count, random_ids=0
        )
        result = found[f"{count} samples"][0]
        assert result.value == alone.value
        assert result.real.selection == alone.real.selection
    assert [r.metric for r in found["20 samples"]] == ["frechet_distance"]
    left_out = "kid takes more than 20 samples, and is left out under 20 samples"
    assert left_out in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("real", "generated", "expected"),
    [
        (70_000, 50_000, [50_000, 10_000, 5_000]),
        (50_000, 50_000, [10_000, 5_000]),
        (6_000, 9_000, [5_000]),
        (1_000, 999, [499, 249]),
        (1, 1, []),
    ],
)
def test_counts_that_sets_have(real: int, generated: int, expected: list[int]) -> None:
    assert sample_counts(real, generated) == expected


def test_resizes_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as if its extractor had been asked for alone; both networks in one stream."""
    monkeypatch.setattr(
        "raymetrics.extractors.resize.SQUARE_CONVENTIONS", ("clean", "tf1-bilinear")
    )
    asked = {"real": "mnist", "generated": "faces", "samples": "0-29", "any_size": True}
    names = "fid:digits,top1"
    found = rows(rm.evaluate(**asked, metrics=names, extractors="digits", under="resizes"))
    assert list(found) == ["as asked", "resize tf1-bilinear"]
    for setting, varied in found.items():
        resize = setting.partition(" ")[2] if setting != "as asked" else "clean"
        text = f"digits?resize={resize}"
        alone = rm.evaluate(**asked, metrics=names, extractors=text)
        # With 30 samples in 64 dimensions, roots of zero magnify the last bits.
        assert [r.value for r in varied] == pytest.approx([r.value for r in alone], rel=1e-6)
        assert {r.details[VARIATION]["measure"] for r in varied} == {
            "FD digits", "Top-1 distance digits",
        }  # fmt: skip
        assert {r.space["resize"] for r in varied} == {resize}
    assert found["as asked"][0].value != found["resize tf1-bilinear"][0].value


def test_extractors_with_other_resizes() -> None:
    assert add_other_resizes(["my_module:network"]) == {}
    added = add_other_resizes(["digits?resize=clip&name=mine"])
    assert added["mine-clean"] == "digits?resize=clean&name=mine-clean"
    assert {text.partition("resize=")[2].partition("&")[0] for text in added.values()} == {
        resize for resize in SQUARE_CONVENTIONS if resize != "clip"
    }
    assert "swav-resnet50-tf1-bilinear" in add_other_resizes(["swav-resnet50"])


def write_resizes(uri: str, features: dict[str, np.ndarray]) -> None:
    """A shard set of one network, with a column for every resize."""
    columns = tuple(schema.Column(name, "pre_logits", x.shape[1]) for name, x in features.items())
    spec = DatasetSpec(
        source="numbers",
        generator={"name": "numbers"},
        extractors=[
            {"name": name, "network": "net", "resize": name.partition("-")[2] or "clean"}
            for name in features
        ],
        columns=columns,
        class_names={},
        labels=False,
        shard_rows=50,
        samples=(range(50),),
        extractor_texts=tuple(features),
    )
    store = Store(uri)
    create_or_extend_spec(store, spec)
    by_column = {c.name: features[c.extractor] for c in columns}
    table = schema.to_table(columns, np.arange(50), None, by_column)
    commit_shard(store, table, spec.fingerprint)
    seal_set(open_shards(uri))


def test_resizes_that_shards_have(
    tmp_path: Path, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    sides = {"real": str(tmp_path / "a"), "generated": str(tmp_path / "b")}
    for uri in sides.values():
        names = ("net", "net-clip", "net-torch")
        write_resizes(uri, {n: rng.normal(size=(50, 3)).astype(np.float32) for n in names})
    found = rows(rm.evaluate(**sides, metrics="fid", under="resizes"))
    alone = {r.space["name"]: r.value for r in rm.evaluate(**sides, metrics="fid")}
    assert {setting: r[0].value for setting, r in found.items()} == {
        "as asked": alone["net"], "resize clip": alone["net-clip"],
        "resize torch": alone["net-torch"],
    }  # fmt: skip
    named = rows(rm.evaluate(**sides, metrics="fid", extractors="net-clip", under="resizes"))
    assert {setting: r[0].value for setting, r in named.items()} == {
        "as asked": alone["net-clip"], "resize clean": alone["net"],
        "resize torch": alone["net-torch"],
    }  # fmt: skip
    with caplog.at_level(logging.INFO, logger="raymetrics"):
        write_set(str(tmp_path / "one"), {"pre_logits": np.eye(9, dtype=np.float32)})
        one = str(tmp_path / "one")
        rm.evaluate(real=one, generated=one, metrics="fid", under="resizes")
    assert "made_up_pre_logits is there by one resize alone" in caplog.text


def test_what_cannot_be_varied(uris: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="under is 'x'; there are all, conventions, counts"):
        rm.evaluate(**uris, under="x")
    for more in ({"by": "label"}, {"random_ids": "0,1", "samples": 40}):
        with pytest.raises(
            RaymetricsError, match="leave out by, scores, intervals, and all seeds but one"
        ):
            rm.evaluate(**uris, under="all", **more)
    rm.export(
        uris["real"], to=str(tmp_path / "x.npz"), format="npz", columns=["made_up_pre_logits"]
    )
    with pytest.raises(RaymetricsError, match="statistics has one convention, count and resize"):
        rm.evaluate(real=str(tmp_path / "x.npz"), generated=uris["generated"], under="all")


def test_the_command_and_its_page(uris: dict[str, str], tmp_path: Path) -> None:
    line = ["evaluate", "--real", uris["real"], "--generated", uris["generated"], "--metrics",
            "fid,pr", "--under", "all", "--page", str(tmp_path / "page")]  # fmt: skip
    done = CliRunner().invoke(main, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sum(text.startswith("FD made-up  ") for text in done.output.splitlines()) == 1
    results = read_results(tmp_path / "page" / "results.jsonl")
    values = [r.value for r in results if r.metric == "frechet_distance"]
    sentence = (
        f"FD made-up: an improvement smaller than {max(values) - min(values):.3g} may be the "
        "protocol's."
    )
    page = (tmp_path / "page" / "index.html").read_text()
    assert sentence in done.output
    assert sentence.replace("'", "&#39;") in page
    (section,) = sensitivity_sections(results)
    names = [name for name, _ in section.spreads]
    assert names == ["spread over conventions", "spread over sample counts", "spread over all"]
    conventions = [
        r.value for r in results
        if r.metric == "recall" and r.details[VARIATION]["axis"] in ("asked", "conventions")
    ]  # fmt: skip
    assert len(conventions) == 1 + len(CONVENTIONS)
    assert section.spreads[0][1][2] == f"{max(conventions) - min(conventions):.3g}"
    # The other parts of a page, and tables, know only what was asked for.
    assert [cell.value for cell in number_table(results).rows[0].cells if cell] == [
        r.value for r in results if r.details[VARIATION]["axis"] == "asked"
    ]
    plain = [r for r in results if not r.is_variation]
    append_results(plain, tmp_path / "plain.jsonl")
    only_asked = report(tmp_path / "plain.jsonl", to=tmp_path / "plain").read_text()
    assert page.count('<div class="number">') == only_asked.count('<div class="number">')


def test_a_forged_variation_is_refused(uris: dict[str, str]) -> None:
    (result,) = rm.evaluate(**uris, metrics="fid", columns=["made_up_pre_logits"])
    for forged in ("[]", '{"axis": 3}'):
        line = result.to_json().replace('"details": {', f'"details": {{"variation": {forged}, ')
        with pytest.raises(ResultsFileError):
            Result.from_json(line)
