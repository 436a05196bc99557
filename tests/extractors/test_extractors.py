"""The extractors on real pictures, and their weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
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


@pytest.fixture(scope="module")
def efficientnet():
    return make_extractor("efficientnet-lite0", CPU)


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


def test_digit_classifier_on_digits_it_never_saw() -> None:
    digits = Mnist()
    held_out = np.flatnonzero((np.arange(5000) // 10) % 5 == 4)
    logits = make_extractor("digits", CPU)(digits(held_out))["logits"]
    assert (logits.argmax(axis=1) == digits.labels(held_out)).mean() > 0.97


@pytest.mark.parametrize("name", CONVENTIONS)
def test_resizing_keeps_a_constant_and_the_range(name) -> None:
    grey = torch.full((1, 3, 17, 23), 99.0)
    assert (resize(grey, 32, name) - 99).abs().max() < 1e-4
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 17, 23))).float()
    out = resize(noise, 32, name)
    assert out.shape == (1, 3, 32, 43 if name == "shorter-side" else 32)
    beyond = 60 if name.startswith("torch-bicubic") else 0  # those are not cut to the range
    assert out.min() >= -beyond
    assert out.max() <= 255 + beyond


def shallow_transformer() -> Extractor:
    a = replace(dinov2.VIT_S_14, build=partial(dinov2.DinoV2, "vit_small_patch14_dinov2", depth=2))
    return build_extractor(a, Options.parse("untrained-dinov2-vit-s-14"), CPU)


@pytest.mark.parametrize(
    "name",
    ["untrained-inception?columns=pre_logits,logits,logits_unbiased,spatial",
     "efficientnet-lite0", "digits", "dinov2"],
)  # fmt: skip
def test_an_image_does_not_see_its_company(name: str, rng) -> None:
    extractor = shallow_transformer() if name == "dinov2" else make_extractor(name, CPU)
    first, image, third = images = rng.integers(0, 256, (3, 3, 40, 56), np.uint8)
    among_others = extractor(np.stack([255 - third, image, first // 2]))
    in_a_larger_batch = extractor(np.stack([third, third, first, image]))
    alone = extractor(image[None])
    for column, values in extractor(images).items():
        scale = np.abs(values[1]).max()
        assert np.abs(values[0] - values[1]).max() > 1e-2 * scale
        for actual in (among_others[column][1], in_a_larger_batch[column][3], alone[column][0]):
            assert np.abs(actual - values[1]).max() < 1e-5 * scale


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
