"""FastGAN against the same network of torch's own layers, which its pickles are made of."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import fastgan_pickles
import numpy as np
import nvidia_pickles
import pytest
import torch
from fake_cuda import CUDA, copies_to_the_host, fake_cuda, to_fake_cuda
from fastgan_pickles import Generator
from torch import nn

from raymetrics.errors import SourceError, StorageError, UnsafePickle
from raymetrics.generators import open_source
from raymetrics.generators.base import require_latent_generator
from raymetrics.generators.fastgan import FastGAN
from raymetrics.generators.latents import w_estimation
from raymetrics.studies.open_sides import names_statistics

CPU = torch.device("cpu")
Z = 8
ALL_LARGE = (8, 16, 32, 64, 128, 256)


@pytest.fixture(autouse=True)
def _fixed_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as in a worker
    torch.manual_seed(7)


def saved(folder: Path, network: Any, name: str = "g.pkl") -> str:
    """Write the file of a network as its program does, which pickles all of its training."""
    other = Generator(width=2)
    content = {"G": other, "D": nn.Sequential(other.synthesis.init), "G_ema": network}
    content |= {"training_set_kwargs": {"path": "x", "resolution": 128}}
    content |= {"progress": {"cur_nimg": torch.LongTensor([5]), "best_fid": 9999}}
    return written(folder / name, fastgan_pickles.dumps(content))


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def random_network(*args: Any, **kwargs: Any) -> Generator:
    return Generator(*args, **kwargs).eval()


def paint(
    network: Generator, generator: FastGAN, ids: np.ndarray, label: int | None = None
) -> np.ndarray:
    """Compute images [n, c, h, w] by torch's layers in float64, with the generator's noise."""
    noises = generator._noises(torch.from_numpy(ids).to(generator.device))
    with_noise = [r > 0 for r in generator.network.noise_resolutions()]
    fastgan_pickles.noises = (
        None if noise is None else noise.double().cpu()
        for noise, has_noise in zip(noises, with_noise, strict=True)
        if has_noise
    )
    z = np.concatenate([np.random.RandomState(k).randn(1, Z) for k in ids])
    with torch.inference_mode():
        precise = copy.deepcopy(network).double()
        return precise.synthesis(torch.from_numpy(z.astype(np.float32)).double(), label).numpy()


def floats(generator: FastGAN, ids: np.ndarray) -> np.ndarray:
    """Compute the images before they are rounded, [n, c, h, w]."""
    with torch.inference_mode():
        w = torch.from_numpy(w_of(generator, ids)).to(generator.device)
        noises = generator._noises(torch.from_numpy(ids).to(generator.device))
        return generator.network(w, noises).cpu().numpy()


def w_of(generator: FastGAN, ids: np.ndarray) -> np.ndarray:
    return generator.map(generator.draw(ids), generator.labels(ids))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ({}, {}),
        ({"large": ALL_LARGE}, {"noise": "const"}),
        ({"large": ()}, {}),
        ({"resolution": 256, "large": ALL_LARGE, "width": 2}, {"noise": "none"}),
        ({"classes": 3, "rows": 5}, {"label": "2"}),
        ({"classes": 3, "rows": 3, "large": ALL_LARGE, "colors": 1}, {"label": "1"}),
    ],
)
def test_images_equal_those_of_torchs_layers(
    shape: dict[str, Any], options: dict[str, str], tmp_path: Path, device: torch.device
) -> None:
    network = random_network(**shape)
    generator = FastGAN(saved(tmp_path, network), device, **options)
    ids = np.array([107, 2**31])
    label = int(options["label"]) if "label" in options else None
    expected = paint(network, generator, ids, label)
    tolerance = 1e-5 * expected.std()
    np.testing.assert_allclose(floats(generator, ids), expected, atol=tolerance)
    assert np.abs(expected[0] - expected[1]).max() > 100 * tolerance
    images = generator(ids)
    assert (images.dtype, images.shape) == (np.uint8, (2, 3, *expected.shape[2:]))
    rounded = np.clip(expected * 127.5 + 128, 0, 255)
    assert np.abs(images - rounded + 0.5).max() < 0.51


def test_large_images(tmp_path: Path) -> None:
    """The last block has no excitation."""
    network, resolution = random_network(1024, width=8), 1024
    generator, ids = FastGAN(saved(tmp_path, network), CPU, block=1), np.array([107])
    expected = paint(network, generator, ids)
    assert generator(ids).shape == (1, 3, resolution, resolution)
    np.testing.assert_allclose(floats(generator, ids), expected, atol=1e-5 * expected.std())


def test_the_same_network_of_a_persistent_class(tmp_path: Path) -> None:
    """As in programs that give NVIDIA's pickling to the class."""
    network = random_network()
    plain, ids = FastGAN(saved(tmp_path, network), CPU), np.arange(3)
    buffers = ("running_mean", "running_var", "weight_u", "weight_v", "num_batches_tracked")
    about: dict[str, dict[str, Any]] = {
        "": {"c_dim": 0, "img_resolution": 128},
        "synthesis": {"img_resolution": 128, "class": "FastganSynthesis"},
    }
    state = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    written_network = nvidia_pickles.network("Generator", state, buffers, about)
    data = nvidia_pickles.dumps({"G_ema": written_network})
    source = open_source(written(tmp_path / "h.pkl", data), CPU)
    np.testing.assert_array_equal(source(ids), plain(ids))


