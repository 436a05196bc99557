"""Extractors as users write them: files of networks, and callables."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raymetrics.errors import ExtractorError
from raymetrics.extractors import make_extractor
from raymetrics.extractors.trial import try_columns

CPU = torch.device("cpu")


class Range(nn.Module):
    """The least and the greatest value of every image."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.float().flatten(1)
        return torch.stack([flat.min(1)[0], flat.max(1)[0]], 1)


class Size(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        side = torch.full((x.shape[0], 1), float(x.shape[3]))
        return {"side": side, "bytes": side * 0 + float(x.element_size())}


class Outputs(NamedTuple):
    low: Tensor
    high: Tensor


class Named(nn.Module):
    def forward(self, x: Tensor) -> Outputs:
        flat = x.flatten(1)
        return Outputs(flat[:, :2], flat[:, :3].half())


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x]).flatten(1)


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).int()


class Tall(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Fussy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 48
        return x.flatten(1)[:, :5]


def saved(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), str(path))
    return path


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 256, (3, 3, 20, 30), np.uint8)
    pixels[:, 0, 0, :2] = 0, 255
    return pixels


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [("unit", 0, 1), ("signed", -1, 1), ("raw", 0, 255), ("imagenet", -2.1179, 2.64)],
)
def test_a_network_gets_the_pixels_it_asks_for(scale, low, high, tmp_path, images) -> None:
    path = saved(Range(), tmp_path / "range.pt")
    extractor = make_extractor(f"{path}?size=20&scale={scale}", CPU)
    assert extractor.columns == {"features": 2}
    actual = extractor(images)["features"]
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual.min(), low, atol=0.01)
    np.testing.assert_allclose(actual.max(), high, atol=0.01)


def test_a_network_gets_the_images_as_they_are(tmp_path, images) -> None:
    path = saved(Size(), tmp_path / "size.ts")
    as_they_are = make_extractor(f"{path}?size=0", CPU)
    assert {name: set(x[:, 0]) for name, x in as_they_are(images).items()} == {
        "side": {30},
        "bytes": {1},
    }
    assert (as_they_are.spec["size"], as_they_are.spec["resize"]) == (0, "own")
    resized = make_extractor(str(path), CPU)(images)
    assert {name: set(x[:, 0]) for name, x in resized.items()} == {"side": {224}, "bytes": {4}}


def test_names_and_specs(tmp_path, images) -> None:
    path = saved(Named(), tmp_path / "my network.v2.pt")
    extractor = make_extractor(f"{path}?size=8&resize=tf1-bilinear", CPU)
    assert extractor.name == "my_network_v2"
    assert extractor.columns == {"low": 2, "high": 3}
    assert {name: x.dtype for name, x in extractor(images).items()} == dict.fromkeys(
        extractor.columns, np.float32
    )
    another = make_extractor(f"{path}?size=8&scale=raw&name=other", CPU)
    assert another.name == "other"
    different = {k for k, v in another.spec.items() if extractor.spec[k] != v}
    assert different == {"name", "resize", "scale"}
    assert extractor.file["sha256"] == extractor.spec["file_sha256"]


def test_tensors_of_a_network_file(tmp_path, images, device) -> None:
    path = saved(Range(), tmp_path / "range.pt")
    extractor = make_extractor(f"{path}?size=20", device)
    on_device = torch.from_numpy(images).to(device)
    features = extractor.tensors(on_device)["features"]
    assert (features.device.type, features.dtype) == (device.type, torch.float32)
    expected = extractor(images)["features"]
    np.testing.assert_array_equal(features.cpu(), expected)
    features.zero_()
    np.testing.assert_array_equal(extractor.tensors(on_device)["features"].cpu(), expected)


