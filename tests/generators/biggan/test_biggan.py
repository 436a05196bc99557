"""BigGAN-deep against a textbook version of its file: one sample at a time, in float64."""

from __future__ import annotations

import copy
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_cuda import CUDA, copies_to_the_host, fake_cuda, to_fake_cuda
from scipy.stats import truncnorm
from torch.nn import functional

from raymetrics.errors import SampleRangeError, SourceError, StorageError, UnsafePickle
from raymetrics.generators import open_source
from raymetrics.generators.base import require_latent_generator
from raymetrics.generators.biggan import BigGAN
from raymetrics.generators.biggan.generator import truncated_normals
from raymetrics.generators.biggan.network import neighbors_on_grid
from raymetrics.generators.latents import w_estimation

CPU = torch.device("cpu")
Z, CLASSES, STATISTICS, EPSILON = 8, 6, 51, 1e-4
WIDTH, ATTENTION = 4, 2
LAYERS = [[False, 16, 8], [True, 8, 4], [False, 4, 2], [True, 2, 1]]
CONFIG = {
    "output_dim": 16, "z_dim": Z, "class_embed_dim": Z, "channel_width": WIDTH,
    "num_classes": CLASSES, "layers": LAYERS, "attention_layer_position": ATTENTION,
    "eps": EPSILON, "n_stats": STATISTICS,
}  # fmt: skip
State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _true_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as a worker does."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


# A file with random tensors, under the names of the PyTorch version.


