"""What follows the question mark of an extractor: `inception?resize=clean&columns=pre_logits`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from raymetrics.errors import ExtractorError

UNTRAINED = "untrained-"


def absolute(text: str) -> str:
    """The same extractor as it is to be named elsewhere: files by their absolute paths."""
    network, mark, query = text.partition("?")
    if Path(network).is_file():
        network = str(Path(network).resolve())
    pairs = parse_qsl(query, keep_blank_values=True)
    given = [(k, str(Path(v).resolve()) if k == "weights" else v) for k, v in pairs]
    return f"{network}{mark}{urlencode(given, safe='/,:')}"


@dataclass(frozen=True)
class Options:
    """An extractor as it is asked for: `network?option=value&...`."""

    network: str
    given: Mapping[str, str]
    untrained: bool = False

    @classmethod
    def parse(cls, text: str) -> Options:
        """The text as options; `untrained-NETWORK` is the network with random weights."""
        network, _, query = text.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        return cls(network.removeprefix(UNTRAINED), given, network.startswith(UNTRAINED))

    def allow(self, names: Iterable[str]) -> Options:
        """These options. ExtractorError if others are given."""
        for name in self.given:
            if name not in names:
                raise ExtractorError(
                    f"{self.network} has no option {name!r}; there are {', '.join(names)}"
                )
        return self

    @property
    def name(self) -> str | None:
        """Another name, so that one set may hold two variants of a network."""
        return self.given.get("name")

    @property
    def weights(self) -> str | None:
        """The path of a file."""
        return self.given.get("weights")

    @property
    def seed(self) -> int:
        """Of random weights."""
        return self.number("seed", 0)

    def number(self, option: str, usual: int) -> int:
        """A whole number. ExtractorError for anything else."""
        text = self.given.get(option, str(usual))
        if not text.isdecimal():
            raise ExtractorError(f"{option} of {self.network} is {text!r}, expected a whole number")
        return int(text)

    def one_of(self, option: str, there: Iterable[str], usual: str) -> str:
        """One of the names. ExtractorError for anything else."""
        value = self.given.get(option, usual)
        if value not in there:
            raise ExtractorError(
                f"{self.network} has no {option} {value!r}; there are {', '.join(there)}"
            )
        return value

    def some_of(self, option: str, there: Iterable[str], usual: tuple[str, ...]) -> tuple[str, ...]:
        """Several of the names, with commas between them, in the order of `there`."""
        values = self.given.get(option, ",".join(usual)).split(",")
        for value in values:
            if value not in there:
                raise ExtractorError(
                    f"{self.network} has no {option} {value!r}; there are {', '.join(there)}"
                )
        return tuple(name for name in there if name in values)
