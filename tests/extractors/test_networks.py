"""Other people's networks against their own programs, with random weights in their layouts."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import skimage.data
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import interpolate
from torch_fidelity import feature_extractor_clip as fidelity_clip
from torchvision import transforms

from raymetrics.errors import ExtractorError
from raymetrics.extractors import (
    PUBLISHED_NETWORKS,
    clip,
    dinov2,
    make_extractor,
    published_network,
    vgg16,
)
from raymetrics.extractors.base import NetworkExtractor, PublishedNetwork, build_extractor
from raymetrics.extractors.options import Options
from raymetrics.extractors.resize import resize, resize_like_pillow
from raymetrics.weights.known_files import KNOWN_WEIGHTS
from raymetrics.weights.locate import WeightsFile, explain_how_to_get
from raymetrics.weights.state_dict import read_state
from raymetrics.weights.torchscript_network import is_torchscript
from tests.helpers import reference_programs
from tests.helpers.reference_programs import PEERS, State, to_pillow

CPU = torch.device("cpu")


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """Smooth noise, uint8 [count, 3, height, width]."""
    coarse = np.random.default_rng(5).integers(0, 256, (count, 3, 6, 6)).astype(np.float32)
    smooth = interpolate(torch.from_numpy(coarse), (height, width), mode="bicubic")
    return smooth.clamp(0, 255).to(torch.uint8).numpy()


def shaken(network: nn.Module) -> nn.Module:
    """Return the network with random biases and norms, in evaluation mode."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.dim() == 1:
                positive = name.endswith(("weight", "running_var"))
                tensor.copy_(torch.rand_like(tensor) + 0.5 if positive else tensor.normal_() / 9)
    return network.eval().requires_grad_(False)


def extractor_of(
    a: PublishedNetwork, state: State, query: str = "", device: torch.device = CPU
) -> NetworkExtractor:
    """Return the extractor with weights in the layout of their publisher, without a file."""
    no_file = WeightsFile("held", None, locate=lambda: Path(__file__))
    options = Options.parse(f"{a.name}?{query}")
    return build_extractor(
        replace(a, read=lambda path: dict(state), weights=(no_file,)), options, device
    )


def assert_near(actual: np.ndarray, expected: torch.Tensor | np.ndarray) -> None:
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    assert actual.std() > 0
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_inception_is_torchvision_s(device: torch.device) -> None:
    theirs = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True)
    state = shaken(theirs).state_dict()
    images = pictures(2, 48, 60)
    ours = extractor_of(published_network("inception-torchvision"), state, device=device)
    assert not [m for m in ours.network.modules() if isinstance(m, nn.BatchNorm2d)]
    actual, expected = ours(images), reference_programs.inception(state, images)
    assert_near(actual["logits"], expected["logits"])
    assert_near(actual["pre_logits"], expected["pre_logits"])
    assert_near(ours.activations(images).mean(axis=(2, 3)), expected["pre_logits"])
    assert len(ours.class_names) == 1000


def test_vgg16_is_torch_fidelity_s(device: torch.device) -> None:
    theirs = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    state = theirs.state_dict()
    images = pictures(1, 45, 60)
    ours = extractor_of(vgg16.ARCHITECTURE, state, "columns=fc2,fc2_relu,logits", device)
    actual = ours(images)
    for name, values in reference_programs.vgg16(state, images).items():
        assert_near(actual[name], values)
    assert (actual["fc2"] < 0).any()
    weight, bias = state["classifier.6.weight"], state["classifier.6.bias"]
    assert_near(actual["logits"], torch.from_numpy(actual["fc2_relu"]) @ weight.T + bias)
    # NVIDIA numbers the layers that have weights.
    layers = [name for name, m in theirs.named_modules() if isinstance(m, nn.Conv2d)]
    nvidia = {f"layers.conv{i}": name for i, name in enumerate(layers, 1)}
    nvidia |= {"layers.fc1": "classifier.0", "layers.fc2": "classifier.3"}
    nvidia |= {"layers.fc3": "classifier.6"}
    in_theirs = {
        f"{a}.{k}": state[f"{b}.{k}"] for a, b in nvidia.items() for k in ("weight", "bias")
    }
    in_ours = vgg16._rename_state({**in_theirs, "lpips0": torch.zeros(1)})
    assert {name: id(x) for name, x in in_ours.items()} == {n: id(x) for n, x in state.items()}


