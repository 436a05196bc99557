"""The recipes are whole: every name is defined, and every step is a command that parses."""

from __future__ import annotations

import pytest

from raymetrics.cli import main
from raymetrics.errors import RaymetricsError
from raymetrics.studies.papers.claims import CHECKS
from raymetrics.studies.papers.inputs import load_facts, mini_inputs, read_inputs, template_text
from raymetrics.studies.papers.recipes import (
    MINI,
    Recipe,
    command_words,
    fill_text,
    find_recipes,
    load_recipes,
)
from raymetrics.studies.papers.reproduce import LOOK, item_names

RECIPES = load_recipes()
CASES = [(name, data) for name, r in RECIPES.items() for data in (*r.datasets, MINI)]


def names_of(recipe: Recipe, dataset: str) -> dict[str, str]:
    known = mini_inputs()
    if dataset != MINI:
        roles = {role: f"/data/{dataset} {role}" for role in recipe.roles}
        known = type(known)({dataset: {r: mini_inputs().of(MINI)["real"] for r in roles}}, "file")
    return item_names(recipe, dataset, known, "/tmp/to")


def test_every_item_of_both_papers_is_there() -> None:
    p1 = "fig3 fig4 fig5 fig6 fig7 fig8 fig9 fig10 fig11 fig12 sec5.1 appA"
    p2 = (
        "table1 table2 table3 fig3 fig4 fig6 fig8a fig8b fig9 fig10 fig11 fig12 fig13 fig14 fig15 "
        "fig16 program"
    )
    wanted = {f"p1-{name}" for name in p1.split()} | {f"p2-{name}" for name in p2.split()}
    assert set(RECIPES) == wanted


@pytest.mark.parametrize(("name", "dataset"), CASES)
def test_steps_are_commands(name: str, dataset: str) -> None:
    recipe = RECIPES[name]
    names = names_of(recipe, dataset)
    for step in recipe.steps:
        verb, *words = command_words(step, names, ("shared", "item", *recipe.roles))
        context = main.commands[verb].make_context(verb, list(words))
        assert context.params["to"]
        assert not context.args


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_claims_and_figures_name_what_is_there(recipe: Recipe) -> None:
    numbers = {cell.name for cell in recipe.cells}
    curves = {series.name for series in recipe.series}
    assert len(numbers) == len(recipe.cells)
    for claim in recipe.claims:
        assert claim.check in {LOOK, *CHECKS}
        assert set(claim.of) <= (curves if claim.check.startswith(("curve", "argmin")) else numbers)
        assert set(claim.options) <= set(CHECKS[claim.check].__annotations__) if claim.of else True
    for figure in recipe.figures:
        used = [*figure.get("lines", []), *figure.get("dashed", [])]
        if figure["kind"] in ("tradeoff", "scatter"):
            for axis in (figure["x"], figure["y"]):
                used += [axis] if isinstance(axis, str) else axis
        assert set(used) <= curves
        if figure["kind"] == "points":
            assert {*figure["x"], *figure["y"]} <= numbers
    assert recipe.claims


@pytest.mark.parametrize(("name", "dataset"), CASES)
def test_queries_are_filled(name: str, dataset: str) -> None:
    recipe = RECIPES[name]
    names = names_of(recipe, dataset)
    for query in [entry.query for entry in (*recipe.cells, *recipe.series)]:
        assert "{" not in fill_text(query.file, names)
        assert all("{" not in fill_text(str(value), names) for value in query.where.values())
    for cell in recipe.cells:
        assert cell.protocol is None or cell.protocol in recipe.protocols
        assert set(cell.paper) <= set(load_facts()) - {MINI}
        assert set(cell.deviation) <= set(cell.paper)
    for protocol in recipe.protocols.values():
        assert all("{" not in fill_text(str(value), names) for value in protocol.values())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_inputs_are_described(recipe: Recipe) -> None:
    for dataset in (*recipe.datasets, MINI):
        assert set(recipe.roles) <= set(load_facts()[dataset])
    assert set(recipe.latents) <= set(recipe.roles)


def test_changes_of_the_tables_are_those_that_the_paper_prints() -> None:
    printed = {
        ("p2-table1", "FID", "FID Top-1"): [-12.8, -11.7, -10.1, -9.9, -11.2],
        ("p2-table1", "FID CLIP", "FID CLIP Top-1"): [-1.4, -1.3, -0.4, -1.2, -1.7],
        ("p2-table2", "FID", "FID PL"): [-67.7, -63.5, -63.3, -72.5, -44.0],
        ("p2-table2", "FID", "FID L"): [-59.0, -53.5, -55.0, -66.1, -40.7],
        ("p2-table2", "FID CLIP", "FID CLIP PL"): [-4.1, -10.8, -5.5, -11.1, -4.5],
        ("p2-table3", "KID x 1000", "KID PL x 1000"): [-88.0, -87.6, -87.1, -95.8, -94.2],
    }
    for (name, before, after), changes in printed.items():
        cells = {cell.name: cell.paper for cell in RECIPES[name].cells}
        for dataset, change in zip(RECIPES[name].datasets, changes, strict=True):
            ratio = 100 * (cells[after][dataset] / cells[before][dataset] - 1)
            assert ratio == pytest.approx(change, abs=0.06), (name, after, dataset)


def test_the_template_is_a_file_of_inputs(tmp_path) -> None:
    file = tmp_path / "inputs.toml"
    file.write_text(template_text())
    assert not any(read_inputs(str(file)).by_dataset.values())
    lines = [line.removeprefix("# ") if ' = "PATH"' in line else line
             for line in template_text().split("\n")]  # fmt: skip
    file.write_text("\n".join(lines))
    inputs = read_inputs(str(file))
    assert set(inputs.by_dataset) == set(load_facts()) - {MINI}
    assert inputs.of("ffhq")["real"].source == "PATH"


def test_unknown_items_are_named() -> None:
    with pytest.raises(RaymetricsError, match=r"no item 'p3'; there are all, p1-fig3"):
        find_recipes("p3")
    assert find_recipes("all") == list(RECIPES.values())
    with pytest.raises(RaymetricsError, match="names 'nobody', expected one of"):
        fill_text("evaluate {nobody}", {"real": "x"})
