"""What can be known before Ray starts is told before it starts, and nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from raymetrics import sample_ranges
from raymetrics.distributed import session as sessions
from raymetrics.distributed import start_ray
from raymetrics.distributed.extraction.dataset_request import requested_samples
from raymetrics.errors import SampleRangeError
from raymetrics.generators import open_source
from tests.helpers.hostile_commands import (
    SOUND_COMMANDS,
    command_lines,
    make_folder,
    run_command_line,
)

SWEEPS = {verb: [verb, *SOUND_COMMANDS[verb]] for verb in ("truncate", "snapshots", "sweep")}
MATCH, INTERPOLATE = (
    ["match", *SOUND_COMMANDS["match"]],
    ["interpolate", *SOUND_COMMANDS["interpolate"]],
)
REWEIGHT, HEATMAP = (
    ["reweight", *SOUND_COMMANDS["reweight"]],
    ["heatmap", *SOUND_COMMANDS["heatmap"]],
)
NEAREST = ["nearest", *SOUND_COMMANDS["nearest"]]
EXTRACT = ["extract", *SOUND_COMMANDS["extract"]]
DRAWN = ["match", "--real", "real", "--to", "to", "--generated"]
OWN = ["extract", "sources:noise", "--extractor", "digits", "--to", "to", "--samples"]

IN_VAIN: list[tuple[Sequence[str], str]] = [
    ([*MATCH, "--n", "0"], "n is 0, expected at least 1"),
    ([*MATCH, "--max-draws", "0"], "max_draws is 0"),
    ([*MATCH, "--first", "-1"], "first is -1"),
    ([*MATCH, "--classes", "zz"], "real has no logits 'zz'; it has digits_logits"),
    ([*MATCH, "--real", "missing"], "no shard set at missing"),
    ([*MATCH, "--to", "text.txt"], "text.txt is a file"),
    ([*MATCH, "--shards", "other"], "generated is a shard set, which is drawn on into"),
    ([*MATCH, "--extractor", "zz"], "no extractor 'zz'"),
    ([*MATCH, "--shard-rows", "0"], "shard_rows is 0"),
    ([*MATCH, "--gpus", "99999999999"], "gpus is 99999999999, expected 1 to 1000000"),
    ([*DRAWN, "missing/x"], "no source 'missing/x'"),
    ([*DRAWN, "digits", "--shards", "text.txt"], "text.txt is a file"),
    ([*DRAWN, "digits", "--first", "4294967290", "--n", "7"], "digits has only 6 from 4294967290"),
    ([*DRAWN, "sources:Brightness", "--n", "1001"], "sources:Brightness has only 1000 from 0 on"),
    *(
        ([*line, *words], message)
        for line in SWEEPS.values()
        for words, message in (
            (["--real", "missing"], "no shard set at missing"),
            (["--extractor", "zz"], "no extractor 'zz'"),
            (["--extractor", "untrained-efficientnet-lite0"], "with the same extractor"),
            (["--column", "zz"], "column 'zz' is not in both sets; both have digits_pre_logits"),
            (["--samples", "x"], "samples 'x' is not a range"),
            (["--samples", "5-1"], "samples '5-1' is empty"),
            (["--shard-rows", "0"], "shard_rows is 0"),
            (["--shards", "text.txt"], "text.txt is a file"),
            (["--metrics", ""], "no metrics are asked for"),
            (["--metrics", "kid"], "kid takes at least 1000 samples, there are 60 real ones"),
            (["--metrics", "is", "--column", "digits_pre_logits"], "is takes a column of logits"),
            (["--metrics", "pr", "--samples", "0-2"], "there are 3 generated ones"),
            (["--actors", "0"], "actors is 0"),
        )
    ),
    ([*SWEEPS["truncate"], "--generated", "missing/x"], "no source 'missing/x"),
    ([*SWEEPS["truncate"], "--psi", "nan"], "expected an amount from 0 to 1"),
    ([*SWEEPS["truncate"], "--strategies", "zz"], "no truncation 'zz'"),
    ([*SWEEPS["snapshots"], "--watch", "99999999999"], "is not in the range 1<=x<=10000000"),
    (["snapshots", *SOUND_COMMANDS["snapshots"][2:], "--generated", "gone.pkl"], "gone.pkl"),
    (["sweep", "gone.csv", *SOUND_COMMANDS["sweep"][1:]], "no plan at gone.csv"),
    ([*REWEIGHT, "--max-evaluations", "0"], "0 evaluations are asked for"),
    ([*REWEIGHT, "--max-evaluations", "-3"], "-3 evaluations are asked for"),
    ([*REWEIGHT, "--tolerance", "nan"], "the tolerance is nan"),
    ([*REWEIGHT, "--to", "text.txt"], "text.txt is a file"),
    ([*HEATMAP, "--classes", "zz"], "the network has no class 'zz'"),
    ([*HEATMAP, "--noise", "0.1", "--actors", "0"], "actors is 0"),
    ([*HEATMAP, "--samples", "5-99999999"], "lacks 99999990 of the samples 5-99999999"),
    ([*HEATMAP, "--images", "digits", "--samples", "0-10000"], "a page shows 10000 at most"),
    ([*INTERPOLATE, "--column", "digits_pre_logits", "--steps", "99999999999"], "shards of 2048"),
    ([*INTERPOLATE, "--column", "digits_pre_logits", "--shard-rows", "0"], "shard_rows is 0"),
    ([*NEAREST, "--seed", "-1"], "seed is -1, expected a number from 0"),
    ([*NEAREST, "--threshold", "nan"], "threshold is nan, expected a cosine"),
    ([*NEAREST, "--test", "mapped"], "column 'digits_pre_logits' is not in both sets"),
    ([*NEAREST, "--test", "generated"], "80 generated samples of"),
    ([*EXTRACT, "--samples", "4294967295-4294967296"], "digits has samples 0-4294967295, but"),
    ([*EXTRACT, "--gpu-memory", "nan"], "--gpu-memory is nan; write gigabytes"),
    ([*EXTRACT, "--gpu-memory", "inf"], "--gpu-memory is inf; write gigabytes"),
    ([*EXTRACT, "--extractor", ""], "has an empty name; write names"),
    ([*OWN, "0-99999999999999999999"], "goes beyond 999999999999, the last sample id"),
    ([*OWN, "0-99999999999"], "make 48828125 shards of 2048; a set has 1000000 at most"),
    (["extract", "..gen:x", *SOUND_COMMANDS["extract"][1:]], "no source '..gen:x'"),
    (
        ["extract", "sources:Brightness", *SOUND_COMMANDS["extract"][1:-1], "0-1000"],
        "has samples 0-999, but",
    ),
    (
        ["evaluate", *SOUND_COMMANDS["evaluate"], "--convention", "nvidia", "--seed", "4294967296"],
        "seed is 4294967296, expected a number from 0 to",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    make_folder(folder)
    return folder


@pytest.mark.parametrize(("line", "message"), IN_VAIN, ids=lambda value: str(value)[-40:])
def test_told_before_ray(folder: Path, line: Sequence[str], message: str) -> None:
    code, output, written = run_command_line(line, folder)
    assert code == 2, output
    assert message in output
    assert written == []


def test_the_lines_from_which_these_differ_go_on_to_ray(folder: Path) -> None:
    """So that it is the one word that is refused."""
    for verb in ("extract", "evaluate", "match", "reweight", "heatmap", *SWEEPS):
        assert run_command_line([verb, *SOUND_COMMANDS[verb]], folder).code == "ray", verb


def test_sessions_share_one_ray_that_ends_with_their_block(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(sessions, "ray_is_running", lambda: log[-1:] == ["start"])
    monkeypatch.setattr(start_ray, "start", lambda cpus: log.append("start"))
    monkeypatch.setattr(start_ray, "stop", lambda: log.append("stop"))
    with sessions.shared_session():
        assert log == []
        for _ in range(2):
            with sessions.shared_session(), sessions.session():
                pass
            assert log == ["start"]
    assert log == ["start", "stop"]
    with sessions.shared_session():
        pass
    assert log == ["start", "stop"]
    with pytest.raises(ZeroDivisionError), sessions.shared_session(), sessions.session():
        raise ZeroDivisionError
    assert log == ["start", "stop"] * 2


@pytest.mark.parametrize("seeds", [2**32, None])
def test_a_source_with_seeds_ends_where_they_do(seeds: int | None) -> None:
    """Also truncated; one of your own without seeds ends with the names of shards."""
    sources = ("digits", "faces", "digits?truncate=clamp:0.5") if seeds else ("sources:noise",)
    for source in sources:
        generator = open_source(source, torch.device("cpu"))
        last = (seeds or sample_ranges.LAST_ID + 1) - 1
        assert requested_samples(generator, range(last, last + 1)) == range(last, last + 1)
        with pytest.raises(SampleRangeError, match=f"has samples 0-{last}, but"):
            requested_samples(generator, range(last, last + 2))


def among(lines: Sequence[Sequence[str]], share: float) -> list[Sequence[str]]:
    """That share of them, always the same ones."""
    return [
        line
        for line in lines
        if int(hashlib.sha256(repr(line).encode()).hexdigest()[:8], 16) < share * 2**32
    ]


def require_words(lines: Sequence[Sequence[str]], folder: Path) -> None:
    """AssertionError unless each line is refused in words, works, or goes on to Ray."""
    assert lines
    for line in lines:
        code, output, _ = run_command_line(line, folder)
        assert code in (0, 2, "ray"), (line, output)
        if code == 2:
            assert "rror: " in output or "failed: " in output, (line, output)


def test_some_hostile_command_lines_end_in_words(folder: Path) -> None:
    require_words(among([*command_lines()], 0.005), folder)


@pytest.mark.slow
def test_all_hostile_command_lines_end_in_words(folder: Path) -> None:
    require_words([*command_lines()], folder)
