"""TensorFlow's Inception-V3: against other people's networks, from every file it comes in."""

from __future__ import annotations

import io
import tarfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import pytorch_fid.inception
import skimage.data
import torch
from cleanfid.resize import build_resizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x as tensorflow,
)

from raymetrics.errors import ExtractorError, UnsafePickle
from raymetrics.extractors import (
    Extractor,
    class_names,
    inception,
    inception_weights,
    make_extractor,
)
from raymetrics.extractors.inception_weights import graph_names, read_inception
from raymetrics.extractors.resize import resize
from raymetrics.weights.locate import weights_folder
from raymetrics.weights.state_dict import StateDict, load_into_network, state_digest
from tests.helpers import nvidia_pickles
from tests.helpers.random_inception import random_inception_state
from tests.helpers.tensorflow_graphs import graph

CPU = torch.device("cpu")
TRAINED = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def state() -> StateDict:
    return random_inception_state()


@pytest.fixture(scope="module")
def no_gamma(state) -> StateDict:
    """Return the state with batch norms of scale 1, as in NVIDIA's files."""
    ones = {name: torch.ones_like(x) for name, x in state.items() if name.endswith("bn.weight")}
    return state | ones


@pytest.fixture(scope="module")
def file(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "state.pth"
    torch.save(state, path)
    return path


@cache
def inception_on(device: torch.device, file: Path) -> Extractor:
    columns = "pre_logits,logits,logits_unbiased,spatial"
    return make_extractor(f"inception?weights={file}&columns={columns}", device)


@pytest.fixture
def ours(device: torch.device, file: Path) -> Extractor:
    return inception_on(device, file)


def pixels(count: int, height: int, width: int) -> np.ndarray:
    """Coarse random shapes with noise, uint8 [n, 3, h, w]."""
    rng = np.random.default_rng(height)
    coarse = rng.uniform(0, 255, (count, 3, height // 8, width // 8)).repeat(8, 2).repeat(8, 3)
    noisy = coarse + rng.normal(0, 20, coarse.shape)
    return np.ascontiguousarray(np.pad(noisy, [(0, 0)] * 2 + [(0, 7)] * 2, "edge")[
        :, :, :height, :width
    ].clip(0, 255).astype(np.uint8))  # fmt: skip


@pytest.fixture
def tolerance(device: torch.device) -> float:
    """Of differences; GPUs convolve by other algorithms than CPUs."""
    return 1e-5 if device.type == "cpu" else 1e-4


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value."""
    assert a.shape == b.shape
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("size", [(32, 32), (299, 299), (256, 400)])
def test_outputs_are_torch_fidelity_s(ours, theirs, size, tolerance) -> None:
    images = pixels(2, *size)
    actual = ours(images)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(images))
    for name, value in zip(("pre_logits", "logits_unbiased", "logits"), expected, strict=True):
        assert difference(actual[name], value.numpy()) < tolerance


@pytest.fixture(scope="module")
def theirs(file):
    features = ["2048", "logits_unbiased", "logits"]
    return FeatureExtractorInceptionV3("theirs", features, feature_extractor_weights_path=file)


def test_maps_are_pytorch_fid_s(ours, state, monkeypatch, tolerance) -> None:
    """The map behind the pre-logits, and the first convolution of Mixed_6d, which sFID takes."""
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: state)
    network = pytorch_fid.inception.fid_inception_v3().eval()
    seen: dict[str, Tensor] = {}
    for name in ("Mixed_6d.branch1x1", "Mixed_7c"):
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output})
        )
    images = pixels(2, 64, 64)
    with torch.inference_mode():
        network(
            inception._scale_pixels(resize(torch.from_numpy(images).float(), 299, "tf1-bilinear"))
        )
    actual = ours.activations(images)
    assert difference(actual, seen["Mixed_7c"].numpy()) < tolerance
    outputs = ours(images)
    assert difference(actual.mean(axis=(2, 3)), outputs["pre_logits"]) < tolerance
    # ADM's program has images as [n, h, w, c].
    spatial = seen["Mixed_6d.branch1x1"].permute(0, 2, 3, 1).numpy()[..., :7].reshape(2, -1)
    assert spatial.shape == (2, 2023)
    assert difference(outputs["spatial"], spatial) < tolerance


def test_folding_keeps_the_outputs(state) -> None:
    network = inception.build_empty_inception().eval().requires_grad_(False)
    load_into_network(network, state, "made here")
    x = inception._scale_pixels(torch.from_numpy(pixels(1, 299, 299)).float())
    with torch.inference_mode():
        plain = network(x)
        network.fuse()
        folded = network(x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for name, value in plain.items():
        assert difference(folded[name].numpy(), value.numpy()) < 1e-5


def test_what_it_says_of_itself(ours, state, file) -> None:
    assert ours.columns == {
        "pre_logits": 2048, "logits": 1008, "logits_unbiased": 1008, "spatial": 2023
    }  # fmt: skip
    assert ours.spec["resize"] == "tf1-bilinear"
    assert ours.spec["weights_sha256"] == state_digest(state)
    assert ours.file["name"] == file.name
    assert inception.ARCHITECTURE.columns == ("pre_logits", "logits")


def test_class_names() -> None:
    names = class_names.inception_classes()
    assert len(names) == 1008
    known = {
        0: "background", 1: "kit fox", 354: "oboe", 449: "tench", 450: "goldfish",
        589: "seat belt", 817: "bow tie", 854: "mortarboard", 1000: "dumbbell",
        1001: "unused_1001", 1007: "unused_1007",
    }  # fmt: skip
    assert {i: names[i] for i in known} == known
    # By their WordNet ids the classes are in everyone else's order.
    lines = (class_names.FOLDER / "inception_classes.txt").read_text().splitlines()[1:1001]
    by_id = dict(line.split(" ", 1) for line in lines)
    assert len(by_id) == 1000
    usual = (class_names.FOLDER / "imagenet_classes.txt").read_text().splitlines()
    assert [by_id[i] for i in sorted(by_id)] == usual


def test_names_in_the_graph() -> None:
    names = graph_names()
    assert sorted(names) == sorted(
        name.removesuffix(".conv.weight")
        for name in inception.build_empty_inception().state_dict()
        if name.endswith(".conv.weight")
    )
    known = {
        "Conv2d_1a_3x3": "conv",
        "Conv2d_4a_3x3": "conv_4",
        "Mixed_5b.branch1x1": "mixed/conv",
        "Mixed_5b.branch5x5_2": "mixed/tower/conv_1",
        "Mixed_5d.branch_pool": "mixed_2/tower_2/conv",
        "Mixed_6a.branch3x3": "mixed_3/conv",
        "Mixed_6a.branch3x3dbl_3": "mixed_3/tower/conv_2",
        "Mixed_6d.branch1x1": "mixed_6/conv",
        "Mixed_6e.branch7x7dbl_5": "mixed_7/tower_1/conv_4",
        "Mixed_7a.branch3x3_2": "mixed_8/tower/conv_1",
        "Mixed_7a.branch7x7x3_4": "mixed_8/tower_1/conv_3",
        "Mixed_7b.branch3x3_2b": "mixed_9/tower/mixed/conv_1",
        "Mixed_7c.branch3x3dbl_3a": "mixed_10/tower_1/mixed/conv",
        "Mixed_7c.branch3x3dbl_2": "mixed_10/tower_1/conv_1",
    }
    assert {unit: names[unit] for unit in known} == known


def as_nvidia(state: StateDict) -> StateDict:
    """NVIDIA's names: dots, but underscores in the last two blocks; no gamma."""
    kinds = {"conv.weight": "weight", "bn.bias": "beta"}
    kinds |= {"bn.running_mean": "mean", "bn.running_var": "var"}
    renamed = {"output.weight": state["fc.weight"], "output.bias": state["fc.bias"]}
    for unit, name in graph_names().items():
        block, _, rest = name.partition("/")
        dot = "_" if block in ("mixed_9", "mixed_10") else "."
        theirs = ".".join(["layers", block, *([rest.replace("/", dot)] if rest else [])])
        renamed |= {f"{theirs}.{kind}": state[f"{unit}.{end}"] for end, kind in kinds.items()}
    return renamed


def as_graph(state: StateDict, *, scaled: bool = True) -> bytes:
    """Return the frozen graph, with some tensors encoded number by number."""
    ends = {"bn.weight": "batchnorm/gamma", "bn.bias": "batchnorm/beta"}
    ends |= {"bn.running_mean": "batchnorm/moving_mean"}
    ends |= {"bn.running_var": "batchnorm/moving_variance"}
    constants = {
        "softmax/weights": state["fc.weight"].T.numpy(),
        "softmax/biases": state["fc.bias"].numpy(),
        "Mul/y": np.array(0.0078125, np.float32),
    }
    for unit, name in graph_names().items():
        kernel = state[f"{unit}.conv.weight"].permute(2, 3, 1, 0)
        constants[f"{name}/conv2d_params"] = kernel.numpy()
        constants |= {
            f"{name}/{theirs}": state[f"{unit}.{end}"].numpy() for end, theirs in ends.items()
        }
    flags = {"scale_after_normalization": scaled}
    norms = {f"{name}/batchnorm": flags for name in graph_names().values()}
    return graph(constants, norms, as_values=("gamma", "biases"))


def archived(data: bytes) -> bytes:
    """As in inception-2015-12-05.tgz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=0) as archive:
        for name, content in (("LICENSE", b"Apache"), (inception_weights.GRAPH, data)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


class ModuleTree(nn.Module):
    """A tree of modules from tensors with dotted names, which TorchScript can hold."""

    def __init__(self, tensors: StateDict) -> None:
        super().__init__()
        inner: dict[str, StateDict] = {}
        for name, tensor in tensors.items():
            first, _, rest = name.partition(".")
            if rest:
                inner.setdefault(first, {})[rest] = tensor
            else:
                self.register_buffer(first, tensor)
        for first, inner_tensors in inner.items():
            self.add_module(first, ModuleTree(inner_tensors))

    def forward(self, x: Tensor) -> Tensor:
        return x


def save_script(tensors: StateDict, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the format is deprecated
        torch.jit.script(ModuleTree(tensors)).save(str(path))


def test_every_layout_gives_the_same_tensors(state, no_gamma, tmp_path) -> None:
    path = tmp_path / "weights"  # the name says nothing
    expected = state_digest(no_gamma)
    writers = {
        "safetensors": lambda: save_file(no_gamma, path),
        "NVIDIA's TorchScript": lambda: save_script(as_nvidia(no_gamma), path),
        "NVIDIA's pickle": lambda: path.write_bytes(
            nvidia_pickles.dumps(
                nvidia_pickles.network("InceptionV3", as_nvidia(no_gamma), ("mean", "var"))
            )
        ),
        "graph that does not scale": lambda: path.write_bytes(as_graph(state, scaled=False)),
        "TensorFlow's archive": lambda: path.write_bytes(archived(as_graph(no_gamma))),
    }
    for layout, write in writers.items():
        write()
        assert state_digest(read_inception(path)) == expected, layout
        path.unlink()


def test_layouts_with_gamma(state, tmp_path) -> None:
    old = tmp_path / "old"
    torch.save(state, old, _use_new_zipfile_serialization=False)
    whole = tmp_path / "graph"
    whole.write_bytes(as_graph(state))
    expected = state_digest(state)
    assert state_digest(read_inception(old)) == expected
    assert state_digest(read_inception(whole)) == expected


SMALL = {"layers.conv.weight": torch.zeros(2), "output.bias": torch.zeros(3)}


def small_files() -> dict[str, tuple[bytes, str]]:
    """Wrong files, and what is said of them."""
    small = io.BytesIO()
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(1)}, small)
    weights = {"conv/conv2d_params": np.zeros((3, 3, 3, 32), np.float32)}
    nvidia = nvidia_pickles.dumps(nvidia_pickles.network("InceptionV3", SMALL))
    return {
        "other": (b"not weights", "is no TensorFlow graph"),
        "empty": (b"", "graph of 0 nodes, and not that of Inception-V3"),
        "other graph": (graph({"x": np.zeros(3, np.float32)}), "graph of 2 nodes, and not that"),
        "part of the graph": (graph(weights), "471 missing: .*Conv2d_1a_3x3.bn.bias"),
        "cut archive": (archived(graph(weights))[:3000], "no archive that holds classify_image_gr"),
        "cut state": (small.getvalue()[:-100], "is damaged"),
        "part of a state": (small.getvalue(), "471 missing: .*1 misshapen: Conv2d_1a_3x3.conv"),
        "NVIDIA's other network": (nvidia, r"470 missing.*2 misshapen: Conv2d_1a_3x3"),
        "pickle of a number": (nvidia_pickles.dumps(3), "is a pickle of int; expected one of"),
    }


@pytest.mark.parametrize("kind", small_files())
def test_wrong_files(kind, tmp_path) -> None:
    path = tmp_path / "weights.bin"
    data, message = small_files()[kind]
    path.write_bytes(data)
    with pytest.raises(ExtractorError, match=message) as raised:
        make_extractor(f"inception?weights={path}", CPU)
    assert "weights.bin" in str(raised.value)


def test_nothing_is_executed(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "inception.pkl"
    path.write_bytes(nvidia_pickles.dumps({"evil": Evil()}))
    with pytest.raises(UnsafePickle):
        read_inception(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")  # theirs
@pytest.mark.parametrize("size", [(20, 31), (299, 299), (640, 480)])
def test_resize_conventions_are_other_people_s(size, device) -> None:
    images = torch.from_numpy(pixels(1, *size)).float()
    square = (299, 299)
    clean = build_resizer("clean")(images[0].permute(1, 2, 0).numpy())
    expected = {
        "tf1-bilinear": tensorflow(images, size=square, align_corners=False),
        "torch-bilinear": interpolate(images, size=square, mode="bilinear", align_corners=False),
        "clean": torch.from_numpy(clean).permute(2, 0, 1)[None],  # its weights are float64
    }
    for convention, theirs in expected.items():
        error = (resize(images.to(device), 299, convention).cpu() - theirs).abs()
        assert error.max() < (2e-2 if convention == "clean" else 1e-3), convention


@pytest.mark.weights
@pytest.mark.skipif(
    not (weights_folder() / TRAINED).is_file(), reason=f"{weights_folder() / TRAINED} is not here"
)
def test_trained_weights_know_photographs() -> None:
    trained = make_extractor(f"inception?weights={weights_folder() / TRAINED}", CPU)
    fidelity = FeatureExtractorInceptionV3(
        "trained", ["2048", "logits"], feature_extractor_weights_path=weights_folder() / TRAINED
    )
    photographs = {"coffee": {"espresso"}, "chelsea": {"Egyptian cat", "tabby", "tiger cat"}}
    for photograph, right in photographs.items():
        picture = getattr(skimage.data, photograph)().transpose(2, 0, 1)[None]
        actual = trained(np.ascontiguousarray(picture))
        expected = fidelity(torch.from_numpy(picture))
        for name, value in zip(("pre_logits", "logits"), expected, strict=True):
            assert difference(actual[name], value.numpy()) < 1e-4
        assert trained.class_names[actual["logits"].argmax()] in right