class Counter(nn.Module):
    """Returns a buffer of its own, which the next call overwrites."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1.0)
        return self.calls


def test_features_of_a_network_that_overwrites_them_stay(tmp_path, images) -> None:
    path = saved(Counter(), tmp_path / "counter.pt")
    extractor = make_extractor(f"{path}?size=2&block=2", CPU)
    first, second = (extractor.tensors(torch.from_numpy(images[:2])) for _ in range(2))
    assert (second["features"] - first["features"] == 1).all()


def test_a_network_file_runs_without_fusing(tmp_path, images) -> None:
    """torch's profiling executor fuses from the second run on, and then bits differ on a GPU."""
    extractor = make_extractor(f"{saved(Range(), tmp_path / 'range.pt')}?size=20", CPU)
    program, optimized = extractor.network, []

    def spy(x: Tensor) -> Tensor:
        optimized.append(torch._C._get_graph_executor_optimize())
        return program.network(x)

    replace(extractor, network=replace(program, network=spy))(images)
    assert optimized == [False]


def test_a_recorded_block_is_taken_and_an_option_wins(tmp_path) -> None:
    path = saved(Range(), tmp_path / "range.pt")
    recorded = {"block": 5, "layout": "channels_last"}
    with_record = make_extractor(f"{path}?size=20", CPU, numerics=recorded)
    assert with_record.numerics.as_dict() == {"block": 5, "layout": "contiguous"}
    assert make_extractor(f"{path}?size=20&block=3", CPU, numerics=recorded).block == 3
    assert make_extractor(f"{path}?size=20", CPU).block == 16


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("too large"), torch.AcceleratorError("CUDA error", 700)]
)
def test_errors_of_the_device_are_not_the_network_s(error, tmp_path, images) -> None:
    extractor = make_extractor(f"{saved(Range(), tmp_path / 'range.pt')}?size=20", CPU)

    def fail(x: Tensor) -> Tensor:
        raise error

    with pytest.raises(type(error)):
        replace(extractor, network=fail)(images)


@pytest.mark.parametrize(
    ("network", "query", "message"),
    [
        (Twice(), "size=2", r"'features' as float32 \[32, 12\] for 16 images; expected floats"),
        (Whole(), "size=2", r"gave 'features' as int32 \[16, 12\] for 16 images; expected floats"),
        (Tall(), "size=2", r"gave 'features' as float32 \[16, 3, 2, 2\] for 16 images"),
        (Fussy(), "size=47", "failed on 16 images of 47 x 47.*its input is set by size, resize"),
        (Fussy(), "size=x", "size of .* is 'x', expected a whole number"),
        (Fussy(), "weights=x", "has no option 'weights'; there are size, resize, scale"),
        (Fussy(), "scale=half", "has no scale 'half'; there are unit, signed, imagenet, raw"),
    ],
)
def test_networks_that_break_the_contract(network, query, message, tmp_path) -> None:
    path = saved(network, tmp_path / "network.pt")
    with pytest.raises(ExtractorError, match=message):
        make_extractor(f"{path}?{query}", CPU)


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        while bool((y >= 0).all()):
            y = y + x
        return y


def test_a_network_that_never_ends_is_ended(tmp_path) -> None:
    path = saved(Endless(), tmp_path / "endless.pt")
    with pytest.raises(ExtractorError, match=r"endless.pt.* gave no features within 4 s .*block=1"):
        make_extractor(f"{path}?size=2&block=1", CPU, limit=4)


def test_a_trial_in_another_process(tmp_path, images) -> None:
    path = saved(Range(), tmp_path / "range.pt")
    tried, called = (make_extractor(f"{path}?size=20", CPU, limit) for limit in (600, None))
    assert tried.columns == called.columns == {"features": 2}
    np.testing.assert_array_equal(tried(images)["features"], called(images)["features"])
    with pytest.raises(ExtractorError, match="failed on 16 images of 47 x 47.*AssertionError|47"):
        make_extractor(f"{saved(Fussy(), tmp_path / 'fussy.pt')}?size=47", CPU, limit=600)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ExtractorError, match=r"not a network that runs by itself.*\?weights=PATH"):
        make_extractor(str(path), CPU)
    (tmp_path / "other.pt2").write_bytes(b"nothing")
    with pytest.raises(ExtractorError, match="cannot be loaded by torch.export"):
        make_extractor(str(tmp_path / "other.pt2"), CPU)
    with pytest.raises(
        ExtractorError, match=r"no extractor 'gone.pt'; there are .*module:callable"
    ):
        make_extractor("gone.pt", CPU)


