"""Run senseless command lines: every option of every verb with values that make no sense."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.distributed import session, start_ray
from raymetrics.distributed.extraction import extract

NUMBERS = (
    "nan", "inf", "-inf", "-1", "0", "1", "0.5", "1e400", "1_0", "4294967296",
    "99999999999999999999",
)  # fmt: skip
RANGES = ("5-1", "0-9", "0-99999999999999999999", "4294967290-4294967296", f"0-{'9' * 5000}")
TEXTS = (
    "", " ", "\0", "x", "zz", "é☃", "\udcff", ",", "0,0", "3,", "{", "?", "x?", "x?y", "x?y=z", ":",
    "..gen:x", "x:y", "$x^$", "%s", "\n", "a|b", "n" * 5000, "a{0..3}.tar", "nosuch://x",
    "digits?truncate=clamp:nan", "digits?snapshot=-1", "digits?weights=\0",
    "digits?weights=text.txt",
    f"digits?weights={'n' * 5000}", "folder?size=0", "top_n:0", "top_n:99999999999999999999",
)  # fmt: skip
PATHS = (
    "text.txt", "folder", "missing/x", "real", "generated", "real?ids=text.txt",
    "real?ids=missing", "real?ids=\0", "results.jsonl", "plan.csv", "real.npz",
    "generated/dataset.json", "/dev/null/x", "/proc/x",
)  # fmt: skip
VALUES = (*NUMBERS, *RANGES, *TEXTS, *PATHS)

# Command lines that are as they should be, with a file or a folder of `make_folder` in each place.
SOUND_COMMANDS: Mapping[str, Sequence[str]] = {
    "extract": ("digits", "--extractor", "digits", "--to", "to", "--samples", "0-9"),
    "evaluate": ("--real", "real", "--generated", "generated", "--metrics", "fid"),
    "export": ("real", "--to", "to.npz", "--as", "npz", "--column", "digits_pre_logits"),
    "match": ("--real", "real", "--generated", "generated", "--to", "to", "--n", "20"),
    "reweight": ("--real", "real", "--generated", "generated", "--to", "to"),
    "heatmap": ("--real", "mapped", "--generated", "mapped", "--to", "to", "--mean"),
    "sweep": ("plan.csv", "--real", "real", "--to", "to"),
    "truncate": ("--generated", "digits", "--real", "real", "--to", "to"),
    "snapshots": ("--generated", "digits?snapshot={200,5000}", "--real", "real", "--to", "to"),
    "nearest": ("--real", "real", "--generated", "generated", "--to", "to", "--neighbors", "5"),
    "realism": ("--real", "real", "--generated", "generated", "--to", "to", "--by", "class"),
    "interpolate": ("--real", "real", "--generated", "generated", "--to", "to", "--paths", "3"),
    "inspect": ("generated",),
    "report": ("results.jsonl", "--to", "to"),
    "weights import": ("text.txt",),
}


class RayStarted(Exception):
    """The exception that a test raises instead of starting Ray."""


def make_folder(folder: Path) -> None:
    """Write the files that the command lines name."""
    with session.session(local=True):
        extract.extract("mnist", ["digits"], str(folder / "real"), "0-59")
        extract.extract("digits", ["digits"], str(folder / "generated"), "0-79")
        extract.extract("digits", ["efficientnet-lite0"], str(folder / "mapped"), "0-9")
    (folder / "text.txt").write_text("nothing\n")
    (folder / "folder").mkdir()
    (folder / "plan.csv").write_text("source,truncate\ndigits,clamp:0.5|clamp:0.7\n")
    np.savez(folder / "real.npz", mu=np.zeros(64), sigma=np.eye(64))
    (folder / "results.jsonl").write_text("{}\n")


def command_lines() -> Iterator[list[str]]:
    """Yield every sound command line, then copies with every value for one option or argument."""
    for verb, sound in SOUND_COMMANDS.items():
        yield [*verb.split(), *sound]
        for parameter in find_command(verb).params:
            yield from ([*verb.split(), *line] for line in substitute_values(parameter, sound))


def find_command(verb: str) -> click.Command:
    current: click.Command = main
    for name in verb.split():
        assert isinstance(current, click.Group)
        current = current.commands[name]
    return current


def substitute_values(parameter: click.Parameter, sound: Sequence[str]) -> Iterator[list[str]]:
    """Yield a command line's words with each value of one parameter."""
    if isinstance(parameter, click.Argument):
        yield from ([*sound[1:], "--", value] for value in VALUES)
        return
    name, rest = parameter.opts[0], list(sound)
    if getattr(parameter, "is_flag", False):
        yield [*rest, name]
        return
    if name in rest:
        del rest[rest.index(name) : rest.index(name) + 2]
    yield from ([*rest, f"{name}={value}"] for value in VALUES)


class Outcome(NamedTuple):
    """The end of a command line."""

    code: int | str  # "ray" where Ray would have been started, "traceback" for what is no error
    output: str
    written: list[str]  # files and folders that were not there before


def run_command_line(line: Sequence[str], folder: Path) -> Outcome:
    """Run a command line in a fresh copy of the folder of `make_folder`, without Ray."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        patch.chdir(fresh)
        patch.setattr(start_ray, "start", raise_ray_started)
        patch.setattr(session, "ray_is_running", lambda: False)  # whatever other tests use
        with session.set_executor(local=False):  # small work too
            result = CliRunner().invoke(main, line)
        written = sorted(names_below(Path(fresh)) - names_below(folder))
    if result.exception is None or isinstance(result.exception, SystemExit):
        return Outcome(result.exit_code, result.output, written)
    if isinstance(result.exception, RayStarted):
        return Outcome("ray", result.output, written)
    text = result.output + "".join(traceback.format_exception(result.exception))
    return Outcome("traceback", text, written)


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def raise_ray_started(cpus: int | None) -> None:
    raise RayStarted
