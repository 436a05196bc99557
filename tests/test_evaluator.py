"""The evaluator of a training loop: the numbers of the shards, in any batches, over any ranks."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import raymetrics as rm
from raymetrics.errors import ExtractorError, NotEnoughData, RaymetricsError, StorageError
from raymetrics.extractors import make_extractor
from raymetrics.generators import open_source

pytestmark = pytest.mark.usefixtures("no_actors")

CPU = torch.device("cpu")
COUNT = 90


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    """Images uint8 [n, 3, 28, 28] of both sides."""
    ids = np.arange(COUNT)
    return {name: open_source(source, CPU)(ids) for name, source in
            (("real", "mnist"), ("generated", "digits"))}  # fmt: skip


@pytest.fixture(scope="module")
def shards(no_actors: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("shards")
    for name, source in (("real", "mnist"), ("generated", "digits")):
        rm.extract(source, "digits", str(folder / name), f"0-{COUNT - 1}")
    return {name: str(folder / name) for name in ("real", "generated")}


def feed(
    evaluator: rm.Evaluator, images: dict[str, np.ndarray], batch: int, sides: str = "both"
) -> rm.Evaluator:
    for side, pictures in images.items():
        if sides in ("both", side):
            for start in range(0, len(pictures), batch):
                evaluator.update(
                    torch.from_numpy(pictures[start : start + batch]), real=side == "real"
                )
    return evaluator


METRICS = "fid,pr,kid,top1,vendi,prd"
CONVENTION = rm.Convention(kid_subsets=5, kid_subset_size=40, k=(3, 5))


def test_numbers_are_those_of_shards(images, shards) -> None:
    evaluator = feed(rm.Evaluator("digits", METRICS, convention=CONVENTION), images, 32)
    numbers = evaluator.compute()
    results = rm.evaluate(**shards, metrics=METRICS, convention=CONVENTION)
    expected = {
        result.metric + (f"_k{result.convention['k']}" if "k" in result.convention else ""): result
        for result in results
    }
    assert {name for name in numbers if not name.endswith("_std")} == expected.keys()
    for name, result in expected.items():
        assert numbers[name] == pytest.approx(result.value, rel=1e-9), name
    assert numbers["kernel_distance_std"] == pytest.approx(
        next(r.spread for r in results if r.metric == "kernel_distance")
    )


@settings(max_examples=10)
@given(batch=st.integers(1, COUNT), cut=st.integers(1, COUNT - 1))
def test_batches_and_merges_change_nothing(batch: int, cut: int) -> None:
    ids = np.arange(COUNT)
    pictures = {
        "real": open_source("mnist", CPU)(ids),
        "generated": open_source("digits", CPU)(ids),
    }
    extractor = make_extractor("digits", CPU)
    whole = feed(rm.Evaluator(extractor, "fid"), pictures, COUNT).compute()
    parts = [
        feed(rm.Evaluator(extractor, "fid"), {s: x[part] for s, x in pictures.items()}, batch)
        for part in (slice(0, cut), slice(cut, COUNT))
    ]
    parts[0].merge(parts[1])
    assert parts[0].compute()["frechet_distance"] == pytest.approx(
        whole["frechet_distance"], rel=1e-6
    )


@pytest.mark.parametrize("metrics", ["fid", "fid,pr"])
def test_a_state_is_saved_and_loaded(images, metrics: str) -> None:
    evaluator = feed(rm.Evaluator("digits", metrics), images, 20, "real")
    half = {"generated": images["generated"][:50]}
    feed(evaluator, half, 16)
    file = io.BytesIO()
    torch.save(evaluator.state_dict(), file)
    file.seek(0)
    other = rm.Evaluator("digits", metrics)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.compute() == evaluator.compute()
    evaluator.reset(real=False)
    with pytest.raises(NotEnoughData, match=r"there are 0 generated ones; update with more"):
        evaluator.compute()
    feed(evaluator, {"generated": images["generated"]}, 16)
    assert evaluator.compute() == pytest.approx(
        feed(rm.Evaluator("digits", metrics), images, 16).compute(), rel=1e-6
    )


def test_a_real_side_that_is_there(images, shards, tmp_path: Path) -> None:
    expected = feed(rm.Evaluator("digits", "fid"), images, 30).compute()
    rm.export(shards["real"], to=str(tmp_path / "real.npz"), format="npz")
    for real in (shards["real"], str(tmp_path / "real.npz")):
        evaluator = rm.Evaluator("digits", "fid", real=real)
        numbers = feed(evaluator, images, 30, "generated").compute()
        assert numbers == pytest.approx(expected, rel=1e-9)
        with pytest.raises(RaymetricsError, match="the real side was given"):
            evaluator.update(images["real"], real=True)
    both = rm.Evaluator("digits", "pr", real=shards["real"])
    assert feed(both, images, 30, "generated").compute() == pytest.approx(
        feed(rm.Evaluator("digits", "pr"), images, 30).compute()
    )


def test_floats_become_bytes_by_a_named_rule(images) -> None:
    unit = {side: x.astype(np.float32) / 255 for side, x in images.items()}
    by_rule = feed(rm.Evaluator("digits", "fid", uint8="unit-round"), unit, 30).compute()
    assert by_rule == feed(rm.Evaluator("digits", "fid"), images, 30).compute()
    with pytest.raises(ExtractorError, match=r"float32 \[90, 3, 28, 28\].*uint8='nvidia'"):
        rm.Evaluator("digits", "fid").update(unit["real"])


def test_features_are_written_as_shards(images, shards, tmp_path: Path) -> None:
    evaluator = feed(rm.Evaluator("digits", "fid", keep_features=True), images, 25)
    folder = str(tmp_path / "set")
    written = evaluator.save_shards(folder)
    of_shards = rm.open_shards(shards["generated"])
    for column in of_shards.columns:
        np.testing.assert_allclose(
            written.read(column), of_shards.read(column), rtol=1e-4, atol=1e-4
        )
    (result,) = rm.evaluate(real=shards["real"], generated=folder, metrics="fid", any_size=True)
    assert result.value == pytest.approx(evaluator.compute()["frechet_distance"], rel=1e-5)
    with pytest.raises(StorageError, match="is not empty"):
        evaluator.save_shards(folder)
    with pytest.raises(RaymetricsError, match="keep_features=True"):
        rm.Evaluator("digits", "fid").save_shards(str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": "fidd"}, "no metric 'fidd'"),
        ({"metrics": "cmmd"}, "cmmd takes a column of clip"),
        ({"uint8": "tanh"}, "no uint8 rule 'tanh'; there are nvidia"),
        ({"real": "digits"}, "real is 'digits', a source"),
    ],
)
def test_what_cannot_be_evaluated(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        rm.Evaluator("digits", **arguments)


def test_a_real_side_of_another_extractor_is_refused(shards) -> None:
    with pytest.raises(RaymetricsError, match="has features of digits, not those of efficientnet"):
        rm.Evaluator("efficientnet-lite0", real=shards["real"])
    with pytest.raises(RaymetricsError, match="does not merge"):
        rm.Evaluator("digits", "fid").merge(rm.Evaluator("digits", "pr"))


RANK = """
    import os, sys
    import numpy as np, torch
    import raymetrics as rm
    from raymetrics.generators import open_source

    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo")
    evaluator = rm.Evaluator("digits", "fid,pr")
    for side, source in (("real", "mnist"), ("generated", "digits")):
        pictures = open_source(source, torch.device("cpu"))(np.arange(45 * rank, 45 * rank + 45))
        evaluator.update(pictures, real=side == "real")
    numbers = evaluator.compute()
    torch.distributed.destroy_process_group()
    print(numbers)
"""


def test_two_ranks_return_the_numbers_of_one_process(images) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RANK)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": port},
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert outputs[0] == outputs[1]
    expected = feed(rm.Evaluator("digits", "fid,pr"), images, 45).compute()
    for name, value in expected.items():
        said = outputs[0].partition(f"'{name}': ")[2].split(",")[0].strip("}\n")
        assert float(said.removeprefix("np.float64(").rstrip(")")) == pytest.approx(value, rel=1e-5)
