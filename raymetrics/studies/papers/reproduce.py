"""Run the recipes of tables and figures, and check what the papers claim of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from raymetrics.errors import RaymetricsError, TemporaryFailure
from raymetrics.files import write_atomically
from raymetrics.permissions import Permission
from raymetrics.studies.papers import inputs
from raymetrics.studies.papers.cells import ComparedCell, compare_cell, read_curve
from raymetrics.studies.papers.claims import CHECKS, Curve, Finding, Number
from raymetrics.studies.papers.recipes import (
    MINI,
    Claim,
    Recipe,
    command_words,
    fill_text,
    find_recipes,
)

LOOK = "look"  # the check of a claim that a person makes on the picture
_OTHER_PARTS = "The demo's parts are not the paper's; no further reason is known."
_STEPS_FILE = "steps.json"
_QUOTED = ("shared", "item")


@dataclass(frozen=True)
class CheckedClaim:
    """A claim with what was found. finding: None if nothing was checked; `why` says why."""

    claim: Claim
    finding: Finding | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """ "holds", "fails", "look" for what a person must see, or "not checked"."""
        if self.finding is None:
            return "look" if self.claim.check == LOOK else "not checked"
        return "holds" if self.finding.holds else "fails"


@dataclass(frozen=True)
class ItemOutcome:
    """What came of an item. problem: why it did not run; None if it did."""

    recipe: Recipe
    dataset: str
    names: Mapping[str, str]
    problem: str | None = None
    cells: Sequence[ComparedCell] = ()
    curves: Mapping[str, Curve] | None = None
    claims: Sequence[CheckedClaim] = ()

    @property
    def failed(self) -> bool:
        """Whether the item did not run, or one of its claims fails."""
        return self.problem is not None or any(c.verdict == "fails" for c in self.claims)


def choose_dataset(recipe: Recipe, dataset: str | None, *, is_mini: bool) -> str:
    """Return the data set of an item: the wanted one if the item has it, else its first.

    The recipes of a paper have data sets of their own, so `all` with a data set of one paper takes
    the default of the other.
    """
    if is_mini:
        return MINI
    return dataset if dataset in recipe.datasets else recipe.datasets[0]


def require_dataset(recipes: Sequence[Recipe], dataset: str | None) -> None:
    """Raise RaymetricsError if no item has the data set."""
    known = sorted({name for recipe in recipes for name in recipe.datasets})
    if dataset is not None and dataset not in known:
        raise RaymetricsError(f"no data set {dataset!r} here; there are {', '.join(known)}")


def reproduce(
    item: str,
    *,
    to: str,
    run_verb: Callable[[Sequence[str]], None],
    inputs_file: str | None = None,
    dataset: str | None = None,
    mini: bool = False,
    permission: Permission = Permission(),  # noqa: B008  # frozen
    tell: Callable[[ItemOutcome], None] = lambda outcome: None,
) -> tuple[list[ItemOutcome], list[ItemOutcome]]:
    """Run an item, or "all"; return what came of each, and of the items that an earlier run made.

    to: a local folder. run_verb: runs a command of raymetrics, given as words, and raises
    RaymetricsError if it fails. inputs_file: names the sources. mini: the demo's parts stand for
    them. tell: called with every outcome, first with those of items that cannot run.

    What cannot run is found before anything runs, and other items go on. Steps that were done are
    not done again. RaymetricsError for an unknown item, data set or file of inputs;
    TemporaryFailure if the same command should be given again.
    """
    recipes = find_recipes(item)
    require_dataset(recipes, dataset)
    if inputs_file is None and not mini:
        raise RaymetricsError(
            "no inputs are named; give --inputs FILE (raymetrics reproduce --inputs-template makes "
            "one), or --mini for the parts of the demo"
        )
    known_inputs = inputs.mini_inputs() if inputs_file is None else inputs.read_inputs(inputs_file)
    if mini:
        known_inputs = inputs.mini_inputs()
    checks = inputs.InputChecks(known_inputs, permission)
    outcomes: dict[str, ItemOutcome] = {}
    for recipe in recipes:
        name = choose_dataset(recipe, dataset, is_mini=mini)
        problems = checks.find_problems(recipe, name)
        if problems:
            outcomes[recipe.name] = ItemOutcome(recipe, name, {}, "; ".join(problems))
            tell(outcomes[recipe.name])
    log = StepLog(Path(to) / _STEPS_FILE, run_verb)
    for recipe in recipes:
        if recipe.name not in outcomes:
            name = choose_dataset(recipe, dataset, is_mini=mini)
            outcomes[recipe.name] = _run_item(recipe, name, known_inputs, to, log)
            tell(outcomes[recipe.name])
    others = [recipe for recipe in find_recipes("all") if recipe.name not in outcomes]
    earlier = [_earlier_outcome(recipe, dataset, known_inputs, to, log, mini) for recipe in others]
    return list(outcomes.values()), [outcome for outcome in earlier if outcome is not None]


class StepLog:
    """Runs commands once: those that an earlier run has finished are left out."""

    def __init__(self, file: Path, run_verb: Callable[[Sequence[str]], None]) -> None:
        self.file = file
        self.run_verb = run_verb
        self.finished: list[str] = _read_steps(file)

    def holds(self, words: Sequence[str]) -> bool:
        """Tell whether this version has finished a command."""
        return _step_line(words) in self.finished

    def run(self, words: Sequence[str]) -> None:
        """Run a command unless it was finished by this version, and note that it is."""
        if self.holds(words):
            return
        self.run_verb(words)
        self.finished.append(_step_line(words))
        write_atomically(self.file, json.dumps(self.finished, indent=1).encode())


def _step_line(words: Sequence[str]) -> str:
    return f"{version('raymetrics')}: {shlex.join(words)}"


def _read_steps(file: Path) -> list[str]:
    """Return the commands that were finished; none if the file is absent or no list."""
    try:
        lines = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return lines if isinstance(lines, list) else []


def item_names(recipe: Recipe, dataset: str, known: inputs.Inputs, to: str) -> dict[str, str]:
    """Return what the names in a recipe's texts stand for: inputs, folders, settings."""
    paper = recipe.name.partition("-")[0]
    names = {role: entry.source for role, entry in known.roles_of(dataset).items()}
    names |= {"shared": f"{to}/{dataset}/{paper}", "item": f"{to}/{dataset}/{recipe.name}"}
    settings = recipe.settings_of(dataset)
    words = {key: shlex.quote(value) for key, value in names.items()}  # settings are parts of steps
    filled = {}
    for key, value in settings.items():
        with suppress(RaymetricsError):  # it names an input that this item does not take
            filled[key] = fill_text(value, {**settings, **words})
    return {**filled, **names}


