"""The extractors on real pictures, and their weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from sklearn.datasets import load_sample_image
from torchvision.models import EfficientNet_B0_Weights

from raymetrics.errors import ExtractorError, UnsafePickle
from raymetrics.extractors import Extractor, dinov2, make_extractor
from raymetrics.extractors import efficientnet_lite as lite
from raymetrics.extractors.base import build_extractor
from raymetrics.extractors.options import Options
from raymetrics.extractors.resize import CONVENTIONS, resize
from raymetrics.generators.mnist import Mnist
from raymetrics.weights.known_files import EFFICIENTNET_LITE0
from raymetrics.weights.locate import WeightsFile, require_valid_path
from raymetrics.weights.shipped import SHIPPED_FOLDER, shipped_weights
from raymetrics.weights.state_dict import load_state_dict

CPU = torch.device("cpu")


@cache
def efficientnet_on(device: torch.device) -> Extractor:
    return make_extractor("efficientnet-lite0", device)


@pytest.fixture
def efficientnet(device: torch.device) -> Extractor:
    return efficientnet_on(device)


def top(extractor, picture: np.ndarray, count: int = 3) -> list[str]:
    """Return the names of the likeliest classes of a picture uint8 [h, w, 3]."""
    logits = extractor(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))["logits"][0]
    return [extractor.class_names[i] for i in np.argsort(-logits)[:count]]


def test_efficientnet_knows_real_photographs(efficientnet) -> None:
    assert top(efficientnet, skimage.data.coffee())[0] == "espresso"
    assert top(efficientnet, skimage.data.chelsea())[0] in {"Egyptian cat", "tabby", "tiger cat"}
    assert "daisy" in top(efficientnet, load_sample_image("flower.jpg"))
    assert "palace" in top(efficientnet, load_sample_image("china.jpg"))
    assert "missile" in top(efficientnet, skimage.data.rocket())


def test_pre_logits_are_the_mean_of_the_activations(efficientnet) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 30), np.uint8)
    actual = efficientnet.activations(images)
    assert actual.shape == (2, 1280, 7, 7)
    pre_logits = efficientnet(images)["pre_logits"]
    np.testing.assert_allclose(actual.mean(axis=(2, 3)), pre_logits, rtol=1e-5, atol=1e-6)
    with pytest.raises(ExtractorError, match="digits has no map whose mean"):
        make_extractor("digits", CPU).activations(images)


def test_efficientnet_columns(efficientnet) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 30), np.uint8)
    actual = efficientnet(images)
    assert {name: (x.dtype, x.shape) for name, x in actual.items()} == {
        "pre_logits": (np.float32, (3, 1280)),
        "logits": (np.float32, (3, 1000)),
    }
    theirs = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    assert efficientnet.class_names == tuple(theirs)
    assert efficientnet.spec["resize"] == "clean"


def test_folding_batch_norms_changes_nothing() -> None:
    plain = lite.EfficientNetLite0()
    plain.load_state_dict(lite._rename_state(load_state_dict(EFFICIENTNET_LITE0)))
    plain.eval()
    fused = lite.EfficientNetLite0()
    fused.load_state_dict(plain.state_dict())
    fused.eval().fuse()
    images = torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1)[None].float()
    x = lite._scale_pixels(resize(images, 224, "clean"))
    with torch.inference_mode():
        before, after = plain(x), fused(x)
    for name, a in before.items():
        assert (a - after[name]).abs().max() < 1e-5 * a.abs().max()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(224, 3, 2, (0, 1)), (112, 3, 1, (1, 1)), (56, 5, 2, (1, 2)), (7, 5, 1, (2, 2)),
     (7, 3, 2, (1, 1))],
)  # fmt: skip
def test_same_padding_is_tensorflow_s(size, kernel, stride, expected) -> None:
    assert lite.same_padding(size, kernel, stride) == expected
    out = (size + sum(expected) - kernel) // stride + 1
    assert out == -(-size // stride)


def test_digit_classifier_on_digits_it_never_saw(device: torch.device) -> None:
    digits = Mnist()
    held_out = np.flatnonzero((np.arange(5000) // 10) % 5 == 4)
    logits = make_extractor("digits", device)(digits(held_out))["logits"]
    assert (logits.argmax(axis=1) == digits.labels(held_out)).mean() > 0.97


@pytest.mark.parametrize("name", CONVENTIONS)
def test_resizing_keeps_a_constant_and_the_range(name, device) -> None:
    grey = torch.full((1, 3, 17, 23), 99.0, device=device)
    assert (resize(grey, 32, name) - 99).abs().max() < 1e-4
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 17, 23))).float()
    out = resize(noise.to(device), 32, name)
    assert out.shape == (1, 3, 32, 43 if name == "shorter-side" else 32)
    beyond = 60 if name.startswith("torch-bicubic") else 0  # those are not cut to the range
    assert out.min() >= -beyond
    assert out.max() <= 255 + beyond


def shallow_transformer(device: torch.device) -> Extractor:
    a = replace(dinov2.VIT_S_14, build=partial(dinov2.DinoV2, "vit_small_patch14_dinov2", depth=2))
    return build_extractor(a, Options.parse("untrained-dinov2-vit-s-14"), device)


@pytest.mark.parametrize(
    "name",
    ["untrained-inception?columns=pre_logits,logits,logits_unbiased,spatial",
     "efficientnet-lite0", "digits", "dinov2"],
)  # fmt: skip
def test_an_image_does_not_see_its_company(name: str, rng, device) -> None:
    is_transformer = name == "dinov2"
    extractor = shallow_transformer(device) if is_transformer else make_extractor(name, device)
    first, image, third = images = rng.integers(0, 256, (3, 3, 40, 56), np.uint8)
    among_others = extractor(np.stack([255 - third, image, first // 2]))
    in_a_larger_batch = extractor(np.stack([third, third, first, image]))
    alone = extractor(image[None])
    # GPUs convolve other numbers of images by other algorithms.
    tolerance = 1e-5 if device.type == "cpu" else 1e-4
    for column, values in extractor(images).items():
        scale = np.abs(values[1]).max()
        assert np.abs(values[0] - values[1]).max() > 1e-2 * scale
        for actual in (among_others[column][1], in_a_larger_batch[column][3], alone[column][0]):
            assert np.abs(actual - values[1]).max() < tolerance * scale


@pytest.mark.parametrize("name", ["efficientnet-lite0", "digits", "dinov2"])
def test_tensors_have_the_bits_of_a_call(name: str, rng, device) -> None:
    extractor = shallow_transformer(device) if name == "dinov2" else make_extractor(name, device)
    images = rng.integers(0, 256, (3, 3, 40, 56), np.uint8)
    on_device = torch.from_numpy(images).to(device)
    features = extractor.tensors(on_device)
    for column, values in extractor(images).items():
        assert (features[column].device.type, features[column].dtype) == (
            device.type, torch.float32
        )  # fmt: skip
        np.testing.assert_array_equal(features[column].cpu(), values)
    assert list(features) == list(extractor.columns)


def test_tensors_are_the_caller_s(rng, device) -> None:
    """Neither later calls nor the caller's own changes are seen by another result."""
    extractor = make_extractor("digits", device)
    batches = torch.from_numpy(rng.integers(0, 256, (4, 3, 3, 28, 28), np.uint8)).to(device)
    kept = [extractor.tensors(batch) for batch in batches]
    copies = [{name: values.clone() for name, values in features.items()} for features in kept]
    for batch, features, copied in zip(batches, kept, copies, strict=True):
        again = extractor.tensors(batch)
        for name, values in features.items():
            assert torch.equal(values, copied[name])
            values.fill_(0)  # which tensors of inference mode would refuse
            assert torch.equal(again[name], copied[name])


