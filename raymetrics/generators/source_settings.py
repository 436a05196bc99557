"""Read the settings of a sweep out of a source text: truncation, snapshot, noise.

This is the only place that parses a source for what a result says about the generated set. A result
keeps the settings in its field `setting`, and reports read that field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER

PSI = "psi"  # NVIDIA's option: strategy D with one mean for all classes
_MAX_AMOUNT = 1e300
_MAX_DIGITS = 15  # of the number of a snapshot
_LAST_NUMBER = re.compile(r"(?<![\d.])(\d+)(\D*)$")  # in the name of a file


def parse_setting(source: str) -> dict[str, object]:
    """Return the settings that the options and the file name of a source state.

    truncate, amount: the full name of the strategy ("clamp" for C as well), or "psi", and the
        number behind it; 1 is the generator as it is, but for `strategies.BIGGAN_STRATEGIES`, and 0
        the same image for all samples.
    mean, cutoff: texts, where an option beside `truncate` or `psi` gives them.
    run, snapshot: the source with * in place of the number of a snapshot, and the number.
    where, scale: the region of noise and its standard deviation.
    base: the source without truncation, with its options sorted; present where the source itself
        is another text.

    A source that cannot be parsed has no settings.
    """
    try:
        name, options = option_strings.parse_options(source)
        setting, other_options = _split_truncation(options)
    except (RaymetricsError, ValueError):
        return {}
    base = _sorted_source(name, other_options)
    setting |= {"base": base} if base != source else {}
    return setting | _parse_snapshot(name, options) | _parse_noise(options)


def _sorted_source(name: str, options: Mapping[str, str]) -> str:
    """Return one text for sources that differ in the order of their options alone."""
    return option_strings.format_options(name, dict(sorted(options.items())))


def _split_truncation(options: Mapping[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """Return the settings of a truncation, and the other options. Raise ValueError if the amount
    is not a finite number.
    """
    other_options = dict(options)
    detail_options: tuple[str, ...]
    if "truncate" in other_options:
        name, _, text = other_options.pop("truncate").rpartition(":")
        strategy, detail_options = STRATEGY_BY_LETTER.get(name, name), ("mean", "cutoff")
    elif PSI in other_options:
        strategy, text, detail_options = PSI, other_options.pop(PSI), ("cutoff",)
    else:
        return {}, other_options
    setting: dict[str, object] = {"truncate": strategy, "amount": _parse_finite(text)}
    details = {name: other_options.pop(name) for name in detail_options if name in other_options}
    return setting | details, other_options


def _parse_finite(text: str) -> float:
    """Return the number. Raise ValueError if it is not finite."""
    number = float(text)
    if not math.isfinite(number) or abs(number) > _MAX_AMOUNT:
        raise ValueError(text)
    return number


def _parse_snapshot(name: str, options: Mapping[str, str]) -> dict[str, object]:
    """Return the training run and the number of a snapshot: the option `snapshot`, else the last
    number in the name of the file.
    """
    other_options = dict(options)
    number = other_options.pop("snapshot", "")
    if number.isdecimal():
        return _snapshot(_sorted_source(name, other_options), number)
    folder, slash, file = name.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    if not (stem and ending[:1].isalpha()):
        stem, dot, ending = file, "", ""
    match = _LAST_NUMBER.search(stem)
    if match is None:
        return {}
    file = f"{stem[: match.start()]}*{match[2]}{dot}{ending}"
    return _snapshot(_sorted_source(f"{folder}{slash}{file}", options), match[1])


def _snapshot(run: str, number: str) -> dict[str, object]:
    return {"run": run, "snapshot": int(number)} if len(number) <= _MAX_DIGITS else {}


def _parse_noise(options: Mapping[str, str]) -> dict[str, object]:
    """Return the region and the scale of noise, as `heatmaps.noisy_source` takes them."""
    try:
        scale = _parse_finite(options.get("scale", ""))
    except ValueError:
        return {}
    return {"where": options["where"], "scale": scale} if "where" in options and scale >= 0 else {}


def distinguishing_names(sources: Sequence[str]) -> list[str]:
    """Return a short name for each source: the source without the folders, the name and the
    options that all sources share.
    """
    try:
        parts = [option_strings.parse_options(source) for source in sources]
    except RaymetricsError:
        return list(sources)
    names = _distinguishing_parts([name for name, _ in parts])
    shared = set.intersection(*(set(options.items()) for _, options in parts))
    texts = []
    for name, (_, options), source in zip(names, parts, sources, strict=True):
        own_options = {k: v for k, v in options.items() if (k, v) not in shared}
        texts.append(option_strings.format_options(name, own_options).removeprefix("?") or source)
    return texts


def _distinguishing_parts(names: Sequence[str]) -> list[str]:
    """Return the names without the first folders and the last parts of the path that all share;
    empty texts if all names are equal.
    """
    if len(set(names)) == 1:
        return [""] * len(names)
    start, end = _shared_folder(names), _shared_folder([name[::-1] for name in names])
    return [name.removeprefix(start).removesuffix(end[::-1]) for name in names]


def _shared_folder(names: Sequence[str]) -> str:
    """Return "runs/" if every name begins so; "" if the names share no folder."""
    low, high = min(names), max(names)
    pairs = enumerate(zip(low, high, strict=False))
    same_letters = next((i for i, (a, b) in pairs if a != b), len(low))
    return low[: low.rfind("/", 0, same_letters) + 1]
