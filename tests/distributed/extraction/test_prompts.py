"""Prompts from a source to the column of its shards, and scores that take them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.generate import generate_samples
from raymetrics.errors import ExtractorError, ShardError, SourceError, SpecMismatch
from raymetrics.generators.user_function import UserFunctionGenerator
from raymetrics.shards.foreign.export import export
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.user_code import UserCallable
from tests.helpers import prompted_sources

pytestmark = pytest.mark.usefixtures("no_actors")
SOURCE = "tests.helpers.prompted_sources:Spots"
FIT = "score:tests.helpers.prompted_sources:fit"
SAMPLES = "10-49"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, no_actors: None) -> ShardSet:
    """Return a set of four shards with prompts and a score."""
    place = str(tmp_path_factory.mktemp("prompts") / "set")
    source = f"{SOURCE}?length=50"
    return extract(source, [FIT, "digits"], place, SAMPLES, shard_rows=16).shards


def prompts_of(shards: ShardSet) -> list[str]:
    return [text for block in shards.blocks(["prompt"]) for text in block["prompt"]]


def test_prompts_are_a_column(shards: ShardSet) -> None:
    """That any reader reads; each sample has the score of its own prompt."""
    assert shards.spec.prompts
    assert prompts_of(shards) == [f"color {k}" for k in range(10, 50)]
    np.testing.assert_array_equal(shards.read("fit_score"), np.zeros((40, 1)))
    files = sorted(Path(shards.uri).glob("*.parquet"))
    table = pq.read_table(files[0], columns=["sample_id", "prompt"])
    assert [str(field.type) for field in table.schema] == ["int64", "string"]
    shards.verify()
    assert open_shards(shards.uri).seal is not None


def test_another_prompt_is_another_digest(shards: ShardSet, tmp_path: Path) -> None:
    """A file in which one text was changed is found."""
    file = sorted(Path(shards.uri).glob("*.parquet"))[0]
    kept = file.read_bytes()
    table = pq.read_table(file)
    texts = ["color 3", *table["prompt"].to_pylist()[1:]]
    changed = table.set_column(2, "prompt", [texts]).replace_schema_metadata(table.schema.metadata)
    pq.write_table(changed, file, use_dictionary=False)
    try:
        with pytest.raises(ShardError, match="1 shards .* do not have the digest"):
            open_shards(shards.uri).verify()
    finally:
        file.write_bytes(kept)


def test_the_same_command_makes_nothing_again(shards: ShardSet) -> None:
    again = extract(f"{SOURCE}?length=50", [FIT, "digits"], shards.uri, SAMPLES)
    assert (again.shards_made, again.shards_present) == (0, len(shards.present))


def test_sets_without_prompts_are_what_they_were(tmp_path: Path) -> None:
    """Neither in the text of dataset.json nor in the identity is there a word of prompts."""
    made = extract(f"{SOURCE}?given=none", "digits", str(tmp_path / "set"), "0-3").shards
    assert b"prompts" not in (tmp_path / "set" / "dataset.json").read_bytes()
    assert "prompts" not in made.spec.identity
    with pytest.raises(ShardError, match="has no column prompt"):
        prompts_of(made)


def test_a_score_of_a_source_without_prompts(tmp_path: Path) -> None:
    place = tmp_path / "set"
    with pytest.raises(SourceError, match="fit takes the prompts of the images, and .* gives none"):
        extract(f"{SOURCE}?given=none", FIT, str(place), "0-3")
    assert not place.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("few", "prompts of .*Spots are 2 of type str for 3 sample ids, expected one str for each"),
        ("numbers", "prompts of .*Spots are 3 of type int"),
        ("drifting", "the prompts of .*Spots depend on more than the sample ids"),
    ],
)
def test_wrong_prompts(tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        extract(f"{SOURCE}?given={given}", FIT, str(tmp_path / "set"), "0-9")


def test_a_score_that_is_not_a_number(tmp_path: Path) -> None:
    score = "score:tests.helpers.prompted_sources:broken"
    with pytest.raises(
        ExtractorError, match="score of broken is NaN or infinite for 1 of 10 .* is sample 7"
    ):
        extract(SOURCE, score, str(tmp_path / "set"), "0-9")
    assert not list((tmp_path / "set").glob("*.parquet"))


def test_a_set_with_prompts_is_not_continued_without(shards: ShardSet, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes((Path(shards.uri) / "dataset.json").read_bytes())
    for file in Path(shards.uri).glob("samples-*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SpecMismatch, match="made from something else"):
        extract(f"{SOURCE}?length=50&given=none", "digits", str(tmp_path), SAMPLES)


def test_samples_one_by_one_keep_their_prompts() -> None:
    """A sample that cannot be made takes its prompt with it."""

    class Gap(prompted_sources.Spots):
        def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
            if 3 in sample_ids:
                raise ValueError("no sample 3")
            return super().__call__(sample_ids)

    target = UserCallable(SOURCE, "source", SourceError)
    generator = UserFunctionGenerator(target, Gap(), {}, {})
    samples = generate_samples(generator, np.arange(2, 6))
    assert samples.prompts == ["color 2", "color 4", "color 5"]
    assert list(samples.left_out) == [3]


def test_exports_keep_prompts(shards: ShardSet, tmp_path: Path) -> None:
    place = str(tmp_path / "copy")
    export(shards.uri, to=place, format="shards")
    assert prompts_of(open_shards(place)) == prompts_of(shards)
    open_shards(place).verify()
    export(shards.uri, to=str(tmp_path / "tars"), format="webdataset")
    first = sorted((tmp_path / "tars").glob("*.tar"))[0]
    with tarfile.open(first) as tar:
        assert tar.extractfile("000000000010.txt").read() == b"color 10"
    for kind in ("npy", "huggingface"):
        export(shards.uri, to=str(tmp_path / kind), format=kind)
    read = pq.read_table(tmp_path / "huggingface" / "data", columns=["prompt"])
    assert read["prompt"].to_pylist() == prompts_of(shards)
