"""`SHARDS?ids=FILE`, `SHARDS?random=N`: some samples of a set, wherever a set is asked for."""

from __future__ import annotations

from raymetrics import option_strings, sample_ranges
from raymetrics.errors import ShardError
from raymetrics.shards.selection_files import WEIGHT, read_selection, split_path
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View

_OPTIONS = {"ids", "partial", "random", "seed"}


def open_view(uri: str) -> View:
    """Open all samples of the complete set at a path or a prefix, or those that a file names.

    "shards?ids=FILE" are the samples in the column `sample_id` of a Parquet file, as often as they
    stand there; "&partial=yes" takes a file that says of itself that it is not complete.
    "shards?random=N&seed=S" are N samples chosen at random without repetition, seed 0 by default.
    ShardError for an incomplete set, samples that it does not have, other options, or a file of
    weights, which names every candidate; SpecMismatch for a file that was made from another set;
    NotEnoughData for more random samples than there are.
    """
    name, options = option_strings.parse_options(uri, ShardError)
    if options.keys() - _OPTIONS or {"ids", "random"} <= options.keys():
        raise ShardError(
            f"{uri}: a shard set has only the options ids=FILE and partial=yes, or random=N and "
            "seed=S"
        )
    shards = open_complete(name)
    if "random" in options:
        count = _parse_whole_number(uri, "random", options["random"])
        seed = _parse_whole_number(uri, "seed", options.get("seed", "0"))
        return View.from_shards(shards).choose(count, seed)
    if "ids" not in options:
        return View.from_shards(shards)
    selection_file = read_selection(options["ids"], partial=options.get("partial") == "yes")
    if WEIGHT in selection_file.columns:
        raise ShardError(
            f"{selection_file.path} holds weights of all candidates and chooses none; draw from "
            "them: raymetrics reweight writes drawn.parquet beside it"
        )
    ids = selection_file.require_made_from(shards).sample_ids
    folder, file = split_path(selection_file.path)
    return View.from_shards(
        shards, selection=Selection.from_ids(ids, f"{Store(folder).absolute_uri}/{file}")
    )


def _parse_whole_number(uri: str, name: str, text: str) -> int:
    """Return the whole number of an option. Raise ShardError for any other text."""
    if not text.isdecimal():
        raise ShardError(f"{uri}: {name} is {text!r}, expected a whole number")
    return int(text)


def open_complete(uri: str) -> ShardSet:
    """Open a shard set. Raise ShardError unless it holds exactly its samples."""
    shards = open_shards(uri).require_complete()
    foreign = sample_ranges.subtract(shards.present, shards.spec.samples)
    if foreign:
        names = ", ".join(map(sample_ranges.format_range, foreign))
        raise ShardError(
            f"{shards.uri} holds samples {names}, which its dataset.json does not ask for; another "
            "extraction into it was under way: run it again"
        )
    return shards
