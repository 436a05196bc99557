"""Make the figures of both papers for the demo's generator, continuing from the demo's output.

    python -m raymetrics.demo.figures [FOLDER]

Each verb writes a page into a folder of its own in FOLDER (demo-output by default); the demo's page
then links to all of them. After an interruption, run it again.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from raymetrics.cli import main as cli
from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.demo.__main__ import main as demo
from raymetrics.demo.__main__ import print_now
from raymetrics.distributed.session import shared_session
from raymetrics.reports.comparison_page import report

# P1: Kynkaanniemi et al. 2019. P2: Kynkaanniemi et al. 2023.
COMMANDS = (
    # P1 Fig. 4, 5, 7
    "truncate --generated digits --extractor digits --strategies all --by label --to truncation",
    # P1 Fig. 6; P2 Fig. 9
    "snapshots --generated 'digits?snapshot={50,100,200,400,800,1600,3200,5000}' "
    "--extractor digits --metrics fid,pr --to snapshots",
    "snapshots --generated 'digits?snapshot={50,100,200,400,800,1600,3200,5000}' "
    "--extractor digits --metrics fid --column digits_pre_logits,digits_logits --to logits "
    "--shards snapshots/shards",
    # P1 Fig. 8, 10, 11
    "realism --generated generated --column digits_pre_logits --by label --to realism",
    # P1 Fig. 9, 12
    "interpolate --generated generated --column digits_pre_logits --paths 300 --to paths",
    # P2 Fig. 3, 4b, 10, 11, 12
    "heatmap --generated generated --samples 0-15 --mean --noise 0.05,0.1,0.2 --to heatmaps",
    # P2 Fig. 4a, 13; Table 1
    "match --generated digits --classes efficientnet_lite0_logits --n 1000 --max-draws 10000 "
    "--to matched",
    # P2 Fig. 5, 6, 13, 14, 15; Tables 2, 3
    "reweight --generated matched/shards --extractor efficientnet-lite0 --n 1000 --seeds 3 "
    "--match pre_logits,top_n:1,top_n:5,top_n:20,middle_n:1,middle_n:5,middle_n:20 --to weights",
)
_FOLDER_OPTIONS = ("--to", "--shards")


def command_words(command: str, folder: str) -> list[str]:
    """Split a command into words, with all its inputs and outputs in a folder."""
    verb, *words = shlex.split(command)
    arguments = [
        f"{folder}/{word}"
        if previous in _FOLDER_OPTIONS or word in ("generated", "matched/shards")
        else word
        for previous, word in zip(["", *words], words, strict=False)
    ]
    return [verb, "--real", f"{folder}/real", *arguments]


def main(arguments: Sequence[str]) -> None:
    """Run the demo and all commands. arguments: the folder, or nothing."""
    folder = arguments[0] if arguments else "demo-output"
    with shared_session():
        demo([folder])
        for command in COMMANDS:
            words = command_words(command, folder)
            print_now(f"\nraymetrics {click.style(shlex.join(words), bold=True)}")
            cli(words, standalone_mode=False)
    print_now(f"\nall of it: {report(Path(folder) / 'results.jsonl', to=folder)}")


if __name__ == "__main__":
    exit_with_code(main)(sys.argv[1:])
