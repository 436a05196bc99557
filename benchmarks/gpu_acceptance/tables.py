"""The results of an acceptance run as JSON and as a table of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpu_acceptance.phase import Check, Figure, LeftOut, PhaseResult

_NAME_WIDTH = 54


def to_json(about: Mapping[str, Any], results: Sequence[PhaseResult]) -> str:
    """Return what the run is about, and the results of its phases, as a JSON object."""
    return json.dumps({**about, "phases": [asdict(result) for result in results]}, indent=1)


def format_table(results: Sequence[PhaseResult]) -> str:
    """Return a table of all checks and figures, and a last line that counts them."""
    lines = [line for result in results for line in _phase_lines(result)]
    return "\n".join([*lines, _summary(results)])


def _phase_lines(result: PhaseResult) -> list[str]:
    """Return the lines of a phase."""
    took = f"{result.seconds:.1f} s of {result.limit:.0f}" if result.seconds else ""
    return [
        f"{result.name:{_NAME_WIDTH}}  {result.status:8}{took}".rstrip(),
        *(_check_line(check) for check in result.checks),
        *(_figure_line(figure) for figure in result.figures),
        *(_left_out_line(left_out) for left_out in result.left_out),
    ]


def _line(name: str, text: str) -> str:
    return f"  {name:{_NAME_WIDTH - 2}}  {text}".rstrip()


def _check_line(check: Check) -> str:
    return _line(check.name, f"{'ok' if check.passed else 'FAILED':8}{check.detail}")


def _figure_line(figure: Figure) -> str:
    share = "" if figure.share is None else f"{figure.share:.0%} of {figure.ceiling}"
    target = ""
    if figure.target:
        target = f"target {figure.target}: {'met' if figure.met else 'missed'}"
    return _line(figure.name, f"{figure.value:10.4g} {figure.unit:12}{share:18}{target}")


def _left_out_line(left_out: LeftOut) -> str:
    return _line(left_out.name, f"{'-':8}{left_out.reason}")


def _summary(results: Sequence[PhaseResult]) -> str:
    """Return how many checks passed and failed, targets were missed, and phases have not ended."""
    checks = [check for result in results for check in result.checks]
    failed = sum(not check.passed for check in checks)
    missed = sum(figure.met is False for result in results for figure in result.figures)
    unfinished = [f"{r.name} ({r.status})" for r in results if r.status in ("stopped", "not run")]
    text = f"{len(checks) - failed} checks passed, {failed} failed; {missed} targets missed"
    return f"{text}; no time for {', '.join(unfinished)}" if unfinished else text
