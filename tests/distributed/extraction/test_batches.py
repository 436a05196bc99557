"""A batch on a GPU, whose tensors have no numbers: what leaves the device, and when.

Not reached: the stream and the pinned memory of `Uploader`, and the event of `Download`, which only
a device has; they are replaced by plain copies.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from raymetrics.devices.transfers import Download, Uploader
from raymetrics.distributed.extraction.batches import compute_batch, describe_batches, join_rows
from raymetrics.distributed.extraction.generate import GeneratedSamples, LocalGenerator
from raymetrics.distributed.extraction.shard_record import ShardRecord
from raymetrics.extractors import make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.shards import schema
from tests.helpers.fake_cuda import CUDA, fake_cuda, to_fake_cuda

CPU = torch.device("cpu")
TWO_NETWORKS = ["digits", "untrained-digits?name=other"]


class FixedImages(LocalGenerator):
    """Black images on a device, which are made elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        images = torch.zeros(len(sample_ids), 3, 28, 28, dtype=torch.uint8, device=self.device)
        return GeneratedSamples(sample_ids, images, None, {}, False, ("another machine",))


def move_to_fake_cuda(networks: list[NetworkExtractor]) -> list[NetworkExtractor]:
    return [replace(n, network=to_fake_cuda(n.network), device=CUDA, graph=False) for n in networks]


class CountedUploads:
    """Uploads that are counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.count += images.device.type != "cuda"
        return images.to(CUDA)


@pytest.mark.parametrize(("device", "uploads"), [(CUDA, 0), (CPU, 1)])
def test_images_are_uploaded_once_and_only_features_come_back(
    device: torch.device, uploads: int
) -> None:
    upload, downloads = CountedUploads(), []

    def begin(values: dict[str, Tensor]) -> Download:
        assert {x.device.type for x in values.values()} == {"cuda"}
        downloads.append({name: tuple(x.shape) for name, x in values.items()})
        return Download({name: x.cpu() for name, x in values.items()}, None)

    networks = [cast(NetworkExtractor, make_extractor(text, CPU)) for text in TWO_NETWORKS]
    with fake_cuda(), patch.object(Download, "begin", begin):
        compute_batch(FixedImages(device), move_to_fake_cuda(networks), upload, 0, range(20))
    assert upload.count == uploads
    assert downloads == [
        {f"{name}_{output}": (20, d) for name in ("digits", "other")
         for output, d in (("pre_logits", 64), ("logits", 10))}
    ]  # fmt: skip


def test_batches_join_to_the_rows_of_all_at_once() -> None:
    networks = [make_extractor(text, CPU) for text in TWO_NETWORKS]
    columns = [c for n in networks for c in schema.make_columns(n.name, n.columns)]
    upload, generator = Uploader(CPU), FixedImages(CPU)

    def rows(*parts: range) -> object:
        batches = [compute_batch(generator, networks, upload, 0, part) for part in parts]
        record = describe_batches(ShardRecord(0, 0, 32), batches, seconds=1e9)
        assert record.image_size == (28, 28)
        assert "another machine" in record.made_on
        assert record.seconds["generate"] + record.seconds["extract"] == pytest.approx(1e9)
        return join_rows(columns, batches)

    assert rows(range(16), range(16, 32)) == rows(range(32))


def test_a_batch_without_samples_has_no_rows() -> None:
    class Empty(FixedImages):
        def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
            nothing = super().generate(target, sample_ids[:0])
            return nothing._replace(left_out={int(k): "why" for k in sample_ids})

    batch = compute_batch(Empty(CPU), [make_extractor("digits", CPU)], Uploader(CPU), 0, range(3))
    assert join_rows((), [batch]) is None
    assert dict(describe_batches(ShardRecord(0, 0, 3), [batch], 0.0).left_out) == {
        0: "why", 1: "why", 2: "why"
    }  # fmt: skip