def test_an_exported_network_with_its_own_batch(tmp_path, images) -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(2, 3))

    path = tmp_path / "mean.pt2"
    torch.export.save(torch.export.export(Mean(), (torch.zeros(3, 3, 20, 30),)), path)
    with pytest.raises(ExtractorError, match="failed on 16 images"):
        make_extractor(f"{path}?size=20", CPU)
    square = np.ascontiguousarray(images[..., :20])
    torch.export.save(torch.export.export(Mean(), (torch.zeros(3, 3, 20, 20),)), path)
    extractor = make_extractor(f"{path}?size=20&block=3&scale=raw", CPU)
    assert extractor.block == 3
    np.testing.assert_allclose(extractor(square)["features"], square.mean(axis=(2, 3)), rtol=1e-5)


MODULE = """
import numpy as np

def mean(images):
    return images.mean(axis=(2, 3))

def nothing(images):
    return {}

def rows(images):
    return np.zeros((1, 4))

def text(images):
    return [["a"]] * len(images)

def odd_name(images):
    return {"a b": images.mean(axis=(2, 3))}

def fails(images):
    raise KeyError("layer9")

class Layer:
    block = 4
    class_names = ("cat", "dog")
    calls = 0

    def __init__(self, layer="1"):
        self.spec = {"layer": int(layer), "crop": (1, 2)}
        self.columns = {"logits": 2}

    def __call__(self, images):
        self.calls += 1
        return {"logits": np.full((len(images), 2), self.spec["layer"], np.float64)}

class Moody:
    def __call__(self, images):
        return np.zeros((len(images), 3 if images.max() == images.min() else 4))

class Still:
    pass

class Dies:
    columns = {"features": 1}

    def __init__(self):
        import os

        os._exit(3)


class Secret:
    spec = {"noise": np.zeros(3)}
    columns = {"features": 3}

    def __call__(self, images):
        return images.mean(axis=(2, 3))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_features.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "own_features.py"


def test_a_function(module, images) -> None:
    extractor = make_extractor("own_features:mean", CPU)
    assert (extractor.name, extractor.columns) == ("mean", {"features": 3})
    actual = extractor(images)["features"]
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, images.mean(axis=(2, 3)), rtol=1e-6)
    assert extractor.spec["resize"] == "own"
    assert len(extractor.spec["source_sha256"]) == 64
    assert make_extractor("own_features:mean?name=brightness", CPU).name == "brightness"


def test_a_class_with_options(module, images) -> None:
    extractor = make_extractor("own_features:Layer?layer=7&name=faces", CPU)
    assert extractor.columns == {"logits": 2}
    assert extractor.block == 4
    assert extractor.class_names == ("cat", "dog")
    assert extractor.spec["spec"] == {"layer": 7, "crop": [1, 2]}  # as it is read from a file
    assert extractor.spec["options"] == {"layer": "7"}
    assert "source_sha256" not in extractor.spec
    assert (extractor(images)["logits"] == 7).all()
    assert extractor._call.calls == 1  # its columns were told, not tried


def test_a_process_that_dies_in_the_trial(module) -> None:
    with pytest.raises(ExtractorError, match="own_features:Dies ended the process .* exit code 3;"):
        try_columns("own_features:Dies", CPU, 600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_features:nothing", "own_features:nothing gave no features; expected floats"),
        ("own_features:rows", r"gave 'features' as float64 \[1, 4\] for 16 images"),
        ("own_features:text", "gave 'features' as <U1"),
        ("own_features:odd_name", "gave an output called 'a b'; expected letters, digits"),
        ("own_features:fails", "own_features:fails failed on 16 images of 64 x 64: KeyError"),
        ("own_features:mean?layer=2", "is a function and takes no options"),
        ("own_features:Layer?depth=2", "cannot make own_features:Layer with options.*TypeError"),
        ("own_features:Still", "an object of own_features:Still cannot be called"),
        ("own_features:gone", "own_features has no 'gone', as extractor 'own_features:gone' needs"),
        ("no_such_module:x", "cannot import 'no_such_module' for extractor"),
        ("own_features:np", "own_features:np is module, expected a function or a class"),
    ],
)
def test_callables_that_break_the_contract(text, message, module) -> None:
    with pytest.raises(ExtractorError, match=message):
        make_extractor(text, CPU)


def test_a_spec_that_no_file_can_hold(module) -> None:
    extractor = make_extractor("own_features:Secret", CPU)
    with pytest.raises(ExtractorError, match="spec of own_features:Secret cannot be written as"):
        _ = extractor.spec


def test_columns_that_change(module, images) -> None:
    extractor = make_extractor("own_features:Moody", CPU)
    with pytest.raises(ExtractorError, match=r"gave columns .*4}, expected {'features': 3}"):
        extractor(images)


REFUSED = {
    "floats": (lambda x: x / 127.5 - 1, r"float64 \[3, 3, 20, 30\], expected images uint8.*127\.5"),
    "half": (lambda x: torch.from_numpy(x).half(), r"float16 \[3, 3, 20, 30\], .*from 0\.\.1"),
    "channels last": (lambda x: x.transpose(0, 2, 3, 1), "the channels come last: transpose"),
    "grey": (lambda x: x[:, :1], "repeat the grey channel"),
    "one image": (lambda x: x[0], r"uint8 \[3, 20, 30\], expected images uint8 \[n, 3, height"),
    "integers": (lambda x: x.astype(int), r"int64 \[3, 3, 20, 30\], expected images uint8"),
    "a list": (lambda x: x.tolist(), "got list, expected images uint8"),
}
KINDS = ("digits", "script", "own_features:mean")


@pytest.fixture(params=KINDS)
def any_extractor(request, module, tmp_path, device):
    path = saved(Range(), tmp_path / "range.pt")
    text = f"{path}?size=20" if request.param == "script" else request.param
    return make_extractor(text, device)


@pytest.mark.parametrize("kind", REFUSED)
def test_images_that_are_no_bytes_are_refused(kind, any_extractor, images) -> None:
    """Floats were taken for bytes: a distance of 272 in the place of 406, and a precision of 1."""
    change, message = REFUSED[kind]
    with pytest.raises(ExtractorError, match=message):
        any_extractor(change(images))


def test_images_that_cannot_be_written_to_are_taken(any_extractor, images) -> None:
    alike = np.broadcast_to(images[:1], images.shape)
    assert not alike.flags.writeable
    writable = any_extractor(alike.copy())
    for name, values in any_extractor(alike).items():
        np.testing.assert_array_equal(values, writable[name])


def test_tensors_of_bytes_are_taken(any_extractor, images, device) -> None:
    of_numpy, of_torch = any_extractor(images), any_extractor(torch.from_numpy(images).to(device))
    for name, values in of_numpy.items():
        np.testing.assert_array_equal(of_torch[name], values)


def test_an_extractor_that_ends_the_program(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "import sys\ndef f(images):\n    sys.exit(0)\nclass C:\n    columns = property(f)\n"
    (tmp_path / "ending_features.py").write_text(
        f"{text}    def __call__(self, x):\n        pass\n"
    )
    with pytest.raises(ExtractorError, match=r"failed on 16 images.*sys.exit\(0\) .*line 3"):
        make_extractor("ending_features:f", CPU)
    with pytest.raises(ExtractorError, match=r"columns of .* failed: sys.exit\(0\) .*line 3"):
        make_extractor("ending_features:C", CPU)