def test_an_image_depends_on_its_id_alone(tmp_path: Path, device: torch.device) -> None:
    path = saved(tmp_path, random_network(classes=3, rows=3, large=ALL_LARGE, width=2))
    ids = np.array([107, 3, 16, 17, 1000, 2])
    for options in ({}, {"noise": "const", "label": "2"}):
        generator = FastGAN(path, device, **options, block="4")
        together = generator(ids)
        for i, k in enumerate(ids):
            np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
        assert len({image.tobytes() for image in together}) == len(ids)
        np.testing.assert_array_equal(FastGAN(path, device, **options, block="4")(ids), together)
        other = FastGAN(path, device, **options, block="3")
        assert (other.block, other.spec) == (3, generator.spec)
        assert np.abs(other(ids).astype(int) - together).max() <= 1


def test_noise(tmp_path: Path) -> None:
    path, ids = saved(tmp_path, random_network()), torch.tensor([0, 5, 107])
    by_option = {
        noise: FastGAN(path, CPU, noise=noise)._noises(ids) for noise in ("random", "const", "none")
    }
    random = [noise for noise in by_option["random"] if noise is not None]
    assert [tuple(noise.shape) for noise in random] == [
        (3, 1, r, r) for r in (8, 8, 32, 32, 128, 128)
    ]
    values = torch.cat([noise.flatten(1) for noise in random], dim=1).numpy()
    assert abs(values.std() - 1) < 4 / math.sqrt(values.size)
    assert np.abs(np.corrcoef(values) - np.eye(3)).max() < 5 / math.sqrt(values.shape[1])
    for noise, constant in zip(by_option["random"], by_option["const"], strict=True):
        assert (noise is None) == (constant is None)
        if noise is not None and constant is not None:
            assert torch.equal(constant, noise[:1])
    assert by_option["none"] == [None] * len(by_option["random"])


# Latents.


def test_it_is_latent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 500)
    network = random_network(classes=3, rows=3)
    path, ids = saved(tmp_path, network), np.arange(4)
    generator = FastGAN(path, CPU, noise="const", label="all")
    w = w_of(generator, ids)
    assert (w.dtype, w.shape) == (np.float32, (4, 2 * Z))
    np.testing.assert_allclose(np.square(w[:, :Z]).mean(axis=1), 1, rtol=1e-6)
    embedded = network.synthesis.embed.weight.detach().numpy()[[0, 1, 2, 0]]
    np.testing.assert_array_equal(w[:, Z:], embedded)
    np.testing.assert_array_equal(generator.synthesize(w), generator(ids))
    text = f"{path}?noise=const&label=all&truncate="
    moved = open_source(f"{text}truncate-z:0.5", CPU)
    assert (moved(ids) != generator(ids)).any()
    mean = open_source(f"{text}interpolate-w:0", CPU)(ids)
    np.testing.assert_array_equal(mean[0], mean[3])  # of one class
    with pytest.raises(SourceError, match="normalises z, so that moving it"):
        open_source(f"{text}interpolate-z:0.5", CPU)
    with pytest.raises(SourceError, match="g cannot be .*take noise=const or none"):
        open_source(f"{path}?truncate=truncate-z:0.5", CPU)
    without_noise = saved(tmp_path, random_network(large=()), "h.pkl")
    require_latent_generator(FastGAN(without_noise, CPU))


def test_classes(tmp_path: Path) -> None:
    path, ids = saved(tmp_path, random_network(classes=3, rows=5)), np.arange(300)
    drawn = FastGAN(path, CPU).labels(ids)
    assert drawn is not None
    assert np.bincount(drawn, minlength=3).min() > 60
    rng = np.random.RandomState(107)
    rng.randn(Z)
    assert drawn[107] == rng.randint(3)
    for label, expected in (("all", ids % 3), ("1", [1] * 300), ("2,0", [2, 0] * 150)):
        np.testing.assert_array_equal(FastGAN(path, CPU, label=label).labels(ids), expected)
    # The program's networks without classes ignore those of their images.
    plain = FastGAN(saved(tmp_path, random_network(classes=3), "h.pkl"), CPU)
    assert plain.labels(ids) is None