def test_images_on_a_device_are_checked_there(device) -> None:
    extractor = make_extractor("digits", device)
    with pytest.raises(ExtractorError, match=r"digits got float32 \[1, 3, 8, 8\], expected images"):
        extractor.tensors(torch.zeros(1, 3, 8, 8, device=device))


def compiled_digits(backend: str) -> Extractor:
    return replace(make_extractor("digits", CPU), compile_backend=backend)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::ResourceWarning")
def test_a_compiled_network_computes_the_same(backend: str, rng) -> None:
    """The backend "eager" only records the network, which takes no C++ compiler."""
    images = rng.integers(0, 256, (3, 3, 28, 28), np.uint8)
    plain, compiled = make_extractor("digits", CPU), compiled_digits(backend)
    for column, values in plain(images).items():
        actual = compiled(images)[column]
        assert np.abs(actual - values).max() < 1e-5 * np.abs(values).max()


def test_compiling_is_in_the_spec() -> None:
    plain, compiled = (make_extractor(f"digits?compile={c}", CPU) for c in ("no", "yes"))
    assert plain.spec == make_extractor("digits", CPU).spec
    assert compiled.spec == {**plain.spec, "compile": True}
    assert (plain.compile_backend, compiled.compile_backend) == (None, "inductor")
    with pytest.raises(ExtractorError, match="digits has no compile 'maybe'; there are yes, no"):
        make_extractor("digits?compile=maybe", CPU)


def test_a_graph_is_an_option_that_changes_no_spec() -> None:
    with_graph, without = (make_extractor(f"digits?graph={g}", CPU) for g in ("yes", "no"))
    assert (with_graph.graph, without.graph) == (True, False)
    assert with_graph.spec == without.spec


def test_unknown_extractor() -> None:
    with pytest.raises(ExtractorError, match="no extractor 'resnet'; there are efficientnet-lite0"):
        make_extractor("resnet", CPU)


def test_weights_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    wrong = WeightsFile("weights.safetensors", "0" * 64, lambda: file)
    with pytest.raises(ExtractorError, match="not found at"):
        require_valid_path(wrong)
    file.write_bytes(b"other")
    with pytest.raises(ExtractorError, match=r"SHA-256 d9298a10.*expected 000000"):
        require_valid_path(wrong)


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    file = tmp_path / "evil.pth"
    torch.save({"x": Evil()}, file)
    import hashlib

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(
        UnsafePickle, match="evil.pth names __builtin__.getattr, and raymetrics executes no"
    ):
        load_state_dict(WeightsFile("evil.pth", digest, lambda: file))
    assert not (tmp_path / "executed").exists()


def test_shipped_weights_have_their_digests_and_are_small() -> None:
    files = sorted(SHIPPED_FOLDER.glob("*.safetensors"))
    assert len([f for f in files if f.name.startswith("digits-generator")]) >= 7
    for file in files:
        assert require_valid_path(shipped_weights(file.name)) == file
        assert file.stat().st_size < 2_000_000
