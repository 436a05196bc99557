"""TorchScript archives as sources, and the files that look like them."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raymetrics.errors import SampleRangeError, SourceError, StorageError, UnsafePickle
from raymetrics.generators import LatentGenerator, open_source
from raymetrics.generators.base import seeded_normals
from raymetrics.generators.torchscript import TorchScript
from raymetrics.generators.uint8_rules import nvidia

CPU = torch.device("cpu")


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3 * 64)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)).reshape(-1, 3, 8, 8)


class Whole(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(self.layer(z)) * 255).to(torch.uint8).reshape(-1, 3, 8, 8)


class Half(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return (z[:, :3] / 4).to(torch.bfloat16).reshape(-1, 3, 1, 1)


class Logarithm(Painter):
    """Of z, which is negative at some ids; at empty places of a block z and the image are 0 / 0."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.log(z[:, :1] / z[:, :1].abs()).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)


class Pair(Painter):
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z, z


class Grey(Painter):
    def forward(self, z: Tensor) -> Tensor:
        return z.reshape(-1, 1, 2, 2)


class Writer(Painter):
    def forward(self, z: Tensor) -> Tensor:
        torch.save(z, "written-by-the-network")
        return z


def saved(network: nn.Module, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated")
        torch.jit.save(torch.jit.script(network.eval()), str(path))
    return str(path)


@pytest.mark.parametrize(
    ("kind", "rule"), [(Painter, nvidia), (Whole, lambda images: images)], ids=["float", "uint8"]
)
def test_it_makes_the_images_of_the_module(
    kind: type[Painter],
    rule: Callable[[Tensor], Tensor],
    tmp_path: Path,
    device: torch.device,
) -> None:
    torch.manual_seed(1)
    network = kind()
    generator = TorchScript(saved(network, tmp_path / "painter.ts"), device, z="4")
    ids = np.array([107, 3, 16, 2, 1000])
    images = generator(ids)
    assert (images.dtype, images.shape) == (np.uint8, (5, 3, 8, 8))
    with torch.inference_mode():
        expected = rule(network(torch.from_numpy(seeded_normals(ids, 4)))).numpy()
    assert np.abs(images.astype(int) - expected.astype(int)).max() <= 1
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], images[i])
    assert (generator.name, generator.length, generator.labels(ids)) == ("painter", None, None)
    assert isinstance(generator, LatentGenerator)
    first = np.arange(16)
    w = generator.map(generator.draw(first), None)
    np.testing.assert_array_equal(generator.synthesize(w), generator(first))


def test_half_precision_becomes_bytes_in_float32(tmp_path: Path) -> None:
    ids = np.arange(100)
    images = TorchScript(saved(Half(), tmp_path / "half.ts"), CPU, 4)(ids)
    halves = Half()(torch.from_numpy(seeded_normals(ids, 4))).double()
    np.testing.assert_allclose(images, (halves * 127.5 + 127.5).clamp(0, 255), atol=0.5)


def test_numbers_that_are_not_finite(tmp_path: Path, device: torch.device) -> None:
    generator = TorchScript(saved(Logarithm(), tmp_path / "log.ts"), device, 4)
    positive = seeded_normals(np.arange(40), 4)[:, 0] > 0
    fine, wrong = np.flatnonzero(positive), np.flatnonzero(~positive)
    assert (generator(fine) == 128).all()
    ids = np.concatenate([fine, wrong[::-1]])
    with pytest.raises(SourceError, match=rf"log\.ts gave NaN or infinity for sample {wrong[-1]},"):
        generator(ids)


@pytest.mark.parametrize("z", ["0", "-3"])
def test_a_z_of_no_numbers(z: str, tmp_path: Path) -> None:
    path = saved(Painter(), tmp_path / "x.ts")
    with pytest.raises(SourceError, match=f"cannot open source .*z is {z}, .* at least 1"):
        open_source(f"{path}?z={z}", CPU)


def test_the_spec_covers_the_file_and_the_size_of_z(tmp_path: Path) -> None:
    torch.manual_seed(2)
    a, b = (saved(Painter(), tmp_path / f"{name}.ts") for name in "ab")
    specs = [TorchScript(a, CPU, 4).spec, TorchScript(b, CPU, 4).spec, TorchScript(a, CPU, 5).spec]
    assert specs[0] == TorchScript(a, CPU, "4").spec
    assert specs[0] not in specs[1:]


@pytest.mark.parametrize(
    ("kind", "z", "what"),
    [
        (Painter, 5, r"failed on z float32 \[16, 5\]: .*given as \?z=128"),
        (Pair, 4, r"gave tuple for 16 samples, expected .*\[16, 3, height, width\]"),
        (Grey, 4, r"gave torch\.float32 \[16, 1, 2, 2\] for 16 samples"),
    ],
)
def test_what_is_no_generator(kind: type[Painter], z: int, what: str, tmp_path: Path) -> None:
    generator = TorchScript(saved(kind(), tmp_path / "x.ts"), CPU, z)
    with pytest.raises(SourceError, match=what):
        generator(np.arange(2))
    with pytest.raises(SampleRangeError):
        generator(np.array([2**32]))


def exported() -> bytes:
    """As torch.export.save writes it, by the names of its parts; making one takes half a minute."""
    return zipped("x/models/model.json", "x/archive_format", "x/data/sample_inputs/model.pt")


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(Painter().state_dict(), buffer)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "nothing")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "what"),
    [
        (exported, UnsafePickle, "an archive of torch.export, which executes Python.*torch.jit"),
        (pickled, UnsafePickle, "holds no TorchScript: torch.save's files.*executes none"),
        (lambda: zipped("x/code/__torch__.py"), UnsafePickle, "has TorchScript's format 0"),
        (lambda: b"text", StorageError, "is no TorchScript: File is not a zip file"),
    ],
)
def test_files_that_are_refused(
    content: Callable[[], bytes], error: type[Exception], what: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content())
    with pytest.raises(error, match=what):
        TorchScript(str(path), CPU)


def test_a_program_that_writes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(Writer(), tmp_path / "writer.ts")
    with pytest.raises(UnsafePickle, match=r"writer\.ts calls aten::save, which"):
        TorchScript(path, CPU, 4)
    assert [file.name for file in tmp_path.iterdir()] == ["writer.ts"]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*nothing\.ts: FileNotFoundError"):
        TorchScript(str(tmp_path / "nothing.ts"), CPU)
    with pytest.raises(SourceError, match="cannot read nowhere://x.ts"):
        TorchScript("nowhere://x.ts", CPU)