def test_the_spec_covers_all_that_changes_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, random_network(classes=3, rows=3))
    another = saved(tmp_path, random_network(classes=3, rows=3), "h.pkl")
    options = [{}, {"noise": "const"}, {"noise": "none"}, {"label": "1"}, {"label": "1,2"}]
    specs = [FastGAN(path, CPU, **o).spec for o in options] + [FastGAN(another, CPU).spec]
    assert all(a != b for i, a in enumerate(specs) for b in specs[:i])
    assert json.loads(json.dumps(specs[4])) == specs[4]


def test_images_and_latents_stay_on_a_gpu(tmp_path: Path) -> None:
    """Only one bit a sample comes back, whether its numbers are finite.

    The tensors have no numbers. So this does not reach the properties of a card, from which the
    block is chosen, nor the error for a sample with NaN; and it sees no bits.
    """
    path = saved(tmp_path, random_network(classes=3, rows=3))
    generator, ids = FastGAN(path, CPU, block=4), np.array([107, 3, 15, 16])
    network = copy.deepcopy(generator.network)
    with fake_cuda():
        generator.device, generator.network = CUDA, to_fake_cuda(network)  # type: ignore[assignment]
        with copies_to_the_host() as copies:
            images = generator.tensors(ids)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (4, 3, 128, 128)
        assert copies == [(torch.bool, (4,))]


# What is refused.


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("noise=loud", "noise is 'loud', expected one of random, const, none"),
        ("label=0", "label is 0, the network has 0 classes"),
        ("block=0", "block is 0, expected how many images, from 1 on"),
        ("psi=0.7", "has no option 'psi'"),
    ],
)
def test_options(options: str, what: str, tmp_path: Path) -> None:
    path = saved(tmp_path, random_network())
    with pytest.raises(SourceError, match=what):
        open_source(f"{path}?{options}", CPU)


def altered(**changes: Any) -> Generator:
    """Return a network in which submodules of the synthesis are others, or attributes."""
    network = random_network()
    for name, value in changes.items():
        setattr(network.synthesis, name, value)
    return network


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lambda: [1, random_network()], "it holds list"),
        (lambda: {"G": random_network(), "D": 1}, "it holds G, D"),
        (lambda: {"G_ema": random_network().synthesis}, "KeyError: 'synthesis'"),
        (lambda: {"G_ema": altered(img_resolution=64)}, "its resolution is 64, expected one of"),
        (lambda: {"G_ema": altered(feat_32=nn.Identity())}, "KeyError: 'feat_32'"),
        (lambda: {"G_ema": altered(se_64=nn.Identity())}, "it lacks se_64.main.1.weight"),
        (lambda: {"G_ema": altered(style=nn.Linear(2, 2))}, "has the unknown style.weight"),
        (lambda: {"G_ema": altered(to_big=nn.Conv2d(5, 3, 3))}, "has another shape of to_big"),
        (
            lambda: {"G_ema": random_network(classes=6, rows=5)},
            "6 classes, but its embedding has 5",
        ),
        (lambda: {"G_ema": random_network(colors=4)}, "makes 4 channels, expected 1 or 3"),
    ],
)
def test_other_networks(content: Any, what: str, tmp_path: Path) -> None:
    path = written(tmp_path / "g.pkl", fastgan_pickles.dumps(content()))
    with pytest.raises(SourceError, match=what) as caught:
        FastGAN(path, CPU)
    assert "g.pkl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path: Path) -> None:
    whole = fastgan_pickles.dumps({"G_ema": random_network(width=2)})
    for length in (1, 1000, len(whole) // 2, len(whole) - 1):
        path = written(tmp_path / "g.pkl", whole[:length])
        with pytest.raises((SourceError, StorageError), match=r"g\.pkl"):
            open_source(path, CPU)


def test_pickles_that_name_programs(tmp_path: Path) -> None:
    """A file that names the network's class is no more trusted than another."""
    data = pickle.dumps({"FastganSynthesis": 1, "G_ema": Path})
    with pytest.raises(UnsafePickle, match=r"g\.pkl names pathlib"):
        open_source(written(tmp_path / "g.pkl", data), CPU)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    network = random_network()
    network.synthesis.to_big.bias.data[:] = torch.nan
    with pytest.raises(SourceError, match="g gave NaN or infinity for sample 107, expected"):
        FastGAN(saved(tmp_path, network), CPU)(np.array([107, 3]))


def test_the_pickle_is_a_source_and_no_file_of_statistics(tmp_path: Path) -> None:
    path = saved(tmp_path, random_network())
    assert not names_statistics(path)
    assert isinstance(open_source(path, CPU), FastGAN)
