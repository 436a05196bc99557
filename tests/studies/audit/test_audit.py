"""An audit of worlds whose perceptual null space is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli import main
from raymetrics.reports.audit_page import audit_table
from raymetrics.reports.terminal import format_value
from raymetrics.results import Result
from raymetrics.studies import reweight
from tests.helpers.audit_world import HEADLINE, SECOND, UNEVEN, write_world

pytestmark = pytest.mark.usefixtures("no_actors")

HEADLINE_FD, SECOND_FD = f"FD {HEADLINE}", f"FD {SECOND}"
Writer = Callable[..., str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Write a set of a name, once."""
    folder = tmp_path_factory.mktemp("world")

    def write(name: str, count: int = 2000, seed: int = 0, **settings: object) -> str:
        if not (folder / name).exists():
            write_world(folder / name, np.random.default_rng([7, seed]), count, **settings)  # type: ignore[arg-type]
        return str(folder / name)

    return write


@pytest.fixture
def real(world: Writer) -> str:
    return world("real", seed=1)


@pytest.fixture
def uneven(world: Writer) -> str:
    """Other class frequencies, which only the headline space sees."""
    return world("uneven", seed=2, rates=UNEVEN)


@pytest.fixture
def shifted(world: Writer) -> str:
    """A visible difference, which both spaces see."""
    return world("shifted", seed=3, shift=1.2)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["audit", *words], catch_exceptions=False)
    return done.exit_code, done.output


def shares(found: list[Result]) -> dict[str, Result]:
    return {r.details["attack"]: r for r in found if r.metric == "null_space_share"}


def spread(result: Result) -> float:
    assert result.spread is not None
    return result.spread


def distances(found: list[Result], space: str) -> dict[str, Result]:
    return {str(r.subset["scheme"]): r for r in found if r.measure_name == space}


def test_class_frequencies_are_all_in_the_null_space(
    real: str, uneven: str, tmp_path: Path
) -> None:
    """The visible part and the class are independent, so that their distances add up.

    Of the visible part there is only the bias of few samples, which no attack removes for certain.
    """
    found = rm.audit(real=real, generated=uneven, to=str(tmp_path), n=300)
    headline, second = (
        distances(found.numbers, space)["random"].value for space in (HEADLINE_FD, SECOND_FD)
    )
    share = shares(found.numbers)["matching"]
    assert share.value == pytest.approx(1 - second / headline, abs=2 * spread(share))
    assert 0.6 < share.value < 1
    assert spread(share) < 0.25
    assert re.fullmatch(
        rf"\d\d ± \d+ % of {HEADLINE_FD} lies in the perceptual null space: .* removes it, and no "
        "second space sees that.",
        found.verdict[0],
    )


def test_what_both_spaces_see_is_not_in_the_null_space(
    real: str, shifted: str, tmp_path: Path
) -> None:
    found = rm.audit(real=real, generated=shifted, to=str(tmp_path), n=300)
    reweighted = distances(found.numbers, HEADLINE_FD)[f"reweighted by {HEADLINE} pre_logits"]
    assert reweighted.details["relative_change"][0] < -0.5
    assert all(share.value < 0.05 for share in shares(found.numbers).values())
    assert found.verdict[0] == (
        f"Nothing of {HEADLINE_FD} is shown to lie in the perceptual null space: what the attacks "
        "remove, a second space sees too."
    )
    assert f"{HEADLINE_FD} moves no more than draws differ" in found.verdict[1]


def test_equal_generators_are_not_distinguished(
    real: str, uneven: str, world: Writer, tmp_path: Path
) -> None:
    twin = world("twin", seed=4, rates=UNEVEN)
    found = rm.audit(real=real, generated=[uneven, twin], to=str(tmp_path), n=300)
    assert re.fullmatch(
        rf"{HEADLINE_FD} does not distinguish (uneven and twin|twin and uneven): deviations cover "
        "the difference.", found.verdict[0],
    )  # fmt: skip
    assert len(shares(found.numbers)) == 2
    assert len([r for r in found.numbers if r.metric == "null_space_share"]) == 4


def test_two_spaces_that_disagree(real: str, uneven: str, world: Writer, tmp_path: Path) -> None:
    """Section 4 of the paper: the headline prefers the one whose images are worse."""
    copycat = world("copycat", seed=5, shift=1.6)
    found = rm.audit(
        real=real, generated=[uneven, copycat], names="stylegan2,fastgan", to=str(tmp_path),
        n=300,
    )  # fmt: skip
    conclusion, order, matched, reweighted, attacked = found.verdict
    assert conclusion == (
        f"The second spaces contradict the order of {HEADLINE_FD}: stylegan2 is better than "
        "fastgan. Its difference is within the perceptual null space: matching Top-1 classes of "
        "stylegan2 alone moves more."
    )
    assert order.startswith(f"{HEADLINE_FD} prefers fastgan by ")
    assert f"{SECOND_FD} prefers stylegan2 by " in order
    assert order.endswith("the spaces disagree.")
    for sentence in (matched, reweighted):
        assert re.search(r"\d+ ± \d+ % of the difference is in reach of", sentence)
    assert f"{HEADLINE_FD} prefers stylegan2" in attacked