def _run_item(
    recipe: Recipe, dataset: str, known: inputs.Inputs, to: str, log: StepLog
) -> ItemOutcome:
    """Run the steps of an item, and compare its numbers. An error of a step is its problem."""
    names = item_names(recipe, dataset, known, to)
    try:
        for words in _commands(recipe, dataset, known, names):
            log.run(words)
        return compare_item(recipe, dataset, names)
    except TemporaryFailure:
        raise
    except RaymetricsError as error:
        return ItemOutcome(recipe, dataset, names, str(error))


def _commands(
    recipe: Recipe, dataset: str, known: inputs.Inputs, names: Mapping[str, str]
) -> list[list[str]]:
    """Return the steps of an item as words."""
    quoted = (*_QUOTED, *known.roles_of(dataset))
    return [command_words(step, names, quoted) for step in recipe.steps]


def _earlier_outcome(
    recipe: Recipe,
    dataset: str | None,
    known: inputs.Inputs,
    to: str,
    log: StepLog,
    is_mini: bool,
) -> ItemOutcome | None:
    """Return what came of an item in an earlier run; None if it has not run whole."""
    name = choose_dataset(recipe, dataset, is_mini=is_mini)
    if not known.roles_of(name).keys() >= set(recipe.roles):
        return None
    names = item_names(recipe, name, known, to)
    if not all(log.holds(words) for words in _commands(recipe, name, known, names)):
        return None
    try:
        return compare_item(recipe, name, names)
    except RaymetricsError as error:  # a file of results was removed
        return ItemOutcome(recipe, name, names, str(error))


def compare_item(recipe: Recipe, dataset: str, names: Mapping[str, str]) -> ItemOutcome:
    """Read the numbers of an item whose steps are done. RaymetricsError if one is not there."""
    is_mini = dataset == MINI
    paper = recipe.datasets[0] if is_mini else dataset  # whose numbers stand beside ours
    cells = [
        compare_cell(cell, paper, recipe.protocols, names, is_mini=is_mini) for cell in recipe.cells
    ]
    curves = {series.name: read_curve(series, names) for series in recipe.series}
    pairs = zip(recipe.cells, cells, strict=True)
    numbers = {cell.name: compared.ours for cell, compared in pairs}
    checked = [check_claim(claim, numbers, curves, dataset) for claim in recipe.claims]
    return ItemOutcome(recipe, dataset, names, None, cells, curves, checked)


def check_claim(
    claim: Claim, numbers: Mapping[str, Number], curves: Mapping[str, Curve], dataset: str
) -> CheckedClaim:
    """Check a claim of the paper on the numbers that it names."""
    if claim.check == LOOK:
        return CheckedClaim(claim, None, "A person must look at the picture.")
    if claim.skip_mini and dataset == MINI:
        return CheckedClaim(claim, None, claim.mini)
    values = [numbers[name] if name in numbers else curves[name] for name in claim.values]
    finding = CHECKS[claim.check](values, **claim.options)
    if dataset == MINI and not finding.holds:
        return CheckedClaim(claim, finding, claim.mini or _OTHER_PARTS)
    return CheckedClaim(claim, finding)
