"""TorchScript archives: what torch loads of them, and what is made to deceive."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from raymetrics.errors import RaymetricsError, StorageError, UnsafePickle
from raymetrics.weights import torchscript_tensors
from raymetrics.weights.state_dict import read_state
from raymetrics.weights.torchscript_network import load_torchscript

Change = Callable[[str], str]


class Inner(nn.Module):
    """Parameters, buffers of either kind, and attributes that are no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6)[1:, ::2].half())
        self.register_buffer("count", torch.tensor(5))
        self.register_buffer("passing", torch.rand(2), persistent=False)
        self.other = torch.full((2,), 7.0)
        self.sizes = [1, 2]
        self.names = {"a": 1.5}

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight.sum() + self.other.sum() + self.names["a"] + self.sizes[0]


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()
        self.norms = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.again = self.norms[0]  # the same weights by another name
        self.text_projection = nn.Parameter(torch.randn(2, 3).double())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.norms(x[None, :, None, None]).sum() + self.again.weight.sum()


class Restores(nn.Module):
    """Has a program that runs when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        torch.save(self.weight, "written-by-the-network")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Writes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "written-by-the-network")
        return x


def saved(network: nn.Module, path: Path, traced: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the format is deprecated
        network = network.eval()
        program = torch.jit.trace(network, torch.ones(3)) if traced else torch.jit.script(network)
        torch.jit.save(program, str(path))
    return path


def state_dict(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(str(path)).state_dict()


def edited(path: Path, change: Change) -> Path:
    """The archive with its programs changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, change(data.decode()) if name.endswith(".py") else data)
    path.write_bytes(buffer.getvalue())
    return path


def without_buffers(program: str) -> str:
    return re.sub(r"  __buffers__ = .*\n", "", program)


@pytest.mark.parametrize("change", [str, without_buffers])
@pytest.mark.parametrize("traced", [False, True])
def test_the_tensors_are_those_of_torch(tmp_path: Path, traced: bool, change: Change) -> None:
    torch.manual_seed(1)
    path = edited(saved(Outer(), tmp_path / "a.pt", traced), change)
    expected, found = state_dict(path), torchscript_tensors.read_torchscript_tensors(path)
    assert len(found) > 5
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert all(x.dtype != torch.float16 for x in read_state(path).values())


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = saved(nn.Linear(3, 5).bfloat16(), tmp_path / "a.pt")
    found = torchscript_tensors.read_torchscript_tensors(path)
    assert {name: x.float() for name, x in state_dict(path).items()}.keys() == found.keys()
    assert all(torch.equal(found[name], x.float()) for name, x in state_dict(path).items())


def test_reading_weights_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(Restores(), tmp_path / "a.pt")
    state_dict(path)
    (tmp_path / "written-by-the-network").unlink()  # torch runs it
    with pytest.raises(UnsafePickle, match="a state for PickledObject"):
        read_state(path)
    writes = saved(Writes(), tmp_path / "b.pt")
    assert read_state(writes) == {}
    with pytest.raises(UnsafePickle, match="a.pt has __setstate__"):
        load_torchscript(path, "a.pt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt", "b.pt"]


@pytest.mark.parametrize(
    "call",
    [
        "torch.save (",
        "torch. save(",
        "torch.\\\n    save(",
        "ops.aten.save(",
        'getattr(torch, "save")(',
        'getattr(torch, "\\163ave")(',
        'getattr(torch, "sa" "ve")(',
        "getattr(torch, 'sa\\166e')(",
        'getattr (torch, "sa\\166e")(',
    ],
)
def test_other_ways_to_write_a_call(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = edited(
        saved(Writes(), tmp_path / "a.pt"), lambda text: text.replace("torch.save(", call)
    )
    with pytest.raises((UnsafePickle, StorageError), match="calls aten::save|cannot be loaded"):
        load_torchscript(path, "a.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def twice(path: Path, other: str) -> Path:
    """A second program under that name."""
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(other, "class Writes(Module): pass")
    return path


@pytest.mark.parametrize("end", ["/data.pkl", ".py"])
@pytest.mark.parametrize("written", [str, str.upper])
def test_names_that_are_twice(tmp_path: Path, end: str, written: Change) -> None:
    path = saved(Writes(), tmp_path / "a.pt")
    with zipfile.ZipFile(path) as file:
        name = next(name for name in file.namelist() if name.endswith(end))
    twice(path, written(name))
    with pytest.raises(StorageError, match="the same name twice in the zip"):
        load_torchscript(path, "a.pt")
    with pytest.raises(RaymetricsError, match="the same name twice in the zip"):
        read_state(path)


def test_a_zip_before_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's reader corrects the places in it, torch's takes them as they are."""
    monkeypatch.chdir(tmp_path)
    harmless = saved(Inner(), tmp_path / "a.pt").read_bytes()
    data = saved(Writes(), tmp_path / "b.pt").read_bytes() + harmless
    network = load_torchscript(data, "both")
    network(torch.zeros(2))
    assert not (tmp_path / "written-by-the-network").exists()


def test_what_would_take_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(Outer(), tmp_path / "a.pt")
    monkeypatch.setattr("raymetrics.safe_pickle.torch_zip.MAX_COMPRESSED_BYTES", 100)
    with pytest.raises(StorageError, match="compressed bytes, expected 100 at most"):
        load_torchscript(path, "a.pt")
    with pytest.raises(RaymetricsError, match="compressed bytes, expected 100 at most"):
        read_state(path)