def random_state() -> State:
    torch.manual_seed(5)
    state: State = {"embeddings.weight": torch.randn(Z, CLASSES)}

    def add(name: str, *shape: int, bias: bool = True) -> None:
        state[f"{name}.weight_orig"] = weight = torch.randn(*shape)
        u = torch.randn(shape[0])
        for _ in range(3):  # near the norm, and not it
            v = functional.normalize(weight.flatten(1).T @ u, dim=0)
            u = functional.normalize(weight.flatten(1) @ v, dim=0)
        state.update({f"{name}.weight_u": u, f"{name}.weight_v": v})
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0])

    def add_norm(name: str, channels: int) -> None:
        state[f"{name}.running_means"] = torch.randn(STATISTICS, channels)
        state[f"{name}.running_vars"] = torch.rand(STATISTICS, channels) + 0.5

    add("generator.gen_z", 16 * 16 * WIDTH, 2 * Z)
    for i, (_, channels_in, channels_out) in enumerate(LAYERS):
        name = f"generator.layers.{i + (i >= ATTENTION)}"
        inner = WIDTH * channels_in // 4
        widths = [WIDTH * channels_in, inner, inner, inner, WIDTH * channels_out]
        for j, size in enumerate((1, 3, 3, 1)):
            add_norm(f"{name}.bn_{j}", widths[j])
            for part in ("scale", "offset"):
                add(f"{name}.bn_{j}.{part}", widths[j], 2 * Z, bias=False)
            add(f"{name}.conv_{j}", widths[j + 1], widths[j], size, size)
    name, channels = f"generator.layers.{ATTENTION}", WIDTH * LAYERS[ATTENTION][1]
    for part, (rows, columns) in {
        "theta": (channels // 8, channels), "phi": (channels // 8, channels),
        "g": (channels // 2, channels), "o_conv": (channels, channels // 2),
    }.items():  # fmt: skip
        add(f"{name}.snconv1x1_{part}", rows, columns, 1, 1, bias=False)
    state[f"{name}.gamma"] = torch.tensor([0.7])
    add_norm("generator.bn", WIDTH)
    state["generator.bn.weight"], state["generator.bn.bias"] = torch.randn(2, WIDTH)
    add("generator.conv_to_rgb", WIDTH, WIDTH, 3, 3)
    return state


def saved(
    folder: Path, state: Any, config: Any = None, prefix: str = "", *, legacy: bool = False
) -> str:
    """Write the two files; return the path of the weights."""
    path = folder / f"{prefix}pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    (folder / f"{prefix}config.json").write_text(json.dumps(CONFIG if config is None else config))
    return str(path)


# The oracle.


def paint(state: State, z: np.ndarray, label: int, psi: float) -> np.ndarray:
    """Compute the image [3, 16, 16] of one z; psi must be one of the stored ones."""
    s = {name: value.double() for name, value in state.items()}
    place = round(psi * (STATISTICS - 1))

    def weight(name: str) -> torch.Tensor:
        w, u, v = (s[f"{name}.weight_{part}"] for part in ("orig", "u", "v"))
        return w / torch.einsum("i,ij,j", u, w.reshape(len(w), -1), v)

    def convolve(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel = weight(name)
        return functional.conv2d(x, kernel, s.get(f"{name}.bias"), padding=kernel.shape[2] // 2)

    def standard(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = (s[f"{name}.running_{kind}"][place] for kind in ("means", "vars"))
        return (x - mean[:, None, None]) / (variance + EPSILON).sqrt()[:, None, None]

    def conditional(x: torch.Tensor, name: str) -> torch.Tensor:
        gain, bias = weight(f"{name}.scale") @ c, weight(f"{name}.offset") @ c
        return standard(x, name) * (1 + gain)[:, None, None] + bias[:, None, None]

    c = torch.cat([torch.from_numpy(z).double(), s["embeddings.weight"][:, label]])
    x = (weight("generator.gen_z") @ c + s["generator.gen_z.bias"]).reshape(4, 4, -1)
    x = x.permute(2, 0, 1)[None]
    for i, (doubles, _, channels_out) in enumerate(LAYERS):
        if i == ATTENTION:
            name = f"generator.layers.{i}.snconv1x1_"
            query = convolve(x, f"{name}theta")[0].flatten(1)
            key, value = (
                functional.max_pool2d(convolve(x, name + part), 2)[0].flatten(1)
                for part in ("phi", "g")
            )
            found = value @ torch.softmax(query.T @ key, 1).T
            found = convolve(found.reshape(1, -1, *x.shape[2:]), f"{name}o_conv")
            x = x + s[f"generator.layers.{i}.gamma"] * found
        name, y = f"generator.layers.{i + (i >= ATTENTION)}", x
        for j in range(4):
            y = conditional(y, f"{name}.bn_{j}").relu()
            if doubles and j == 1:
                y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
            y = convolve(y, f"{name}.conv_{j}")
        skip = x[:, : WIDTH * channels_out]
        x = y + (skip.repeat_interleave(2, 2).repeat_interleave(2, 3) if doubles else skip)
    gain, bias = (s[f"generator.bn.{part}"][:, None, None] for part in ("weight", "bias"))
    x = (standard(x, "generator.bn") * gain + bias).relu()
    return convolve(x, "generator.conv_to_rgb")[0, :3].tanh().numpy()


def hub_z(seed: int, psi: float) -> np.ndarray:
    """Draw z as the published programs do."""
    z = truncnorm.rvs(-2, 2, size=Z, random_state=np.random.RandomState(seed))
    return psi * z.astype(np.float32)


def floats(generator: BigGAN, ids: np.ndarray) -> np.ndarray:
    """Compute the images before they are rounded, [n, 3, h, w]."""
    w = torch.from_numpy(w_of(generator, ids)).to(generator.device)
    with torch.inference_mode():
        return generator.network(w, generator.psi).cpu().numpy()


def w_of(generator: BigGAN, ids: np.ndarray) -> np.ndarray:
    return generator.map(generator.draw(ids), generator.labels(ids))


@pytest.mark.parametrize(("psi", "legacy"), [(1.0, True), (0.3, False), (0.02, False)])
def test_images_equal_the_textbooks(
    psi: float, legacy: bool, tmp_path: Path, device: torch.device
) -> None:
    state = random_state()
    generator = BigGAN(saved(tmp_path, state, legacy=legacy), device, psi=psi, label=4)
    ids = np.array([107, 2**31])
    expected = np.stack([paint(state, hub_z(k, psi), 4, psi) for k in ids])
    np.testing.assert_allclose(floats(generator, ids), expected, atol=2e-5)
    images = generator(ids)
    assert (images.dtype, images.shape) == (np.uint8, (2, 3, 16, 16))
    assert np.abs(images + 0.5 - np.clip(128 * (expected + 1), 0, 255.5)).max() < 0.51
    assert images.std() > 20


def test_the_same_file_by_the_package_that_publishes_it(tmp_path: Path) -> None:
    package = pytest.importorskip("pytorch_pretrained_biggan")
    utilities = importlib.import_module("pytorch_pretrained_biggan.utils")
    state = random_state()
    path = saved(tmp_path, state)
    network = package.BigGAN(package.BigGANConfig.from_dict(CONFIG)).eval()
    network.load_state_dict(state)
    for psi in (0.5, 1.0):
        generator = BigGAN(path, CPU, psi=psi, label=2)
        z = utilities.truncated_noise_sample(1, Z, psi, seed=107)
        np.testing.assert_allclose(w_of(generator, np.array([107]))[:, :Z], z, atol=1e-6)
        with torch.inference_mode():
            theirs = network(torch.from_numpy(z), torch.eye(CLASSES)[2:3], psi).numpy()
        ours = floats(generator, np.array([107]))
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_an_image_depends_on_its_id_alone(tmp_path: Path, device: torch.device) -> None:
    path = saved(tmp_path, random_state())
    generator, ids = BigGAN(path, device, psi="0.5"), np.array([107, 3, 16, 17, 1000, 2])
    together = generator(ids)
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
    assert len({image.tobytes() for image in together}) == len(ids)
    np.testing.assert_array_equal(BigGAN(path, device, psi="0.5")(ids), together)
    other = BigGAN(path, device, psi="0.5", block="3")
    assert (other.block, other.spec) == (3, generator.spec)
    assert np.abs(other(ids).astype(int) - together).max() <= 1


# Latents.


def test_z_is_truncated_as_its_distribution_says() -> None:
    z = np.linspace(-6, 6, 1001, dtype=np.float32)
    once, half = truncated_normals(z, 1), truncated_normals(z, 0.5)
    assert once.dtype == np.float32
    assert (np.diff(once.astype(np.float64)) >= 0).all()
    assert np.abs(once).max() == 2
    np.testing.assert_array_equal(half, once / 2)
    inner = np.abs(z) < 4
    shares = truncnorm.cdf(once[inner].astype(np.float64), -2, 2)
    np.testing.assert_allclose(shares, truncnorm.cdf(z[inner], -np.inf, np.inf), atol=1e-6)


def test_the_drawn_z_is_standard_normal(tmp_path: Path) -> None:
    generator = BigGAN(saved(tmp_path, random_state()), CPU)
    z = generator.draw(np.arange(1000)).astype(np.float64)
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size)
    assert (np.abs(z) > 2).mean() == pytest.approx(0.0455, abs=4 * math.sqrt(0.0455 / z.size))
    with pytest.raises(SampleRangeError, match="sample id 4294967296 is no seed"):
        generator.draw(np.array([2**32]))


@pytest.mark.parametrize(
    ("psi", "expected"),
    [(0.3, (15, 15, 0)), (0.58, (29, 29, 0)), (1.0, (50, 50, 0)), (0.02, (1, 1, 0)),
     (0.51, (25, 26, 0.5)), (0.005, (0, 1, 0.25))],
)  # fmt: skip
def test_statistics_of_psi(psi: float, expected: tuple[int, int, float]) -> None:
    """0.58 / 0.02 is 28.999999999999996 in floats."""
    assert neighbors_on_grid(psi, STATISTICS) == pytest.approx(expected)


def test_statistics_between_two_psi_are_between(tmp_path: Path) -> None:
    state = random_state()
    for name, values in state.items():
        if "running_" in name:  # linear in psi, so that every way but the right one is seen
            values.copy_(values[:1] + torch.linspace(0, 1, STATISTICS)[:, None])
    merged = {
        name: values[25:27].mean(dim=0).expand_as(values).clone() if "running_" in name else values
        for name, values in state.items()
    }
    paths = []
    for name, tensors in (("a", state), ("b", merged)):
        (tmp_path / name).mkdir()
        paths.append(saved(tmp_path / name, tensors))
    between, constant = (BigGAN(path, CPU, psi=0.51, label=0) for path in paths)
    ids = np.arange(2)
    np.testing.assert_allclose(floats(between, ids), floats(constant, ids), atol=1e-5)


def test_it_is_latent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 1000)
    state = random_state()
    path, ids = saved(tmp_path, state), np.arange(4)
    generator = BigGAN(path, CPU, psi=0.5, label="1,3")
    require_latent_generator(generator)
    w = w_of(generator, ids)
    assert (w.dtype, w.shape) == (np.float32, (4, 2 * Z))
    embedded = state["embeddings.weight"].T[[1, 3, 1, 3]]
    np.testing.assert_array_equal(w[:, Z:], embedded.numpy())
    np.testing.assert_array_equal(generator.synthesize(w), generator(ids))
    # All samples of a class become the image of z = 0, the center of the truncated normal.
    center = generator.map(np.zeros((4, Z), np.float32), generator.labels(ids))
    assert not center[:, :Z].any()
    for strategy in ("truncate-z:0", "interpolate-z:0"):
        images = open_source(f"{path}?psi=0.5&label=1,3&truncate={strategy}", CPU)(ids)
        np.testing.assert_array_equal(images, generator.synthesize(center))
    clamped = open_source(f"{path}?psi=0.5&label=1,3&truncate=clamp:0.5", CPU)
    moved = clamped.latents(ids)  # type: ignore[attr-defined]
    np.testing.assert_allclose(moved[:, Z:], w[:, Z:], atol=1e-5)
    assert (np.linalg.norm(moved, axis=1) <= np.linalg.norm(w, axis=1) * 1.01).all()


def test_classes(tmp_path: Path) -> None:
    path, ids = saved(tmp_path, random_state()), np.arange(600)
    drawn = BigGAN(path, CPU).labels(ids)
    assert np.bincount(drawn, minlength=CLASSES).min() > 60
    rng = np.random.RandomState(107)
    rng.random_sample(Z)
    assert drawn[107] == rng.randint(CLASSES)
    for label, expected in (("all", ids % CLASSES), ("4", [4] * 600), ("4,1", [4, 1] * 300)):
        np.testing.assert_array_equal(BigGAN(path, CPU, label=label).labels(ids), expected)


def test_the_spec_covers_all_that_changes_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, random_state())
    other = saved(tmp_path, random_state(), CONFIG | {"eps": 1e-3}, prefix="other-")
    options = [{}, {"psi": "0.5"}, {"label": "1"}, {"label": "1,2"}, {"label": "all"}]
    specs = [BigGAN(path, CPU, **o).spec for o in options] + [BigGAN(other, CPU).spec]
    assert all(a != b for i, a in enumerate(specs) for b in specs[:i])
    assert BigGAN(path, CPU, psi=0.50).spec == specs[1]
    assert json.loads(json.dumps(specs[3])) == specs[3]


def test_images_stay_on_a_gpu(tmp_path: Path) -> None:
    """Only one bit a sample comes back, whether its numbers are finite.

    The tensors have no numbers. So this does not reach the properties of a card, from which the
    block is chosen, nor the error for a sample with NaN; and it sees no bits.
    """
    generator = BigGAN(saved(tmp_path, random_state()), CPU, psi=0.51)
    ids, network = np.array([107, 3, 15, 16]), copy.deepcopy(generator.network)
    with fake_cuda():
        generator.device, generator.network = CUDA, to_fake_cuda(network)  # type: ignore[assignment]
        with copies_to_the_host() as copies:
            images = generator.tensors(ids)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (4, 3, 16, 16)
        assert copies == [(torch.bool, (4,))]


# What is refused.


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("psi=0", "psi is 0, expected a number above 0 and up to 1"),
        ("psi=1.5", "psi is 1.5, expected"),
        ("psi=nan", "psi is nan, expected"),
        ("label=6", "label is 6, the network has 6 classes, counted from 0"),
        ("label=1,-1", "label is 1,-1, the network has"),
        ("block=0", "block is 0, expected how many images"),
        ("cutoff=2", "has no option 'cutoff'"),
    ],
)
def test_options(options: str, what: str, tmp_path: Path) -> None:
    path = saved(tmp_path, random_state())
    with pytest.raises(SourceError, match=what):
        open_source(f"{path}?{options}", CPU)


