"""Read lines of results in format 1, which named subset and setting in texts alone.

Format 1 has neither `format`, `short_name`, `space_name`, `subset` nor `setting`. They are derived
here from the label, the convention and the source, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from raymetrics.generators.source_settings import parse_setting
from raymetrics.uris import redact_secret

_LABEL_SUFFIX = re.compile(r", label (\d+)(?: \((.*)\))?$")
_CLASS_COUNT = re.compile(r"(top_n|middle_n):([1-9]\d{0,11})")


def upgrade_result(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a result in format 2, from those of format 1."""
    subset = _subset(value["convention"], value["label"])
    suffix = f", {subset['scheme']}" if "scheme" in subset else ""
    name = _LABEL_SUFFIX.sub("", value["label"].removesuffix(suffix))
    short_name, space_name = _split_name(name, value["space"])
    return {
        **value,
        "short_name": short_name,
        "space_name": space_name,
        "subset": subset,
        "setting": parse_setting(redact_secret(value["generated"]["source"])),
    }


def _split_name(name: str, space: Mapping[str, Any]) -> tuple[str, str]:
    """Return "PRD F_8" and "digits" of "PRD F_8 digits": what a metric and its space are called."""
    for space_name in (space["name"], f"{space['name']} {space['output']}"):
        if name.endswith(f" {space_name}"):
            return name.removesuffix(f" {space_name}"), space_name
    short_name, _, space_name = name.partition(" ")  # "FID (pil-bicubic)"
    return short_name, space_name


def _subset(convention: Mapping[str, Any], label_text: str) -> dict[str, Any]:
    """Return the subset of the generated samples that a result is about; empty for all samples."""
    if "drawn" in convention:
        counts = {name: convention[name] for name in ("n", "seeds", "candidates")}
        names = [n for n in ("matched_by", "match") if convention.get(n) is not None]
        texts = {name: str(convention[name]) for name in names}
        return {"scheme": convention["drawn"], **counts, **_split_match(texts)}
    if "label" not in convention:
        return {}
    label = convention["label"]
    match = _LABEL_SUFFIX.search(label_text)
    return {"label": label, "name": (match[2] or match[1]) if match else str(label)}


def _split_match(texts: dict[str, str]) -> dict[str, Any]:
    """Return the texts with "top_n:5" as the kind of match and the number of classes."""
    counted = _CLASS_COUNT.fullmatch(texts.get("match", ""))
    return {**texts, "match": counted[1], "classes": int(counted[2])} if counted else texts
