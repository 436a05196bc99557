"""What a line of a results file holds, as a JSON schema: all that is computed or shown from it.

Such files are passed on and edited. So their lines are checked as they are read, before a number
of one of them is taken for something else.
"""

from __future__ import annotations

import json
import math
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from raymetrics.errors import ResultError

LONGEST = 200  # letters of what is wrong

TEXT = {"type": "string"}
NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}
AMOUNT = {"type": "number", "minimum": 0, "maximum": 1e300}
COUNT = {"type": "integer", "minimum": 0, "maximum": 10**12}
COUNTS = {"type": "array", "items": COUNT}
IDS = COUNTS
MAPPING = {"type": "object"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def _record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe an object of these members and no other."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _at_least(members: dict[str, Any]) -> dict[str, Any]:
    """Describe an object of these members, and perhaps others."""
    return {"type": "object", "properties": members, "required": list(members)}


SIDE = _record(
    {
        "uri": TEXT,
        "source": TEXT,
        "samples": {"type": "array", "items": TEXT},
        "count": _or_null(COUNT),
        "fingerprint": TEXT,
        "digest": TEXT,
        "made_by": MAPPING,
    },
    {
        "selection": {"anyOf": [{"const": {}}, _at_least({"file": TEXT, "digest": TEXT})]},
        "image_size": _or_null({**COUNTS, "minItems": 2, "maxItems": 2}),
    },
)

RESULT = _record(
    {
        "metric": TEXT,
        "label": TEXT,
        "value": NUMBER,
        "spread": _or_null(AMOUNT),
        "better": {"enum": ["lower", "higher"]},
        "space": _at_least({"name": TEXT, "output": TEXT}),
        "convention": {"type": "object", "properties": {"label": COUNT, "drawn": TEXT}},
        "real": SIDE,
        "generated": SIDE,
        "provenance": MAPPING,
        "seconds": AMOUNT,
    },
    {
        "details": MAPPING,
        "row": TEXTS,
    },
)

# Of some results more is shown than the number.
RESULT["allOf"] = [
    {
        "if": {"properties": {"metric": {"const": "top1_distance"}}},
        "then": {
            "required": ["details"],
            "properties": {
                "details": _at_least(
                    {
                        "real": {**COUNTS, "contains": {"minimum": 1}},
                        "generated": {**COUNTS, "contains": {"minimum": 1}},
                        "class_names": {"type": "array", "items": TEXT},
                    }
                )
            },
        },
    },
    {
        "if": {"properties": {"convention": {"required": ["drawn"]}}},
        "then": {
            "properties": {
                "convention": _at_least({"n": COUNT, "seeds": COUNT, "candidates": COUNT}),
                "details": {"properties": {"shown": IDS, "smallest": IDS, "largest": IDS}},
            }
        },
    },
]

FAILURE = _record({"name": TEXT, "source": TEXT, "row": TEXTS, "error": TEXT, "message": TEXT})

_VALIDATORS = {
    name: Draft202012Validator(s) for name, s in (("result", RESULT), ("failure", FAILURE))
}


def parse_line(line: str, kind: str) -> dict[str, Any]:
    """Read the line of a "result" or a "failure". ResultError, with the place in the line, for
    anything else."""
    try:
        value = json.loads(line, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ResultError("it is nested too deeply") from None
    except ValueError as error:
        raise ResultError(str(error)) from None
    wrong = best_match(_VALIDATORS[kind].iter_errors(value))
    if wrong is not None:
        where = wrong.json_path.removeprefix("$.")
        raise ResultError(f"{where}: {wrong.message[:LONGEST]}")
    return dict(value)


def _finite(text: str) -> float:
    """ValueError for what JSON cannot say, or a float cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
