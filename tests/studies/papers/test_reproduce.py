"""Items run their steps once, name what they lack, and are compared where that is fair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from raymetrics.errors import RaymetricsError, TemporaryFailure
from raymetrics.generators import Generator, open_source
from raymetrics.permissions import Permission
from raymetrics.results import Result, Side, append_results
from raymetrics.studies.papers import reproduce as study
from raymetrics.studies.papers.cells import OTHER_DATA, compare_cell
from raymetrics.studies.papers.inputs import InputChecks, mini_inputs, read_inputs
from raymetrics.studies.papers.page import write_reproduction_page
from raymetrics.studies.papers.recipes import MINI, Cell, Query, load_recipes
from raymetrics.studies.papers.reproduce import ItemOutcome, reproduce


def side(count: int = 1000) -> Side:
    return Side("/nowhere", "digits", ("0-999",), count, "f", "d", {})


def space(name: str) -> dict[str, object]:
    return {"name": name, "output": "pre_logits", "dimension": 2}


def subset(scheme: str) -> dict[str, object]:
    return {"scheme": scheme, "n": 1000, "seeds": 5, "candidates": 5000}


def result(value: float, spread: float | None = None, **fields: object) -> Result:
    base = Result(
        "frechet_distance", "FD", value, spread, "lower", space("inception"),
        {"ddof": 1}, side(), side(), {}, 1.0,
    )  # fmt: skip
    return replace(base, **fields)


class FakeVerbs:
    """Writes the results of the steps of p2-table1 in place of raymetrics, and counts them."""

    def __init__(self, top1: float, fail: str = "") -> None:
        self.top1, self.fail = top1, fail
        self.verbs: list[str] = []

    def __call__(self, words: Sequence[str]) -> None:
        self.verbs.append(words[0])
        if words[0] == self.fail:
            raise RaymetricsError(f"{words[0]} failed")
        if words[0] != "match":
            return
        file = Path(words[words.index("--to") + 1]) / "results.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        for name, matched in (("efficientnet-lite0", self.top1), ("digits", 9.99)):
            random = result(10.0, 0.1, space=space(name), subset=subset("random"))
            drawn = result(matched, 0.1, space=space(name), subset=subset("Top-1 matched"))
            append_results([random, replace(drawn, label=f"{name} Top-1")], file)


def run(to: Path, verbs: FakeVerbs, item: str = "p2-table1") -> list[ItemOutcome]:
    return reproduce(item, to=str(to), run_verb=verbs, mini=True)[0]


def verdicts(outcome: ItemOutcome) -> list[str]:
    return [checked.verdict for checked in outcome.claims]


def test_claims_hold_or_fail(tmp_path: Path) -> None:
    (good,) = run(tmp_path / "good", FakeVerbs(8.0))
    assert verdicts(good) == ["holds", "holds", "holds"]
    assert not good.failed
    (weak,) = run(tmp_path / "weak", FakeVerbs(9.8))
    assert verdicts(weak) == ["fails", "fails", "holds"]
    assert weak.failed
    assert [cell.ours.value for cell in weak.cells] == [10.0, 9.8, 10.0, 9.99]
    assert all(cell.differences == (OTHER_DATA,) for cell in weak.cells)
    assert all(cell.difference is None for cell in weak.cells)


def test_steps_are_done_once(tmp_path: Path) -> None:
    verbs = FakeVerbs(8.0)
    run(tmp_path, verbs)
    assert verbs.verbs == ["extract", "extract", "match"]
    run(tmp_path, verbs)
    assert verbs.verbs == ["extract", "extract", "match"]
    run(tmp_path / "elsewhere", verbs)
    assert len(verbs.verbs) == 6


def test_a_step_that_failed_is_the_problem_of_its_item_alone(tmp_path: Path) -> None:
    outcomes = run(tmp_path, FakeVerbs(8.0, fail="reweight"), "all")
    problems = {outcome.recipe.name: outcome.problem for outcome in outcomes}
    assert problems["p2-table1"] is None
    assert problems["p2-table2"] == "reweight failed"
    assert list(problems) == list(load_recipes())


def test_what_another_run_made_stays_on_the_page(tmp_path: Path) -> None:
    run(tmp_path, FakeVerbs(8.0))
    verbs = FakeVerbs(8.0, fail="reweight")
    outcomes, earlier = reproduce("p2-table2", to=str(tmp_path), run_verb=verbs, mini=True)
    assert [outcome.problem for outcome in outcomes] == ["reweight failed"]
    assert [outcome.recipe.name for outcome in earlier] == ["p2-table1"]
    page = write_reproduction_page([*outcomes, *earlier], str(tmp_path), Permission()).read_text()
    assert "reweight failed" in page
    assert OTHER_DATA in page
    assert "falls by about 10 %" in page


def test_an_interruption_is_passed_on(tmp_path: Path) -> None:
    def stop(words: Sequence[str]) -> None:
        raise TemporaryFailure("stopped")

    with pytest.raises(TemporaryFailure):
        reproduce("p2-table1", to=str(tmp_path), run_verb=stop, mini=True)


def test_a_damaged_list_of_steps_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text("{")
    verbs = FakeVerbs(8.0)
    run(tmp_path, verbs)
    assert len(json.loads((tmp_path / "steps.json").read_text())) == 3


# ---------------------------------------------------------------------------------- what is missing


def image_folder(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    for number in range(count):
        picture = Image.fromarray(np.full((size, size, 3), number, np.uint8))
        picture.save(folder / f"{number}.png")
    return folder


def problems_of(tmp_path: Path, text: str, item: str, dataset: str) -> list[str]:
    file = tmp_path / "inputs.toml"
    file.write_text(text)
    recipe = load_recipes()[item]
    return InputChecks(read_inputs(str(file)), Permission()).find_problems(recipe, dataset)


def test_missing_inputs_are_named_and_others_go_on(tmp_path: Path) -> None:
    file = tmp_path / "inputs.toml"
    file.write_text(f'[ffhq]\nreal = "{image_folder(tmp_path / "real", 3, 256)}"\n')
    verbs, told = FakeVerbs(8.0), []
    outcomes, _ = reproduce(
        "all", to=str(tmp_path / "to"), run_verb=verbs, inputs_file=str(file), tell=told.append
    )
    assert all("names no generator of [ffhq]" in (o.problem or "") for o in outcomes
               if o.dataset == "ffhq" and "generator" in o.recipe.roles)  # fmt: skip
    assert [outcome.recipe.name for outcome in told] == list(load_recipes())
    assert verbs.verbs == []


def test_counts_and_sizes_are_checked(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "real", 3, 32)
    text = f'[ffhq]\nreal = "{folder}"\ngenerator = "digits"\n'
    problems = problems_of(tmp_path, text, "p2-table1", "ffhq")
    assert problems == [
        f"{folder} has 3 images, expected 70000",
        f"{folder} gives images of 32 x 32, expected 256",
        "digits gives images of 28 x 28, expected 256",
    ]


def test_latents_are_required(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "real", 2, 1024)
    text = f'[ffhq1024]\nreal = "mnist"\ngenerator = "{folder}"\n'
    problems = problems_of(tmp_path, text, "p1-fig4", "ffhq1024")
    assert "mnist has" in problems[0]
    assert "mnist gives images of 28 x 28" in problems[1]
    assert "no latent generator" in problems[2]
    assert len(problems_of(tmp_path, text, "p1-fig11", "ffhq1024")) == 2


def test_digests_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "net.npy"
    np.save(file, np.zeros((2, 256, 256, 3), np.uint8))
    text = f'[ffhq]\nreal = {{ source = "{file}", sha256 = "{"0" * 64}" }}\ngenerator = "digits"\n'
    assert (
        "has another SHA-256 than 000000000000..."
        in problems_of(tmp_path, text, "p2-table1", "ffhq")[0]
    )


def test_programs_need_permission(tmp_path: Path) -> None:
    text = '[ffhq]\nreal = "mnist"\ngenerator = "my_module:generate"\n'
    problems = problems_of(tmp_path, text, "p2-table1", "ffhq")
    assert "runs Python code" in problems[-1]
    assert "--run-code" in problems[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ffhq", "cannot read inputs"),
        ("[cats]\nreal = 'x'", "has 'cats'; expected tables ffhq"),
        ("ffhq = 3", "expected tables"),
        ("[ffhq]\nwrong = 'x'", r"\[ffhq\] wrong is 'x'; expected one of"),
        ("[ffhq]\nreal = 3", r"\[ffhq\] real is 3"),
        ("[ffhq]\nreal = { sha256 = 'x' }", "real is"),
    ],
)
def test_wrong_files_of_inputs(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "inputs.toml").write_text(text)
    with pytest.raises(RaymetricsError, match=message):
        read_inputs(str(tmp_path / "inputs.toml"))


def test_requests_without_inputs_or_with_another_data_set(tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="no inputs are named; give --inputs FILE"):
        reproduce("all", to=str(tmp_path), run_verb=FakeVerbs(8.0))
    with pytest.raises(RaymetricsError, match="no data set 'cifar' here; there are afhq_dog"):
        reproduce("p2-table1", to=str(tmp_path), run_verb=FakeVerbs(8.0), dataset="cifar")


def test_the_parts_of_the_demo_suffice_for_every_item() -> None:
    checks = InputChecks(mini_inputs(), Permission())
    for recipe in load_recipes().values():
        assert not checks.find_problems(recipe, MINI)


def test_an_input_is_opened_once_for_all_items(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_and_note(source: str, device: torch.device) -> Generator:
        opened.append(source)
        return open_source(source, device)

    monkeypatch.setattr("raymetrics.studies.papers.inputs.open_source", open_and_note)
    checks = InputChecks(mini_inputs(), Permission())
    for name in ("p2-table1", "p2-table2", "p2-fig10", "p2-table1"):
        assert not checks.find_problems(load_recipes()[name], MINI)
    assert opened == ["mnist", "digits"]


# ------------------------------------------------------------------------------------ comparability


def test_a_cell_is_compared_only_by_the_same_protocol(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append_results([result(5.0, 0.03), result(5.6, 0.03)], file)
    cell = Cell("FID", Query(str(file), {"metric": "frechet_distance"}), paper={"ffhq": 5.63},
                deviation={"ffhq": 0.04}, protocol="fid")  # fmt: skip
    protocols = {"fid": {"space.name": "inception", "convention.ddof": 1, "real.count": "{n}"}}
    same = compare_cell(cell, "ffhq", protocols, {"n": "1000"}, is_mini=False)
    assert same.ours.value == 5.6  # the last line counts
    assert same.differences == ()
    assert same.protocol_text == "yes"
    assert same.difference == pytest.approx(-0.6)
    other = compare_cell(cell, "ffhq", protocols, {"n": "50000"}, is_mini=False)
    assert other.difference is None
    assert other.protocol_text == "real.count is 1000, the paper has 50000"
    unpublished = {"fid": {"weights": "published"}}
    assert compare_cell(cell, "ffhq", unpublished, {}, is_mini=False).differences == (
        "weights is of another digest, the paper has published",
    )


def test_absent_results_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    append_results([result(5.0)], file)
    cell = Cell("KID", Query(str(file), {"metric": "kernel_distance"}))
    with pytest.raises(RaymetricsError, match="has no result with .*kernel_distance.*are FD"):
        compare_cell(cell, "ffhq", {}, {}, is_mini=False)


def test_a_claim_that_fails_on_the_miniature_says_why() -> None:
    claim = next(c for c in load_recipes()["p1-sec5.1"].claims)
    number = {"share of straying paths": study.Number(0.8)}
    failing = study.check_claim(claim, number, {}, MINI)
    assert failing.verdict == "fails"
    assert failing.why == claim.mini
    assert study.check_claim(claim, number, {}, "ffhq1024").why == ""
    skipped = load_recipes()["p2-fig16"].claims[0]
    assert study.check_claim(skipped, {}, {}, MINI).verdict == "not checked"
