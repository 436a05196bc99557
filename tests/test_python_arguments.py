"""What is given in Python in the place of a text is taken where it is plain, or refused by name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import raymetrics as rm
from raymetrics.distributed.extraction.dataset_request import load_extractors
from raymetrics.errors import RaymetricsError, ShardError
from tests.conftest import write_set
from tests.helpers.sources import noise

ARRAY = np.zeros((4, 3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (noise, r"source is the object noise, expected .* write 'tests\.helpers\.sources:noise'"),
        (lambda ids: ARRAY, "put it into a file, and write 'my_file:its_name'"),
        (ARRAY, r"source is ndarray \[4, 3, 8, 8\], .*numpy.savez.*arr_0"),
        (torch.zeros(2), r"source is Tensor \[2\], expected a source as text"),
        (None, "source is NoneType None, expected a source as text"),
    ],
)
def test_a_source_that_is_no_text(source, message, tmp_path) -> None:
    with pytest.raises(RaymetricsError, match=message):
        rm.extract(source, ["digits"], str(tmp_path), "0-9")


@pytest.mark.parametrize("side", ["real", "generated"])
def test_a_side_that_is_no_set(side, tmp_path) -> None:
    other = write_set(str(tmp_path), {"logits": np.zeros((5, 2), np.float32)})
    sides = {"real": other, "generated": other, side: np.zeros((5, 2), np.float32)}
    message = rf"{side} is ndarray \[5, 2\], expected .*shard set.*in_memory.frechet_distance"
    to = str(tmp_path / "to")
    for verb in (rm.evaluate, partial(rm.realism, to=to), partial(rm.nearest, to=to)):
        with pytest.raises(ShardError, match=message):
            verb(**sides)


def test_one_name_stands_for_a_list_of_one(tmp_path) -> None:
    shards = write_set(str(tmp_path), {"pre_logits": np.zeros((5, 2), np.float32)})
    with pytest.raises(RaymetricsError, match="kid takes at least 1000 samples"):
        rm.evaluate(real=shards, generated=shards, metrics="fid,kid")
    with pytest.raises(RaymetricsError, match="extractor 'other' is not in both sets"):
        rm.evaluate(real=shards, generated=shards, metrics="fid", extractors="other")
    with pytest.raises(RaymetricsError, match="no extractor 'none'"):
        rm.extract("digits", "none", tmp_path / "set", "0-9")
    assert load_extractors(["digits"])[0] == ("digits",)


def test_paths_are_taken(tmp_path) -> None:
    with pytest.raises(RaymetricsError, match="no source .*nowhere.*or a shard set"):
        rm.evaluate(real=Path(tmp_path, "nowhere"), generated=tmp_path, metrics="fid")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_features_may_be_tensors(dtype, rng) -> None:
    real, generated = (torch.from_numpy(rng.normal(size=(40, 3))).to(dtype) for _ in range(2))
    arrays = {"real": real.float().numpy(), "generated": generated.float().numpy()}
    tensors = {"real": real.requires_grad_(), "generated": generated}
    same = 1e-6
    assert rm.frechet_distance(**tensors) == pytest.approx(rm.frechet_distance(**arrays), rel=same)
    assert rm.precision_recall(**tensors) == rm.precision_recall(**arrays)
    few = {"subset_size": 10, "subsets": 3}
    kernel = rm.kernel_distance(**arrays, **few).mean
    assert rm.kernel_distance(**tensors, **few).mean == pytest.approx(kernel, abs=1e-6)


@pytest.mark.parametrize("features", ["shards/real", ["a", "b"], [[1.0], [1.0, 2.0]], None])
def test_features_that_are_none(features) -> None:
    with pytest.raises(ShardError, match="expected an array or a tensor of numbers"):
        rm.frechet_distance(real=np.zeros((3, 2)), generated=features)
