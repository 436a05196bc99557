"""The networks with a ResNet-50, SSCD's and torchvision's, against torchvision's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision import transforms

from raymetrics.extractors import published_network
from raymetrics.extractors.resize import resize
from raymetrics.extractors.sscd import generalized_mean
from raymetrics.weights.state_dict import read_state, state_digest
from tests.extractors.test_networks import extractor_of, pictures, shaken
from tests.helpers import reference_programs
from tests.helpers.reference_programs import State, to_pillow


def relative_difference(actual: np.ndarray, expected: torch.Tensor) -> float:
    assert actual.shape == tuple(expected.shape)
    assert actual.std() > 0
    return float((torch.from_numpy(actual) - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("name", "weights"), [("resnet50", "IMAGENET1K_V2"), ("resnet50-v1", "IMAGENET1K_V1")]
)
def test_resnet50_is_torchvision_s(name: str, weights: str, device) -> None:
    """Images that are not square lose their ends, by the crop that torchvision ships."""
    state = shaken(torchvision.models.resnet50(weights=None)).state_dict()
    images = pictures(1, 240, 301)
    ours = extractor_of(published_network(name), state, "block=1", device)
    assert not [m for m in ours.network.modules() if isinstance(m, nn.BatchNorm2d)]
    actual, expected = ours(images), reference_programs.resnet50(state, images, weights)
    for column, values in expected.items():
        assert relative_difference(actual[column], values) < 2e-6
    assert relative_difference(ours.activations(images).mean((2, 3)), expected["pre_logits"]) < 2e-6
    theirs = torchvision.models.ResNet50_Weights[weights]
    assert ours.class_names == tuple(theirs.meta["categories"])
    assert [file.url for file in published_network(name).weights] == [theirs.url]


@cache
def sscd_state() -> State:
    """Tensors in the layout of `sscd_disc_mixup.torchvision.pt`."""
    network = shaken(torchvision.models.resnet50(num_classes=512))
    return {f"backbone.{name}": x for name, x in network.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "size"), [("sscd-disc-mixup", 288), ("sscd-disc-mixup-320", (320, 320))]
)
def test_sscd_is_its_authors_(name: str, size: int | tuple[int, int], device) -> None:
    """At 288 pixels images keep their shape; at 320 they are squares."""
    state, images = sscd_state(), pictures(1, 240, 301)
    ours = extractor_of(published_network(name), state, "block=1", device)
    expected = reference_programs.sscd(state, images, size)["features"]
    actual = ours(images)["features"]
    assert relative_difference(actual, expected) < 2e-6
    np.testing.assert_allclose(np.linalg.norm(actual, axis=1), 1, rtol=1e-6)


def classy_names() -> list[str]:
    """The layers of Classy Vision's ResNet-50 in their order, which is torchvision's."""
    names = ["initial_block._module.0", "initial_block._module.1"]
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            prefix = f"blocks.{stage}.block{stage}-{block}"
            names += [f"{prefix}.convolutional_block.{i}" for i in (0, 1, 3, 4, 6)]
            names.append(f"{prefix}.bn")
            names += [f"{prefix}.downsample.{i}" for i in (0, 1) if block == 0]
    return [f"backbone.{name}" for name in names] + ["embeddings.1"]


def in_classy_layout(state: State) -> State:
    """The same tensors by the names of `sscd_disc_mixup.classy.pt`."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    names = dict(zip(layers, classy_names(), strict=True))
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        renamed[f"{names[layer]}.{kind}"] = value
    return renamed


@pytest.mark.filterwarnings("ignore:`torch.jit")  # in the words of each Python
def test_the_three_files_of_sscd_hold_one_network(tmp_path: Path) -> None:
    state, rename = sscd_state(), published_network("sscd-disc-mixup").rename_state
    ours = rename(state)
    classy = rename(in_classy_layout(state))
    assert {name: id(x) for name, x in classy.items()} == {name: id(x) for name, x in ours.items()}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = reference_programs.sscd_network(state)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.normalize(self.backbone(x))

    archive = torch.jit.trace(Model().eval(), torch.zeros(1, 3, 64, 64))
    torch.jit.save(archive, str(tmp_path / "a.pt"))
    assert state_digest(rename(read_state(tmp_path / "a.pt"))) == state_digest(ours)


def test_generalized_mean_of_known_maps() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[-5.0, 0.0], [0.0, 0.0]]]])
    np.testing.assert_allclose(generalized_mean(maps), [[25 ** (1 / 3), 1e-6]], rtol=1e-6)
    constant = torch.full((1, 2, 7, 9), 0.3)
    np.testing.assert_allclose(generalized_mean(constant), [[0.3, 0.3]], rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(301, 225), (64, 64), (99, 250)])
def test_resizes_are_torchvision_s_of_pillow(height: int, width: int, rng, device) -> None:
    image = rng.integers(0, 256, (3, height, width), np.uint8)
    crops = [(256, "torchvision-v1"), (232, "torchvision-v2")]
    expected = {
        name: transforms.Compose([transforms.Resize(side), transforms.CenterCrop(224)])
        for side, name in crops
    }
    # In two steps, as the order of the axes is another one in Pillow 13.
    expected["pillow-bilinear"] = lambda x: x.resize((224, height), 2).resize((224, 224), 2)
    for name, transform in expected.items():
        x = torch.from_numpy(image[None]).float().to(device)
        ours = resize(x, 224, name)[0].cpu().numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(ours, np.asarray(transform(to_pillow(image))))
