"""Check the lines of results files against JSON schemas.

Users pass such files on and edit them. Every line is therefore checked as it is read, before a
number in it is taken for another one. The schemas cover all that is computed or shown from a line.

Format 2 has the members of `raymetrics.results.Result` and `format`. Format 1, which earlier
versions wrote, lacks `format`, `short_name`, `space_name`, `subset` and `setting`.
"""

from __future__ import annotations

import json
import math
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from raymetrics.errors import ResultsFileError

FORMAT = 2  # of the results that this version writes

_MAX_MESSAGE_LENGTH = 200  # letters

_TEXT = {"type": "string"}
_NUMBER = {"type": "number", "minimum": -1e300, "maximum": 1e300}
_AMOUNT = {"type": "number", "minimum": 0, "maximum": 1e300}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**12}
_COUNTS = {"type": "array", "items": _COUNT}
_IDS = _COUNTS
_MAPPING = {"type": "object"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object with these members and no other."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of such a value, or of null."""
    return {"anyOf": [schema, {"type": "null"}]}


def _at_least(members: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with these members, and perhaps others."""
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

_SUBSET_SCHEMA: dict[str, Any] = {
    **_record(
        {},
        {
            "label": _COUNT,
            "name": _TEXT,
            "labels": _COUNT,
            "scheme": _TEXT,
            "n": _COUNT,
            "seeds": _COUNT,
            "candidates": _COUNT,
            "matched_by": _TEXT,
            "match": _TEXT,
            "classes": {**_COUNT, "minimum": 1},
        },
    ),
    "dependentRequired": {
        "label": ["name"],
        "scheme": ["n", "seeds", "candidates"],
        "classes": ["match"],
    },
}

_SETTING_SCHEMA: dict[str, Any] = {
    **_record(
        {},
        {
            "base": _TEXT,
            "truncate": _TEXT,
            "amount": _NUMBER,
            "mean": _TEXT,
            "cutoff": _TEXT,
            "run": _TEXT,
            "snapshot": {"type": "integer", "minimum": 0, "maximum": 10**15},
            "where": _TEXT,
            "scale": _AMOUNT,
        },
    ),
    "dependentRequired": {"truncate": ["amount"], "run": ["snapshot"], "where": ["scale"]},
}

_INTERVAL_SCHEMA = _record(
    {
        "low": _NUMBER,
        "high": _NUMBER,
        "level": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "standard_error": _AMOUNT,
        "method": {"enum": ["influences", "groups"]},
        "groups": _or_null(_COUNT),
        "varies": {"type": "array", "items": {"enum": ["real", "generated"]}, "minItems": 1},
    }
)

_OLD_MEMBERS: dict[str, Any] = {
    "metric": _TEXT,
    "label": _TEXT,
    "value": _NUMBER,
    "spread": _or_null(_AMOUNT),
    "better": {"enum": ["lower", "higher"]},
    "space": _at_least({"name": _TEXT, "output": _TEXT}),
    "convention": _MAPPING,
    "real": _SIDE_SCHEMA,
    "generated": _SIDE_SCHEMA,
    "provenance": _MAPPING,
    "seconds": _AMOUNT,
}

_NEW_MEMBERS: dict[str, Any] = {
    "format": {"const": FORMAT},
    "short_name": _TEXT,
    "space_name": _TEXT,
    "subset": _SUBSET_SCHEMA,
    "setting": _SETTING_SCHEMA,
}

_OPTIONAL_MEMBERS: dict[str, Any] = {
    "details": {
        "type": "object",
        "properties": {"variation": _record({"axis": _TEXT, "setting": _TEXT, "measure": _TEXT})},
    },
    "row": _TEXTS,
    "warnings": {"type": "array", "items": _TEXT},
}

# The reports show the details of these results.
_TOP1_DETAILS = {
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
}
_TRACE_POINT = _record(
    {"evaluations": {**_COUNT, "minimum": 1}, "mean": _NUMBER, "spread": _AMOUNT}
)
_SHOWN_IDS = {
    "properties": {
        "shown": _IDS,
        "smallest": _IDS,
        "largest": _IDS,
        "trace": {"type": "array", "items": _TRACE_POINT},
    }
}

_RESULT_SCHEMA = {
    **_record(_NEW_MEMBERS | _OLD_MEMBERS, {**_OPTIONAL_MEMBERS, "interval": _INTERVAL_SCHEMA}),
    "allOf": [
        _TOP1_DETAILS,
        {
            "if": {"properties": {"subset": {"required": ["scheme"]}}},
            "then": {"properties": {"details": _SHOWN_IDS}},
        },
    ],
}

_OLD_CONVENTION = {"type": "object", "properties": {"label": _COUNT, "drawn": _TEXT}}

_RESULT_SCHEMA_1 = {
    **_record({**_OLD_MEMBERS, "convention": _OLD_CONVENTION}, _OPTIONAL_MEMBERS),
    "allOf": [
        _TOP1_DETAILS,
        {
            "if": {"properties": {"convention": {"required": ["drawn"]}}},
            "then": {
                "properties": {
                    "convention": _at_least({"n": _COUNT, "seeds": _COUNT, "candidates": _COUNT}),
                    "details": _SHOWN_IDS,
                }
            },
        },
    ],
}

_FAILURE_SCHEMA = _record(
    {"name": _TEXT, "source": _TEXT, "row": _TEXTS, "error": _TEXT, "message": _TEXT}
)

_RESULT, _FAILURE = "result", "failure"
_VALIDATORS = {
    (_RESULT, FORMAT): Draft202012Validator(_RESULT_SCHEMA),
    (_RESULT, 1): Draft202012Validator(_RESULT_SCHEMA_1),
    (_FAILURE, 1): Draft202012Validator(_FAILURE_SCHEMA),
}


def parse_line(line: str, kind: str) -> dict[str, Any]:
    """Return the members of a line that holds a "result" or a "failure".

    Raise ResultsFileError, with the place in the line, for any other line. A line without `format`
    is of format 1; the members of a result are those of its own format.
    """
    try:
        value = json.loads(line, parse_float=_parse_finite, parse_constant=_parse_finite)
    except RecursionError:
        raise ResultsFileError("it is nested too deeply") from None
    except ValueError as error:
        raise ResultsFileError(str(error)) from None
    has_format = kind == _RESULT and isinstance(value, dict) and "format" in value
    validator = _VALIDATORS[kind, FORMAT if has_format else 1]
    mismatch = best_match(validator.iter_errors(value))
    if mismatch is not None:
        location = mismatch.json_path.removeprefix("$.")
        raise ResultsFileError(f"{location}: {mismatch.message[:_MAX_MESSAGE_LENGTH]}")
    return dict(value)


def _parse_finite(text: str) -> float:
    """Return the number. Raise ValueError for a number that JSON or a float cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