def test_numbers_are_those_of_the_draws(real: str, uneven: str, tmp_path: Path) -> None:
    """The files hold the draws of seed 0, and the distances are those of their features."""
    found = rm.audit(real=real, generated=uneven, to=str(tmp_path), seeds=2, n=300).numbers
    column = f"{HEADLINE}_pre_logits"
    features = {uri: rm.open_shards(uri).read(column) for uri in (real, uneven)}
    values = distances(found, HEADLINE_FD)
    reweighted = f"reweighted by {HEADLINE} pre_logits"
    for name, file in (("Top-1 matched", "matched"), (reweighted, "drawn")):
        ids = pq.read_table(tmp_path / "uneven" / f"{file}.parquet")["sample_id"].to_numpy()
        expected = rm.frechet_distance(real=features[real], generated=features[uneven][ids])
        assert values[name].details["values"][0] == pytest.approx(expected, rel=1e-9)
        assert values[name].subset["n"] == len(ids) == 300
        random = values["random"]
        change = values[name].value / random.value - 1
        deviation = (1 + change) * np.hypot(
            spread(values[name]) / values[name].value, spread(random) / random.value
        )
        assert values[name].details["relative_change"] == pytest.approx([change, deviation])
    assert values[reweighted].convention["scheme"] == "multinomial"
    logits = {uri: rm.open_shards(uri).read(f"{HEADLINE}_logits") for uri in (real, uneven)}
    real_counts = np.bincount(logits[real].argmax(axis=1))
    ids = pq.read_table(tmp_path / "uneven" / "matched.parquet")["sample_id"].to_numpy()
    counts = np.bincount(logits[uneven][ids].argmax(axis=1))
    np.testing.assert_allclose(counts, 300 * real_counts / 2000, atol=1)


def test_a_match_in_part_stands_beside_random_draws_of_its_size(
    real: str, uneven: str, tmp_path: Path
) -> None:
    found = rm.audit(real=real, generated=uneven, to=str(tmp_path), seeds=2).numbers
    of_headline = [r for r in found if r.measure_name == HEADLINE_FD]
    sizes = [(r.subset["scheme"], r.subset["n"]) for r in of_headline]
    (matched_size,) = (n for name, n in sizes if name == "Top-1 matched, in part")
    assert matched_size < 1000
    assert sizes.count(("random", matched_size)) == sizes.count(("random", 1000)) == 1
    (whole,) = (r for r in of_headline if (r.subset["scheme"], r.subset["n"]) == ("random", 1000))
    assert format_value(whole.value, whole.spread) in audit_table(found).splitlines()[1]
    share = shares(found)["matching"]
    assert share.convention["complete"] is False
    assert share.convention["second"] == SECOND_FD


def test_weights_are_kept_and_numbers_are_the_same(
    real: str, uneven: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"real": real, "generated": uneven, "to": str(tmp_path), "seeds": 2}
    first = rm.audit(**arguments)  # type: ignore[arg-type]
    monkeypatch.setattr(reweight.optimize, "minimize_distance", None)
    second = rm.audit(**{**arguments, "seeds": [0, 1]})  # type: ignore[arg-type]
    assert first.verdict == second.verdict
    assert [(r.label, r.value, r.spread) for r in first.numbers] == [
        (r.label, r.value, r.spread) for r in second.numbers
    ]


def test_command(real: str, uneven: str, tmp_path: Path) -> None:
    code, text = run(
        "--real", real, "--generated", uneven, "--to", str(tmp_path / "to"), "--seeds", "2"
    )
    assert code == 0, text
    found = results.read_results(tmp_path / "to" / "results.jsonl")
    conclusion = f"of {HEADLINE_FD} lies in the perceptual null space"
    (verdict,) = (line for line in text.splitlines() if conclusion in line)
    assert "in the perceptual null space" in text.splitlines()[-4]
    page = (tmp_path / "to" / "index.html").read_text()
    for part in (HEADLINE_FD, SECOND_FD, verdict, "<svg", "random"):
        assert part in page
    assert len(found) == 10  # random of two sizes, two attacks, in two spaces; two shares
    assert rm.report(tmp_path / "to" / "results.jsonl", to=tmp_path / "report").exists()


def test_bad_requests_are_one_line(real: str, uneven: str, world: Writer, tmp_path: Path) -> None:
    alone = world("alone", 60, spaces=(HEADLINE,))
    other = world("other", 60, resize="pil-bicubic")
    few, one_class = world("few", 10), world("one-class", 400, rates=(0.0, 0.0, 1.0))
    pair = ("--generated", uneven, "--generated", uneven)
    expected = {
        ("--generated", alone): f"no second space: {real} and {alone} both have",
        ("--generated", other): f"used {HEADLINE} differently",
        ("--generated", few, "--n", "6"): "draws of 6 samples from the 10 candidates in",
        ("--generated", one_class, "--n", "200"): "class 0 'ant' has 0 of",
        ("--generated", uneven, "--seeds", "1"): "1 seed gives no deviation; ask for at least 2",
        ("--generated", uneven, "--space", SECOND): f"no column pre_logits of {SECOND}",
        ("--generated", uneven, "--second", "clip"): "'clip' is no second space",
        ("--generated", uneven, "--second", HEADLINE): f"'{HEADLINE}' is no second space",
        ("--generated", uneven, "--max-evaluations", "0"): "0 evaluations are asked for",
        ("--generated", uneven, "--names", "a,b"): "names a, b for 1 generated sets",
        ("--generated", uneven, "--names", "../a"): "name '../a' also names a folder",
        (*pair, "--names", "a,a"): "names a, a for 2 generated sets; give each its own",
        (*pair, "--generated", uneven): "3 generated sets are given; an audit takes one, or two",
    }  # fmt: skip
    for words, message in expected.items():
        code, text = run("--real", real, *words, "--to", str(tmp_path / "to"))
        assert (code, text.count("\n")) == (2, 1), text
        assert message in text
        assert not (tmp_path / "to").exists()