TEXT = ("text_projection", "positional_embedding", "logit_scale", "input_resolution")


def test_clip_is_openai_s(tmp_path: Path, device: torch.device) -> None:
    """Two blocks of the twelve."""
    visual = shaken(fidelity_clip.VisionTransformer(224, 32, 768, 2, 12, 512)).half()
    state = {f"visual.{name}": x for name, x in visual.state_dict().items()}
    text = dict.fromkeys(TEXT, torch.zeros(512, 512))
    images = pictures(2, 250, 321)
    expected = reference_programs.clip({**state, **text}, images)["features"]

    shape = replace(clip.SHAPES["clip-vit-b-32"], layers=2)
    a = replace(clip.VIT_B_32, build=lambda: clip.Clip(shape))
    floats = {name: x.float() for name, x in {**state, **text}.items()}
    ours = extractor_of(a, floats, device=device)
    assert_near(ours(images)["features"], expected)
    without_prefix = {name.removeprefix("visual."): x.float() for name, x in state.items()}
    assert extractor_of(a, without_prefix).weights_sha256 == ours.weights_sha256
    assert read_state(archive_of(visual, tmp_path)).keys() >= state.keys()
    assert build_extractor(
        a, Options.parse(f"clip-vit-b-32?weights={tmp_path / 'a.pt'}"), CPU
    ).weights_sha256 == (ours.weights_sha256)


def archive_of(visual: nn.Module, folder: Path) -> Path:
    """Write a TorchScript archive that holds its tensors as OpenAI's archives do."""

    class Archive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = visual
            self.text_projection = nn.Parameter(torch.zeros(2, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Archive(), torch.zeros(1)), str(folder / "a.pt"))
    return folder / "a.pt"


@pytest.mark.parametrize("name", clip.SHAPES)
def test_clip_s_shapes_are_open_clip_s(name: str) -> None:
    theirs = {"clip-vit-b-32": "ViT-B-32", "clip-vit-l-14": "ViT-L-14"}
    config = open_clip.get_model_config(f"{theirs.get(name, 'ViT-L-14-336')}-quickgelu")
    shape, vision = clip.SHAPES[name], config["vision_cfg"]
    assert config["quick_gelu"]
    assert (shape.size, shape.patch) == (vision["image_size"], vision["patch_size"])
    assert (shape.width, shape.layers) == (vision["width"], vision["layers"])
    assert shape.features == config["embed_dim"] == published_network(name).outputs["features"]


@pytest.mark.parametrize(("name", "depth"), [("dinov2-vit-s-14", 2), ("dinov2-vit-g-14", 1)])
def test_dinov2_is_the_textbook_s(name: str, depth: int, device: torch.device) -> None:
    theirs, features = dinov2.TIMM_NETWORKS[name]
    network = shaken(timm.create_model(theirs, img_size=224, num_classes=0, depth=depth))
    timms = network.state_dict()
    meta = {
        key.replace("fc1", "w12").replace("fc2", "w3") if "-g-" in name else key: x
        for key, x in timms.items()
    } | {"mask_token": torch.zeros(1, features)}
    images = pictures(1, 60, 48)
    a = replace(published_network(name), build=lambda: dinov2.DinoV2(theirs, depth=depth))
    ours = extractor_of(a, meta, device=device)
    assert_near(ours(images)["features"], reference_programs.dinov2(meta, images)["features"])
    assert_near(ours(images)["features"], network(reference_programs.dinov2_input(images)))
    assert extractor_of(a, timms).weights_sha256 == ours.weights_sha256


@pytest.mark.parametrize("name", dinov2.TIMM_NETWORKS)
def test_dinov2_s_shapes_are_timm_s(name: str) -> None:
    theirs, features = dinov2.TIMM_NETWORKS[name]
    with torch.device("meta"):
        assert timm.create_model(theirs).num_features == features