def without(part: str) -> State:
    return {name: value for name, value in random_state().items() if part not in name}


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ([1], "it holds list"),
        ({"epoch": 3, "model": {}}, "it holds epoch, model, which are not all tensors"),
        ({"a.weight": torch.zeros(2)}, r"it lacks .* and \d+ more; it has the unknown a.weight;"),
        (without("conv_2.bias"), r"it lacks generator.layers.0.conv_2.bias"),
        (without("gen_z.weight_u"), "generator.gen_z.weight_u"),
        (
            random_state() | {"embeddings.weight": torch.zeros(Z, 7)},
            r"it has another shape of embeddings.weight, \[8, 7\] for \[8, 6\]",
        ),
        (random_state() | {"x": torch.zeros(2)}, "it has the unknown x; expected"),
    ],
)
def test_other_weights(state: Any, what: str, tmp_path: Path) -> None:
    path = saved(tmp_path, state)
    with pytest.raises(SourceError, match=rf"model\.bin is no BigGAN-deep: .*{what}") as caught:
        BigGAN(path, CPU)
    assert "\n" not in str(caught.value)
    assert "with its config.json beside it" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"z_dim": None}, "TypeError: int"),
        ({"z_dim": 0}, "z_dim is 0, expected 1 to"),
        ({"n_stats": 10**9}, "n_stats is 1000000000, expected 1 to"),
        ({"layers": [[True, 16]]}, "not enough values"),
        ({"layers": [*LAYERS, [True, 2, 1]]}, "layers do not follow one another"),
        (
            {"layers": [[True, 10**9, 1]], "attention_layer_position": 0},
            "layers do not follow one another",
        ),
        ({"layers": LAYERS * 100}, "layers are 65"),
        ({"attention_layer_position": 4}, "the attention is at 4"),
        ({"output_dim": 256}, "output_dim is 256, but its layers make 16"),
    ],
)
def test_other_configurations(change: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = saved(tmp_path, random_state(), CONFIG | change)
    with pytest.raises(SourceError, match=rf"config\.json is of no BigGAN-deep: .*{what}"):
        BigGAN(path, CPU)


def test_other_files(tmp_path: Path) -> None:
    path = Path(saved(tmp_path, random_state()))
    whole = path.read_bytes()
    for content in (b"", b"nothing", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises((SourceError, StorageError), match=r"pytorch_model\.bin"):
            BigGAN(str(path), CPU)
    saved(tmp_path, {"a": Path})
    with pytest.raises(UnsafePickle, match=r"pytorch_model\.bin names pathlib"):
        BigGAN(str(path), CPU)
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(SourceError, match="config.json is of no BigGAN-deep: KeyError: 'chan"):
        BigGAN(str(path), CPU)
    (tmp_path / "config.json").unlink()
    with pytest.raises(SourceError, match="cannot read .*config.json"):
        BigGAN(str(path), CPU)
    with pytest.raises(SourceError, match=r"a\.bin has another name than \.\.\.pytorch_model\.bin"):
        open_source(str(tmp_path / "a.bin"), CPU)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    state = random_state()
    state["generator.conv_to_rgb.bias"][:] = np.nan
    with pytest.raises(SourceError, match="gave NaN or infinity for sample 107, expected"):
        BigGAN(saved(tmp_path, state), CPU)(np.array([107, 3]))
