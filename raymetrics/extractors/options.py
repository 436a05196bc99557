"""What follows the question mark of an extractor: `inception?resize=clean&columns=pre_logits`."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymetrics import option_strings
from raymetrics.errors import ExtractorError
from raymetrics.uris import require_no_secret

UNTRAINED_PREFIX = "untrained-"


def absolute_extractor(text: str) -> str:
    """The same extractor as it is to be named elsewhere: files by their absolute paths.

    ExtractorError for one with a secret in it, as it is written into what is made by it.
    """
    require_no_secret(text, ExtractorError)
    network, options = option_strings.parse_options(text, ExtractorError)
    if os.path.isfile(network):
        network = str(Path(network).resolve())
    if os.path.exists(options.get("weights", "")):
        options["weights"] = str(Path(options["weights"]).resolve())
    return option_strings.format_options(network, options)


@dataclass(frozen=True)
class Options:
    """An extractor as it is asked for: `network?option=value&...`."""

    network: str
    option_values: Mapping[str, str]
    untrained: bool = False

    @classmethod
    def parse(cls, text: str) -> Options:
        """The text as options; `untrained-NETWORK` is the network with random weights."""
        network, option_values = option_strings.parse_options(text, ExtractorError)
        return cls(
            network.removeprefix(UNTRAINED_PREFIX),
            option_values,
            network.startswith(UNTRAINED_PREFIX),
        )

    def require_known(self, names: Iterable[str]) -> Options:
        """These options. ExtractorError if others are given."""
        for name in self.option_values:
            if name not in names:
                raise ExtractorError(
                    f"{self.network} has no option {name!r}; there are {', '.join(names)}"
                )
        return self

    @property
    def name(self) -> str | None:
        """Another name, so that one set may hold two variants of a network. Columns are named
        after it: ExtractorError for anything but letters, digits, underscores and hyphens."""
        name = self.option_values.get("name")
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ExtractorError(
                f"name of {self.network} is {name!r}, expected letters, digits, _ and -"
            )
        return name

    @property
    def weights(self) -> str | None:
        """The path of a file."""
        return self.option_values.get("weights")

    @property
    def seed(self) -> int:
        """Of random weights."""
        return self.number("seed", 0)

    def number(self, option: str, default: int, minimum: int = 0) -> int:
        """A whole number, at least so large. ExtractorError for anything else."""
        text = self.option_values.get(option, str(default))
        if not text.isdecimal() or int(text) < minimum:
            raise ExtractorError(
                f"{option} of {self.network} is {text!r}, expected a whole number from {minimum} on"
            )
        return int(text)

    def choice(self, option: str, allowed: Iterable[str], default: str) -> str:
        """One of the names. ExtractorError for anything else."""
        value = self.option_values.get(option, default)
        if value not in allowed:
            raise ExtractorError(
                f"{self.network} has no {option} {value!r}; there are {', '.join(allowed)}"
            )
        return value

    def choices(
        self, option: str, allowed: Iterable[str], default: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Several of the names, with commas between them, in the order of `there`."""
        values = self.option_values.get(option, ",".join(default)).split(",")
        for value in values:
            if value not in allowed:
                raise ExtractorError(
                    f"{self.network} has no {option} {value!r}; there are {', '.join(allowed)}"
                )
        return tuple(name for name in allowed if name in values)
