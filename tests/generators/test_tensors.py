"""Images that stay on the device on which they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sources  # as a user's module, from the path that conftest adds
import torch
from fake_cuda import CUDA, copies_to_the_host, fake_cuda, to_fake_cuda
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators import Generator, open_source
from raymetrics.generators.base import generate_tensors, seeded_normals
from raymetrics.generators.latents import w_estimation
from raymetrics.generators.latents.interpolated_paths import paths_source
from raymetrics.generators.torchscript import TorchScript
from raymetrics.generators.trial import try_out
from raymetrics.generators.uint8_rules import RULES
from raymetrics.provenance import fingerprint
from tests.generators.test_torchscript import Painter, saved

CPU = torch.device("cpu")
IDS = np.array([107, 3, 64, 65, 1000, 2])


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 2000)


def paths(folder: Path, source: str) -> str:
    file = folder / "ends.parquet"
    pq.write_table(pa.table({"start": [5, 107, 3], "end": [6, 2, 64]}), file)
    return paths_source(source, str(file), 400)


class TensorSource:
    """Grey images as a tensor, whose values are the sample ids' thirds of 255, on a device.

    dtype: "uint8", or a type of floats, of which the image of 7 is not a number.
    """

    spec: ClassVar[dict[str, object]] = {}
    length = 1000
    uint8 = "unit-round"

    def __init__(self, device: str, dtype: str = "float32") -> None:
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)

    def __call__(self, sample_ids: np.ndarray) -> Tensor:
        values = torch.from_numpy(sample_ids % 4).to(self.device) / 3
        if self.dtype == torch.uint8:
            values = (values * 255).round()
        else:
            values = values.where(torch.from_numpy(sample_ids != 7).to(self.device), torch.nan)
        images = values.to(self.dtype)[:, None, None, None].expand(-1, 3, 5, 4)
        return images.requires_grad_() if images.is_floating_point() else images


class TensorFlow:
    """A latent generator whose latents and images are tensors of torch, with gradients."""

    spec: ClassVar[dict[str, object]] = {}
    uint8 = "nvidia"

    def __init__(self, device: str = "nowhere") -> None:
        torch.manual_seed(3)
        self.network = Painter().to(device)

    def draw(self, sample_ids: np.ndarray) -> Tensor:
        return torch.from_numpy(seeded_normals(sample_ids, 4))

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> Tensor:
        return self.network.layer.weight.sum() * 0 + self._move(z)

    def synthesize(self, w: np.ndarray) -> Tensor:
        return self.network(self._move(w))

    def _move(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.network.layer.weight.device)

    def __call__(self, sample_ids: np.ndarray) -> Tensor:
        return self.network(self._move(seeded_normals(sample_ids, 4)))

    def labels(self, sample_ids: np.ndarray) -> Tensor:
        return torch.from_numpy(sample_ids % 3)


SOURCES = [
    "digits", "faces", "digits?truncate=clamp:0.5", "faces?truncate=truncate-z:0.5",
    f"{__name__}:TensorSource", f"{__name__}:TensorSource?dtype=uint8", f"{__name__}:TensorFlow",
    f"{__name__}:TensorFlow?truncate=interpolate-w:0.5",
]  # fmt: skip


def assert_tensors_are_the_call(generator: Generator, device: torch.device) -> None:
    images = generate_tensors(generator, IDS)
    assert (images.device.type, images.dtype) == (device.type, torch.uint8)
    called = generator(IDS)
    assert isinstance(called, np.ndarray)
    np.testing.assert_array_equal(images.cpu().numpy(), called)
    images += 1  # a tensor as any other, that its owner may change


@pytest.mark.parametrize("source", SOURCES)
def test_tensors_are_the_images_of_a_call(source: str, device: torch.device) -> None:
    assert_tensors_are_the_call(open_source(source, device), device)


@pytest.mark.parametrize("source", ["digits", "faces?truncate=truncate-z:0.5"])
def test_paths(source: str, tmp_path: Path, device: torch.device) -> None:
    assert_tensors_are_the_call(open_source(paths(tmp_path, source), device), device)


@pytest.mark.parametrize("source", ["mnist", "sources:noise", "sources:Brightness"])
def test_arrays_become_tensors_on_the_cpu(source: str, device: torch.device) -> None:
    assert_tensors_are_the_call(open_source(source, device), CPU)


@pytest.mark.parametrize("source", ["digits", "faces", "digits?truncate=truncate-z:0.5"])
def test_images_stay_on_a_gpu(source: str) -> None:
    """Only latents of a truncation come back; the tensors have no numbers, so no bits are seen."""
    generator: Any = open_source(source, CPU)
    owner = getattr(generator, "inner", generator)
    with fake_cuda():
        owner.device, owner.network = CUDA, to_fake_cuda(owner.network)
        with copies_to_the_host() as copies:
            images = generator.tensors(IDS)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape[:2] == (6, 3)
        assert all(dtype == torch.float32 and len(shape) == 2 for dtype, shape in copies)
        assert bool(copies) == ("truncate" in source)
        assert generator(IDS).shape == images.shape


def test_torchscript_stays_on_a_gpu(tmp_path: Path) -> None:
    """With the module that was saved, as a program of TorchScript takes no tensors of this kind."""
    network: Any = Painter().requires_grad_(False)
    generator = TorchScript(saved(network, tmp_path / "painter.ts"), CPU, 4)
    with fake_cuda():
        generator.device, generator.network = CUDA, to_fake_cuda(network)  # type: ignore[assignment]
        with copies_to_the_host() as copies:
            images = generator.tensors(IDS)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (6, 3, 8, 8)
        assert copies == [(torch.bool, (6,))]


def test_a_user_s_tensors_stay_on_a_gpu() -> None:
    with fake_cuda():
        generator: Any = open_source(f"{__name__}:TensorSource", torch.device("cuda:0"))
        with copies_to_the_host() as copies:
            images = generator.tensors(IDS)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (6, 3, 5, 4)
        assert copies == [(torch.bool, (6,))]


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32", "float64"])
def test_a_user_s_tensors_become_bytes(dtype: str, device: torch.device) -> None:
    images = open_source(f"{__name__}:TensorSource?dtype={dtype}", device)(IDS)
    values = torch.from_numpy(IDS % 4) / 3
    if dtype != "uint8":
        values = values.to(getattr(torch, dtype))
    expected = RULES["unit-round"](values)
    np.testing.assert_array_equal(images[:, 1, 2, 3], expected)
    assert images.shape == (6, 3, 5, 4)


def test_a_user_s_tensors_that_are_no_images(device: torch.device) -> None:
    generator = open_source(f"{__name__}:TensorSource", device)
    with pytest.raises(SourceError, match="TensorSource gave NaN or infinity for sample 7, expec"):
        generator(np.array([3, 7]))
    what = r"TensorSource gave int32 \[2, 3, 5, 4\] for 2 sample ids, expected uint8 \[2, 3, height"
    with pytest.raises(SourceError, match=what):
        open_source(f"{__name__}:TensorSource?dtype=int32", device)(np.array([3, 4]))


def test_a_user_s_latents_may_be_tensors(device: torch.device) -> None:
    generator: Any = open_source(f"{__name__}:TensorFlow", device)
    assert generator.labels(IDS).tolist() == [2, 0, 1, 2, 1, 2]
    first = np.arange(16)
    w = generator.map(generator.draw(first), None)
    assert (type(w), w.dtype, w.shape) == (np.ndarray, np.float32, (16, 4))
    np.testing.assert_array_equal(generator.synthesize(w), generator(first))


def test_a_class_is_told_its_device_and_the_spec_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    original = TensorSource.__init__

    def record(self: TensorSource, device: str, dtype: str = "float32") -> None:
        told.append(device)
        original(self, "cpu", dtype)

    source = f"{__name__}:TensorSource"
    monkeypatch.setattr(TensorSource, "__init__", record)
    specs = [open_source(source, torch.device(name)).spec for name in ("cpu", "cuda:0", "cuda:1")]
    assert told == ["cpu", "cuda:0", "cuda:1"]
    assert specs[0]["options"] == {}
    assert len(set(map(fingerprint, specs))) == 1
    # By the trial too, which makes a second object; and what the user writes comes first.
    assert try_out(open_source(source, CPU), range(3)) == (5, 4)
    assert told[3:] == ["cpu", "cpu"]
    given = open_source(f"{source}?device=cuda:7", CPU)
    assert (told[-1], given.spec["options"]) == ("cuda:7", {"device": "cuda:7"})
    assert open_source("sources:Brightness", CPU)(IDS).shape == (6, 3, 28, 28)
    np.testing.assert_array_equal(open_source("sources:noise", CPU)(IDS), sources.noise(IDS))
