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

from raymetrics.errors import ResultsFileError

_MAX_MESSAGE_LENGTH = 200  # letters of what is wrong

_TEXT = {"type": "string"}
_NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}
_AMOUNT = {"type": "number", "minimum": 0, "maximum": 1e300}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**12}
_COUNTS = {"type": "array", "items": _COUNT}
_IDS = _COUNTS
_MAPPING = {"type": "object"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


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


_SIDE_SCHEMA = _record(
    {
        "uri": _TEXT,
        "source": _TEXT,
        "samples": {"type": "array", "items": _TEXT},
        "count": _or_null(_COUNT),
        "fingerprint": _TEXT,
        "digest": _TEXT,
        "made_by": _MAPPING,
    },
    {
        "selection": {"anyOf": [{"const": {}}, _at_least({"file": _TEXT, "digest": _TEXT})]},
        "image_size": _or_null({**_COUNTS, "minItems": 2, "maxItems": 2}),
    },
)

_RESULT_SCHEMA = _record(
    {
        "metric": _TEXT,
        "label": _TEXT,
        "value": _NUMBER,
        "spread": _or_null(_AMOUNT),
        "better": {"enum": ["lower", "higher"]},
        "space": _at_least({"name": _TEXT, "output": _TEXT}),
        "convention": {"type": "object", "properties": {"label": _COUNT, "drawn": _TEXT}},
        "real": _SIDE_SCHEMA,
        "generated": _SIDE_SCHEMA,
        "provenance": _MAPPING,
        "seconds": _AMOUNT,
    },
    {
        "details": _MAPPING,
        "row": _TEXTS,
    },
)

# Of some results more is shown than the number.
_RESULT_SCHEMA["allOf"] = [
    {
        "if": {"properties": {"metric": {"const": "top1_distance"}}},
        "then": {
            "required": ["details"],
            "properties": {
                "details": _at_least(
                    {
                        "real": {**_COUNTS, "contains": {"minimum": 1}},
                        "generated": {**_COUNTS, "contains": {"minimum": 1}},
                        "class_names": {"type": "array", "items": _TEXT},
                    }
                )
            },
        },
    },
    {
        "if": {"properties": {"convention": {"required": ["drawn"]}}},
        "then": {
            "properties": {
                "convention": _at_least({"n": _COUNT, "seeds": _COUNT, "candidates": _COUNT}),
                "details": {"properties": {"shown": _IDS, "smallest": _IDS, "largest": _IDS}},
            }
        },
    },
]

_FAILURE_SCHEMA = _record(
    {"name": _TEXT, "source": _TEXT, "row": _TEXTS, "error": _TEXT, "message": _TEXT}
)

_VALIDATORS = {
    name: Draft202012Validator(s)
    for name, s in (("result", _RESULT_SCHEMA), ("failure", _FAILURE_SCHEMA))
}


def parse_line(line: str, kind: str) -> dict[str, Any]:
    """Read the line of a "result" or a "failure". ResultError, with the place in the line, for
    anything else."""
    try:
        value = json.loads(line, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ResultsFileError("it is nested too deeply") from None
    except ValueError as error:
        raise ResultsFileError(str(error)) from None
    mismatch = best_match(_VALIDATORS[kind].iter_errors(value))
    if mismatch is not None:
        location = mismatch.json_path.removeprefix("$.")
        raise ResultsFileError(f"{location}: {mismatch.message[:_MAX_MESSAGE_LENGTH]}")
    return dict(value)


def _finite(text: str) -> float:
    """ValueError for what JSON cannot say, or a float cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