def test_position_embedding_is_interpolated_as_meta_s() -> None:
    embedding = torch.randn((1, 1 + 37 * 37, 3), generator=torch.Generator().manual_seed(7))
    actual = dinov2.resize_position_embedding(embedding)
    np.testing.assert_allclose(actual, reference_programs.position_embedding(embedding), atol=1e-5)
    np.testing.assert_array_equal(actual[0, 0], embedding[0, 0])
    assert dinov2.resize_position_embedding(actual) is actual
    np.testing.assert_allclose(reference_programs.position_embedding(actual), actual, rtol=1e-12)


def test_swav_is_torchvision_s_resnet(device: torch.device) -> None:
    """Images that are not square keep their shape, as in dgm-eval."""
    theirs = shaken(torchvision.models.resnet50(weights=None))
    state = {
        f"module.{name}": x for name, x in theirs.state_dict().items() if not name.startswith("fc.")
    }
    heads = {"module.projection_head.0.weight": torch.zeros(2), "module.prototypes.weight": None}
    images = pictures(2, 240, 301)
    expected = reference_programs.swav({**state, **heads}, images)["features"]
    ours = extractor_of(published_network("swav-resnet50"), {**state, **heads}, device=device)
    assert not [m for m in ours.network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert_near(ours(images)["features"], expected)
    assert_near(ours.activations(images).mean(axis=(2, 3)), expected)
    with pytest.raises(ExtractorError, match=r"not those of this network.*missing"):
        extractor_of(published_network("swav-resnet50"), dict(list(state.items())[5:]))


FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("height", "width"), [(28, 28), (64, 64), (225, 223), (300, 231), (448, 96), (7, 1000)]
)
def test_pillow_s_resize_bit_for_bit(name, height, width, rng, device) -> None:
    images = rng.integers(0, 256, (2, 3, height, width), np.uint8)
    on_device = torch.from_numpy(images).float().to(device)
    actual = resize_like_pillow(on_device, 224, 200, name).cpu().numpy()
    for image, ours in zip(images, actual, strict=True):
        # In two steps, as the order of the axes is another one in Pillow 13.
        across = to_pillow(image).resize((200, height), FILTERS[name])
        theirs = np.asarray(across.resize((200, 224), FILTERS[name]))
        np.testing.assert_array_equal(ours, theirs.transpose(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), [(301, 225), (64, 64), (99, 250), (224, 224)])
def test_conventions_of_pillow_are_torchvision_s(height, width, rng, device) -> None:
    image = rng.integers(0, 256, (3, height, width), np.uint8)
    x = torch.from_numpy(image[None]).float().to(device)
    whole = transforms.Resize(224)(to_pillow(image))
    cubic_ = transforms.Resize(224, transforms.InterpolationMode.BICUBIC)(to_pillow(image))
    expected = {"shorter-side": whole, "clip": transforms.CenterCrop(224)(cubic_)}
    for name, theirs in expected.items():
        ours = resize(x, 224, name)[0].cpu().numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(ours, np.asarray(theirs))


def test_untrained_networks_are_their_seed_s() -> None:
    images = pictures(2, 32, 32)
    shallow = partial(dinov2.DinoV2, "vit_small_patch14_dinov2", depth=2)
    a = replace(dinov2.VIT_S_14, build=shallow)
    texts = [f"untrained-dinov2-vit-s-14?seed={seed}" for seed in (1, 1, 2)]
    built = [build_extractor(a, Options.parse(text), CPU) for text in texts]
    first, again, another = built
    assert first.spec == again.spec
    assert first.weights_sha256 != another.weights_sha256
    actual = first(images)["features"]
    np.testing.assert_array_equal(actual, again(images)["features"])
    assert np.isfinite(actual).all()
    assert np.abs(actual[0] - actual[1]).max() > 0.1
    assert np.abs(actual - another(images)["features"]).max() > 0.1


