"""Parse an extractor's options, as in `inception?resize=clean&columns=pre_logits`."""

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
    """Return the text of an extractor with absolute paths of its files, valid in any folder.

    Raises ExtractorError for a text that contains a secret, as shard sets record the text.
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
    """The parts of an extractor's text, `network?option=value&...`."""

    network: str
    option_values: Mapping[str, str]
    untrained: bool = False

    @classmethod
    def parse(cls, text: str) -> Options:
        """Parse a text; `untrained-NETWORK` means the network with random weights."""
        network, option_values = option_strings.parse_options(text, ExtractorError)
        return cls(
            network.removeprefix(UNTRAINED_PREFIX),
            option_values,
            network.startswith(UNTRAINED_PREFIX),
        )

    def require_known(self, names: Iterable[str]) -> Options:
        """Return these options; raise ExtractorError if one has a name that is not in `names`."""
        for name in self.option_values:
            if name not in names:
                raise ExtractorError(
                    f"{self.network} has no option {name!r}; there are {', '.join(names)}"
                )
        return self

    @property
    def name(self) -> str | None:
        """The option `name`, so that one set may hold two variants of a network; None without it.

        Names of columns contain this name, so ExtractorError is raised for anything but letters,
        digits, underscores and hyphens.
        """
        name = self.option_values.get("name")
        if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ExtractorError(
                f"name of {self.network} is {name!r}, expected letters, digits, _ and -"
            )
        return name

    @property
    def weights(self) -> str | None:
        """The option `weights`, the path of a file; None without it."""
        return self.option_values.get("weights")

    @property
    def seed(self) -> int:
        """The option `seed`, of random weights; 0 without it."""
        return self.number("seed", 0)

    def number(self, option: str, default: int, minimum: int = 0) -> int:
        """Return the value of an option that is a whole number of at least `minimum`.

        Returns the default if the option is not given. Raises ExtractorError for another value.
        """
        text = self.option_values.get(option, str(default))
        if not text.isdecimal() or int(text) < minimum:
            raise ExtractorError(
                f"{option} of {self.network} is {text!r}, expected a whole number from {minimum} on"
            )
        return int(text)

    def choice(self, option: str, allowed: Iterable[str], default: str) -> str:
        """Return the value of an option that is one of the allowed names.

        Returns the default if the option is not given. Raises ExtractorError for another value.
        """
        value = self.option_values.get(option, default)
        if value not in allowed:
            raise ExtractorError(
                f"{self.network} has no {option} {value!r}; there are {', '.join(allowed)}"
            )
        return value

    def choices(
        self, option: str, allowed: Iterable[str], default: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the values of an option that holds allowed names with commas between them.

        The result is in the order of `allowed`. Returns the default if the option is not given.
        Raises ExtractorError for another value.
        """
        values = self.option_values.get(option, ",".join(default)).split(",")
        for value in values:
            if value not in allowed:
                raise ExtractorError(
                    f"{self.network} has no {option} {value!r}; there are {', '.join(allowed)}"
                )
        return tuple(name for name in allowed if name in values)