def test_half_precision_is_in_the_spec_and_near(device: torch.device) -> None:
    images = pictures(4, 28, 28)
    full = make_extractor("digits", device)
    half = make_extractor("digits?precision=bfloat16", device)
    assert half.spec == {**full.spec, "precision": "bfloat16", "pooling": "float32"}
    expected, actual = full(images)["logits"], half(images)["logits"]
    assert actual.dtype == np.float32
    assert 0 < np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("library", "name", "package"),
    [("open_clip.transformer", "clip-vit-b-32", "open_clip_torch"),
     ("timm", "dinov2-vit-l-14", "timm")],
)  # fmt: skip
def test_a_library_that_is_missing(library, name, package, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtractorError, match=f"cannot be imported.*pip install {package}"):
        make_extractor(f"untrained-{name}", CPU)


def test_a_timm_that_is_older_than_the_network(monkeypatch) -> None:
    monkeypatch.setattr(timm, "is_model", lambda name: False)
    with pytest.raises(ExtractorError, match="has no network vit_large.*pip install 'timm>=1.0.24"):
        make_extractor("untrained-dinov3-vit-l-16", CPU)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = archive_of(nn.Linear(1, 1), tmp_path)
    data = path.read_bytes()
    assert is_torchscript(path)
    path.write_bytes(data.replace(b"\x80\x02", b"\x80\x09"))
    with pytest.raises(ExtractorError, match="cannot be read .*data.pkl"):
        read_state(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ExtractorError, match="is damaged"):
        read_state(path)


def test_what_is_known_of_files_fits_the_networks() -> None:
    for name in set(PUBLISHED_NETWORKS) & set(KNOWN_WEIGHTS):
        assert published_network(name).weights == KNOWN_WEIGHTS[name]
    for weights in {w for known in KNOWN_WEIGHTS.values() for w in known if w.sha256}:
        assert len(weights.sha256) == 64
        if "download.pytorch.org" in (weights.url or ""):  # its names end with the digest
            assert weights.name.rpartition("-")[2] == f"{weights.sha256[:8]}.pth"


def tensors_of(path: Path) -> State:
    """Read the tensors of a file with torch and safetensors alone."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if is_torchscript(path):
        return torch.jit.load(path, map_location=CPU).state_dict()
    return torch.load(path, map_location=CPU, weights_only=True)


def nvidia_s_vgg16(path: Path, images: np.ndarray) -> dict[str, torch.Tensor]:
    """Run the network in NVIDIA's own archive."""
    network = torch.jit.load(path, map_location=CPU).eval()
    actual = network(torch.from_numpy(images), resize_images=True, return_features=True)
    return {"fc2_relu": actual.detach()}


def authors_sscd(path: Path, images: np.ndarray) -> dict[str, torch.Tensor]:
    """Run the network in the authors' own archive, on the squares that they recommend."""
    network = torch.jit.load(path, map_location=CPU).eval()
    squares = torch.from_numpy(images).float()
    scaled = transforms.functional.normalize(
        resize(squares, 320, "pillow-bilinear") / 255,
        reference_programs.MEAN,
        reference_programs.DEVIATION,
    )
    return {"features": network(scaled).detach()}


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is")  # in the words of each Python
@pytest.mark.parametrize("name", PEERS)
def test_trained_weights_give_what_their_peer_s_network_gives(name: str) -> None:
    here = [weights for weights in KNOWN_WEIGHTS[name] if weights.path.is_file()]
    if not here:
        missing = KNOWN_WEIGHTS[name][0]
        pytest.skip(f"{missing.path} is not here: {explain_how_to_get(missing)}")
    path = here[0].path
    photographs = (skimage.data.coffee(), skimage.data.chelsea())
    images = np.stack([x[:300, :450].transpose(2, 0, 1) for x in photographs])
    actual = make_extractor(f"{name}?precision=float32", CPU)(images)
    if path.name == "vgg16.pt":
        expected = nvidia_s_vgg16(path, images)
    elif path.name == "sscd_disc_mixup.torchscript.pt":
        expected = authors_sscd(path, images)
    else:
        expected = PEERS[name](tensors_of(path), images)
    for column, values in actual.items():
        assert_near(values, expected[column])
