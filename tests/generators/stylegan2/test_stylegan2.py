"""StyleGAN2 against a textbook version in numpy: loops over samples and channels, in float64."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import nvidia_pickles
import pytest
import torch
from fake_cuda import CUDA, copies_to_the_host, fake_cuda, to_fake_cuda
from nvidia_pickles import EasyDict, Network
from scipy.signal import convolve2d, correlate2d

from raymetrics.errors import SourceError, UnsafePickle
from raymetrics.generators.base import LatentGenerator, require_latent_generator
from raymetrics.generators.stylegan2 import StyleGAN2, block_size
from raymetrics.generators.stylegan2.architecture import NetworkShape
from raymetrics.generators.stylegan2.upsampling import separable_filter, upsample

CPU = torch.device("cpu")
Arrays = dict[str, np.ndarray]
Z, W, CHANNELS, RATE = 8, 6, {4: 5, 8: 4, 16: 3}, 0.01
BUFFERS = ("w_avg", "noise_const", "resample_filter")
TAPS = np.array([1, 3, 3, 1]) / 8


@pytest.fixture(autouse=True)
def _true_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as a worker does."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


# The oracle.


def dense(x: np.ndarray, state: Arrays, name: str, rate: float = 1) -> np.ndarray:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return weight @ x * rate / math.sqrt(len(x)) + bias * rate


def lrelu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def limited(x: np.ndarray, limit: float | None) -> np.ndarray:
    return x if limit is None else np.clip(x, -limit, limit)


def normalized(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x**2) + 1e-8)


def map_by_paper(state: Arrays, z: np.ndarray, label: int | None) -> np.ndarray:
    x = normalized(z)
    if label is not None and "mapping.concat.weight" in state:
        x = normalized(np.concatenate([z, state["mapping.concat.weight"][:, label]]))
    elif label is not None:
        one_hot = np.eye(state["mapping.embed.weight"].shape[1])[label]
        x = np.concatenate([x, normalized(dense(one_hot, state, "mapping.embed"))])
    for i in range(2):
        x = lrelu(dense(x, state, f"mapping.fc{i}", RATE))
    return x


def stuffed(x: np.ndarray) -> np.ndarray:
    """Zeros after every sample."""
    out = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    out[::2, ::2] = x
    return out


def doubled(x: np.ndarray) -> np.ndarray:
    """[h, w] -> [2h, 2w] by zero insertion and the filter, whose centre lies between two taps."""
    return convolve2d(np.pad(stuffed(x), ((2, 1), (2, 1))), 4 * np.outer(TAPS, TAPS), "valid")


def doubled_convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x [i, h, w], weight [o, i, 3, 3]: zero insertion, the filter, a true convolution."""
    filtered = [convolve2d(stuffed(c), 4 * np.outer(TAPS, TAPS)) for c in x]
    full = [
        sum(convolve2d(c, k) for c, k in zip(filtered, kernels, strict=True)) for kernels in weight
    ]
    size = 2 * x.shape[1]
    return np.stack(full)[:, 2 : 2 + size, 2 : 2 + size]


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            sum(correlate2d(c, k, "same") for c, k in zip(x, kernels, strict=True))
            for kernels in weight
        ]
    )


def layer(
    x: np.ndarray, w: np.ndarray, state: Arrays, name: str, noisy: bool, limit: float | None,
    gain: float = 1,
) -> np.ndarray:  # fmt: skip
    style = dense(w, state, f"{name}.affine")
    weight = state[f"{name}.weight"] * style[None, :, None, None]
    weight = weight / np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
    y = doubled_convolved(x, weight) if name.endswith("conv0") else convolved(x, weight)
    if noisy:
        y = y + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
    y = lrelu(y + state[f"{name}.bias"][:, None, None]) * gain
    return limited(y, None if limit is None else limit * gain)


def colours(
    x: np.ndarray, w: np.ndarray, state: Arrays, name: str, limit: float | None
) -> np.ndarray:
    style = dense(w, state, f"{name}.affine") / math.sqrt(len(x))
    weight = state[f"{name}.weight"][:, :, 0, 0] * style
    return limited(np.tensordot(weight, x, 1) + state[f"{name}.bias"][:, None, None], limit)


def painted(
    state: Arrays, ws: np.ndarray, architecture: str, noisy: bool = True, limit: float | None = None
) -> np.ndarray:
    """ws [num_ws, d] -> image [3, 16, 16]."""
    x, image = state["synthesis.b4.const"], None
    used = 0
    for r in CHANNELS:
        name = f"synthesis.b{r}"
        if r == 4:
            x = layer(x, ws[0], state, f"{name}.conv1", noisy, limit)
            used = 1
        else:
            gain = math.sqrt(0.5) if architecture == "resnet" else 1
            y = layer(x, ws[used], state, f"{name}.conv0", noisy, limit)
            y = layer(y, ws[used + 1], state, f"{name}.conv1", noisy, limit, gain)
            if architecture == "resnet":
                skip = state[f"{name}.skip.weight"][:, :, 0, 0] / math.sqrt(len(x))
                y = y + gain * np.stack([doubled(c) for c in np.tensordot(skip, x, 1)])
            x, used = y, used + 2
        if image is not None:
            image = np.stack([doubled(c) for c in image])
        if f"{name}.torgb.weight" in state:
            block_colors = colours(x, ws[used], state, f"{name}.torgb", limit)
            image = block_colors if image is None else image + block_colors
    return image


def truncated(state: Arrays, w: np.ndarray, psi: float, cutoff: int | None = None) -> np.ndarray:
    """w [d] -> ws [6, d]."""
    moved = state["mapping.w_avg"] + psi * (w - state["mapping.w_avg"])
    return np.stack([moved if cutoff is None or i < cutoff else w for i in range(6)])


# Random networks, and the files that NVIDIA's programs would write of them.


def random_state(architecture: str, classes: int = 0, joint: bool = False) -> Arrays:
    rng = np.random.default_rng(11)
    state: Arrays = {"mapping.w_avg": rng.normal(size=W)}

    def add(name: str, *shape: int, bias: bool = True, centre: float = 0) -> None:
        state[f"{name}.weight"] = rng.normal(size=shape)
        if bias:
            state[f"{name}.bias"] = rng.normal(centre, 0.3, shape[0])

    def styled(name: str, *shape: int) -> None:
        add(name, *shape)
        add(f"{name}.affine", shape[1], W, centre=1)

    features = (Z if joint else W) if classes else 0
    if classes:
        name = "mapping.concat" if joint else "mapping.embed"
        add(name, features, classes, bias=not joint)
    add("mapping.fc0", W, Z + features)
    add("mapping.fc1", W, W)
    for i in range(2):  # As large as the learning rate multiplier is small.
        state[f"mapping.fc{i}.weight"] /= RATE
    before = 0
    for r, channels in CHANNELS.items():
        block = f"synthesis.b{r}"
        for conv, channels_in in ([("conv0", before)] if r > 4 else []) + [("conv1", channels)]:
            styled(f"{block}.{conv}", channels, channels_in, 3, 3)
            state[f"{block}.{conv}.noise_const"] = rng.normal(size=(r, r))
            state[f"{block}.{conv}.noise_strength"] = np.array(0.3)
        if r == 4:
            state[f"{block}.const"] = rng.normal(size=(channels, 4, 4))
        elif architecture == "resnet":
            add(f"{block}.skip", channels, before, 1, 1, bias=False)
        if architecture == "skip" or r == 16:
            styled(f"{block}.torgb", 3, channels, 1, 1)
        before = channels
    return state


def nvidia_network(state: Arrays, limit: float | None = None, **attributes: Any) -> Any:
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in state.items()}
    fir = torch.tensor(np.outer(TAPS, TAPS), dtype=torch.float32)
    for r in CHANNELS:
        for part in ("", ".conv1") + ((".conv0",) if r > 4 else ()):
            tensors[f"synthesis.b{r}{part}.resample_filter"] = fir
    about = {
        "mapping.fc0": {"activation": "lrelu", "bias_gain": RATE},
        "synthesis.b4.conv1": {"activation": "lrelu", "conv_clamp": limit, **attributes},
    }
    return nvidia_pickles.network("Generator", tensors, BUFFERS, about, z_dim=Z)


def saved(path: Path, content: Any) -> str:
    path.write_bytes(nvidia_pickles.dumps(content))
    return str(path)


def nvidia_file(path: Path, state: Arrays, limit: float | None = None) -> str:
    blank = nvidia_network({name: 0 * value for name, value in state.items()})
    content = {"G": blank, "D": None, "G_ema": nvidia_network(state, limit)}
    return saved(path, content | {"training_set_kwargs": EasyDict(path="x"), "augment_pipe": None})


def floats(generator: StyleGAN2, ids: np.ndarray) -> np.ndarray:
    """Compute the images before they are rounded, [n, 3, h, w]."""
    with torch.inference_mode():
        w = torch.from_numpy(w_of(generator, ids)).to(generator.device).reshape(len(ids), -1, W)
        noise = generator._noises(torch.from_numpy(ids).to(generator.device))
        return generator.network.synthesis(w.expand(-1, 6, -1), noise).cpu().numpy()


def w_of(generator: StyleGAN2, ids: np.ndarray) -> np.ndarray:
    return generator.map(generator.draw(ids), generator.labels(ids))


def z_of(k: int) -> np.ndarray:
    return np.random.RandomState(k).randn(1, Z)[0]


@pytest.mark.parametrize(
    ("architecture", "classes", "limit", "options"),
    [
        ("skip", 0, None, {}),
        ("skip", 4, None, {"label": "3", "psi": "0.6"}),
        ("skip", 0, None, {"psi": "0.6", "cutoff": "3"}),
        ("skip", 0, 0.7, {"noise": "none"}),
        ("orig", 4, None, {"label": "0"}),
        ("resnet", 0, 0.7, {}),
    ],
)
def test_images_equal_the_textbooks(
    architecture: str,
    classes: int,
    limit: float | None,
    options: dict[str, str],
    tmp_path: Path,
    device: torch.device,
) -> None:
    state = random_state(architecture, classes)
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state, limit), device, **options)
    ids = np.array([107, 2**31])
    label = int(options["label"]) if classes else None
    psi, cutoff = float(options.get("psi", 1)), options.get("cutoff")
    expected = []
    for k in ids:
        w = map_by_paper(state, z_of(k), label)
        ws = truncated(state, w, psi, None if cutoff is None else int(cutoff))
        noisy = options.get("noise") != "none"
        expected.append(painted(state, ws, architecture, noisy, limit))
    np.testing.assert_allclose(floats(generator, ids), expected, atol=2e-5)
    rounded = np.clip(np.array(expected) * 127.5 + 128, 0, 255)
    images = generator(ids)
    assert (images.dtype, images.shape) == (np.uint8, (2, 3, 16, 16))
    assert np.abs(images - rounded + 0.5).max() < 0.51
    assert images.std() > 20


def test_an_image_depends_on_its_id_alone(tmp_path: Path, device: torch.device) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip", 4))
    for options in ({"noise": "random", "psi": 0.7}, {"noise": "const", "label": 2}):
        generator = StyleGAN2(path, device, **options)
        ids = np.array([107, 3, 16, 17, 1000, 2])
        together = generator(ids)
        for i, k in enumerate(ids):
            np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
        assert len({image.tobytes() for image in together}) == len(ids)
        np.testing.assert_array_equal(StyleGAN2(path, device, **options)(ids), together)


def test_random_noise_is_standard_normal_and_another_for_every_sample(
    tmp_path: Path, device: torch.device
) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    noises = StyleGAN2(path, device, noise="random")._noises(torch.arange(64, device=device))
    assert [tuple(noise.shape[1:]) for noise in noises] == [(1, r, r) for r in (4, 8, 8, 16, 16)]
    assert all(noise.dtype == torch.float32 for noise in noises)
    values = np.concatenate([noise.cpu().reshape(64, -1) for noise in noises], axis=1)
    assert abs(values.mean()) < 4 / math.sqrt(values.size)
    assert abs(values.std() - 1) < 4 / math.sqrt(values.size)
    correlation = np.corrcoef(values) - np.eye(64)
    assert np.abs(correlation).max() < 6 / math.sqrt(values.shape[1])


@pytest.mark.parametrize("noise", ["const", "random"])
def test_another_block_changes_rounding_alone(
    noise: str, tmp_path: Path, device: torch.device
) -> None:
    path, ids = nvidia_file(tmp_path / "g.pkl", random_state("skip")), np.array([107, 3, 2**31])
    usual = StyleGAN2(path, device, noise=noise)
    for block in ("1", "3", "64"):
        other = StyleGAN2(path, device, noise=noise, block=block)
        assert (other.block, other.spec) == (int(block), usual.spec)
        assert np.abs(other(ids).astype(int) - usual(ids)).max() <= 1


def test_it_is_latent(tmp_path: Path, device: torch.device) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    ids = np.arange(16)
    for options, shape in (({"psi": 0.5}, (16, W)), ({"psi": 0.5, "cutoff": 2}, (16, 6, W))):
        generator = StyleGAN2(path, device, **options)
        assert isinstance(generator, LatentGenerator)
        w = w_of(generator, ids)
        assert (w.dtype, w.shape) == (np.float32, shape)
        np.testing.assert_array_equal(generator.synthesize(w), generator(ids))
    average = w_of(StyleGAN2(path, device, psi=0), ids)
    np.testing.assert_array_equal(average, np.broadcast_to(average[0], (16, W)))
    with pytest.raises(SourceError, match=r"w for g is \[2, 5\], expected \[n, 6\] or \[n, 6, 6\]"):
        generator.synthesize(np.zeros((2, 5), np.float32))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"cutoff": 2}, "g cannot be truncated .*leave out the option cutoff"),
        ({"noise": "random"}, "g cannot be .*take noise=const or none"),
    ],
)
def test_what_is_no_image_of_one_w(options: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    assert require_latent_generator(StyleGAN2(path, CPU, psi=0.5)) is not None
    with pytest.raises(SourceError, match=what):
        require_latent_generator(StyleGAN2(path, CPU, **options))


def test_classes(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip", 4))
    ids = np.arange(400)
    labels = StyleGAN2(path, CPU).labels(ids)
    assert np.bincount(labels, minlength=4).min() > 60
    rng = np.random.RandomState(107)
    rng.randn(Z)
    assert labels[107] == rng.randint(4)
    drawn, fixed = StyleGAN2(path, CPU), StyleGAN2(path, CPU, label="1")
    assert fixed.labels(ids[:3]).tolist() == [1, 1, 1]
    same = (fixed(ids[:40]) == drawn(ids[:40])).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(same, labels[:40] == 1)
    plain = StyleGAN2(nvidia_file(tmp_path / "p.pkl", random_state("skip")), CPU)
    assert plain.labels(ids) is None


def test_the_spec_covers_all_that_changes_pixels(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip", 4))
    another = nvidia_file(tmp_path / "h.pkl", random_state("skip", 5))
    options = [{}, {"psi": 0.7}, {"cutoff": 2}, {"noise": "none"}, {"label": 0}]
    options += [{"noise": "random"}, {"precision": "nvidia"}]
    specs = [StyleGAN2(path, CPU, **o).spec for o in options] + [StyleGAN2(another, CPU).spec]
    assert all(a != b for i, a in enumerate(specs) for b in specs[:i])
    assert StyleGAN2(path, CPU, psi="0.70").spec == specs[1]
    # Sets of earlier versions are continued, but not those with the noise of another generator.
    assert "precision" not in specs[0]
    assert [specs[i]["noise"] for i in (0, 3, 5)] == ["const", "none", "random-philox"]


# Precision.


def half_floats(path: str, device: torch.device, ids: np.ndarray) -> np.ndarray:
    return floats(StyleGAN2(path, device, precision="nvidia", psi=0.7), ids)


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    """Float16 has eleven bits, of which the sums of a few layers lose some."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=np.abs(expected).max() * 2**-8)


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
def test_nvidia_s_precision_differs_by_about_a_grey_level(
    architecture: str, tmp_path: Path, device: torch.device
) -> None:
    path, ids = nvidia_file(tmp_path / "g.pkl", random_state(architecture)), np.arange(6)
    exact = StyleGAN2(path, device, psi=0.7)
    half = StyleGAN2(path, device, psi=0.7, precision="nvidia")
    assert_near(floats(half, ids), floats(exact, ids))
    assert (floats(half, ids) != floats(exact, ids)).any()
    assert np.abs(half(ids).astype(int) - exact(ids)).mean() < 1
    layers = half.network.synthesis.convolutions()
    assert [layer.weight.dtype for layer in layers] == [torch.float32, *[torch.float16] * 4]
    assert all(
        layer.weight.dtype == torch.float32 for layer in exact.network.synthesis.convolutions()
    )


def test_no_size_of_weights_overflows_float16(tmp_path: Path, device: torch.device) -> None:
    """Demodulation cancels the size of styles and of weights, far beyond the range of float16."""
    state, ids = random_state("orig"), np.arange(4)
    parts = ("affine.weight", "affine.bias", "weight")
    names = [f"synthesis.b{r}.conv{i}.{part}" for r in (8, 16) for i in (0, 1) for part in parts]
    large = state | {name: state[name] * 1e6 for name in names}
    paths = [nvidia_file(tmp_path / f"{i}.pkl", s) for i, s in enumerate((state, large))]
    assert_near(half_floats(paths[1], device, ids), half_floats(paths[0], device, ids))


def test_float16_is_clipped_where_the_network_has_no_limit(
    tmp_path: Path, device: torch.device
) -> None:
    """As if the limit of all layers were 256, since the block in float32 stays below it."""
    state, ids = random_state("skip"), np.arange(4)
    for r in (8, 16):
        state[f"synthesis.b{r}.conv1.bias"] += 1000
    limited, unlimited = (
        nvidia_file(tmp_path / f"{limit}.pkl", state, limit) for limit in (256.0, None)
    )
    expected = floats(StyleGAN2(limited, device, psi=0.7), ids)
    assert_near(half_floats(unlimited, device, ids), expected)
    assert_near(half_floats(limited, device, ids), expected)
    without_limit = floats(StyleGAN2(unlimited, device, psi=0.7), ids)
    assert np.abs(without_limit - expected).max() > np.abs(expected).max() / 10


# What depends on the device.


@pytest.mark.parametrize(
    ("gigabytes", "channels", "block"),
    [(139, (512,) * 5 + (256, 128, 64, 32), 16),  # 1024 x 1024: 128 MiB an image
     (139, (512,) * 5 + (256, 128, 64), 32), (139, (512,) * 5, 64),
     (80, (512,) * 5 + (256, 128, 64, 32), 8), (1, (512,) * 5 + (256, 128, 64, 32), 1)],
)  # fmt: skip
def test_the_block_of_a_gpu_follows_its_memory(
    gigabytes: int, channels: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_size, "total_memory", lambda device: gigabytes * 2**30)
    shape = NetworkShape(512, 512, 0, 0, False, (512,) * 8, channels, 3, "skip", True)
    assert block_size.default_block(shape, CUDA) == block
    assert block_size.default_block(shape, CPU) == max(1, min(16, 2**18 // shape.resolution**2))


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 1], [1, 1], [1, 5, 10, 10, 5, 1]])
def test_filters_of_any_length(taps: list[int], device: torch.device) -> None:
    """Zeros between the pixels, then the filter with its center on the pixel, or just after it."""
    fir = separable_filter(taps)
    rng, start = np.random.default_rng(3), len(taps) - 1 - (len(taps) + 1) // 2
    x, kernel = rng.normal(size=(2, 3, 5, 6)), 4 * fir.numpy().astype(np.float64)
    full = np.stack([[convolve2d(stuffed(c)[:-1, :-1], kernel) for c in image] for image in x])
    actual = upsample(torch.from_numpy(x).float().to(device), fir.to(device))
    expected = full[:, :, start : start + 10, start : start + 12]
    np.testing.assert_allclose(actual.cpu(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("skip", {"psi": 0.7, "cutoff": 2}),
        ("skip", {"noise": "random"}),
        ("resnet", {"noise": "none", "precision": "nvidia"}),
    ],
)
def test_images_and_latents_stay_on_a_gpu(
    architecture: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Only one bit a sample comes back, whether its numbers are finite.

    The tensors have no numbers. So this does not reach the properties of a card, from which the
    block is chosen, nor the error for a sample with NaN; and it sees no bits.
    """
    path = nvidia_file(tmp_path / "g.pkl", random_state(architecture, 4))
    generator, ids = StyleGAN2(path, CPU, **options), np.array([107, 3, 15, 16])
    network = copy.deepcopy(generator.network)  # the generator's is kept for others
    with fake_cuda():
        generator.device, generator.network = CUDA, to_fake_cuda(network)
        with copies_to_the_host() as copies:
            images = generator.tensors(ids)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (4, 3, 16, 16)
        assert copies == [(torch.bool, (4,))]
        assert generator(ids).shape == (4, 3, 16, 16)


# TensorFlow's files.


def kernel(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def tensorflow_variables(state: Arrays) -> Arrays:
    """Return the network under the names and in the layouts of the program for TensorFlow."""
    actual = {"dlatent_avg": state["mapping.w_avg"], "lod": np.float32(0)}
    names = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
    noises = iter(range(9))
    for name, value in state.items():
        part, *path = name.split(".")
        if part == "mapping" and len(path) == 2:
            tf_name = path[0].replace("fc", "Dense").replace("embed", "LabelEmbed")
            tf_name = tf_name.replace("concat", "LabelConcat")
            actual[f"mapping/{tf_name}/{path[1]}"] = value.T
        elif path[-1] == "const":
            actual["synthesis/4x4/Const/const"] = value[None]
        elif path[-1] == "noise_const":
            actual[f"synthesis/noise{next(noises)}"] = value[None, None]
        elif part == "synthesis":
            tf_name = "Conv" if path[:2] == ["b4", "conv1"] else names[path[1]]
            tf_name = f"synthesis/{path[0][1:]}x{path[0][1:]}/{tf_name}"
            if path[2:] == ["affine", "weight"]:
                actual[f"{tf_name}/mod_weight"] = value.T
            elif path[2:] == ["affine", "bias"]:
                actual[f"{tf_name}/mod_bias"] = value - 1
            elif path[2] == "weight":
                turned = path[1] in ("conv0", "skip")
                actual[f"{tf_name}/weight"] = kernel(value[:, :, ::-1, ::-1] if turned else value)
            else:
                actual[f"{tf_name}/{path[2]}"] = value
    return actual


def tensorflow_network(variables: Mapping[str, Any], version: int = 4, **options: Any) -> Network:
    def part(prefix: str) -> Network:
        inner = [(k.removeprefix(prefix), v) for k, v in variables.items() if k.startswith(prefix)]
        return Network(version=version, static_kwargs=EasyDict(), components={}, variables=inner)

    top = [(name, value) for name, value in variables.items() if "/" not in name]
    components = {"mapping": part("mapping/"), "synthesis": part("synthesis/")}
    return Network(
        version=version, name="Gs", build_func_name="G_main", build_module_src="raise SystemExit",
        static_kwargs=EasyDict(options), components=EasyDict(components), variables=top,
    )  # fmt: skip


@pytest.mark.parametrize(("architecture", "classes"), [("skip", 4), ("orig", 0), ("resnet", 0)])
def test_tensorflows_files_hold_the_same_network(
    architecture: str, classes: int, tmp_path: Path
) -> None:
    state = random_state(architecture, classes)
    options = {"label_size": classes, "resample_kernel": [1, 3, 3, 1], "truncation_psi": 0.5}
    average = tensorflow_network(tensorflow_variables(state), **options)
    blank = tensorflow_network({}, **options)
    tf_name = StyleGAN2(saved(tmp_path / "tf.pkl", (blank, blank, average)), CPU, psi=0.7)
    here = StyleGAN2(nvidia_file(tmp_path / "pt.pkl", state), CPU, psi=0.7)
    np.testing.assert_array_equal(tf_name(np.arange(3)), here(np.arange(3)))


def test_classes_of_tensorflows_first_program(tmp_path: Path) -> None:
    """They are concatenated to z before both are normalised."""
    state = random_state("skip", 4, joint=True)
    network = tensorflow_network(tensorflow_variables(state), label_size=4, latent_size=Z)
    path = saved(tmp_path / "tf.pkl", (None, None, network))
    generator = StyleGAN2(path, CPU, label=3)
    ids = np.array([107, 2**31])
    expected = [map_by_paper(state, z_of(k), 3) for k in ids]
    np.testing.assert_allclose(w_of(generator, ids), expected, atol=2e-5)
    images = [painted(state, truncated(state, w, 1), "skip") for w in expected]
    np.testing.assert_allclose(floats(generator, ids), images, atol=2e-5)
    assert set(StyleGAN2(path, CPU).labels(np.arange(40))) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("option", "stated", "actual"),
    [("latent_size", 2 * Z, Z), ("label_size", 4, 0), ("dlatent_size", 512, W),
     ("resolution", 32, 16), ("num_channels", 1, 3)],
)  # fmt: skip
def test_sizes_that_the_tensors_do_not_have(
    option: str, stated: int, actual: int, tmp_path: Path
) -> None:
    variables = tensorflow_variables(random_state("skip"))
    for size in (None, actual):
        network = tensorflow_network(variables, **{option: size})
        StyleGAN2(saved(tmp_path / "g.pkl", (None, None, network)), CPU)
    network = tensorflow_network(variables, **{option: stated})
    what = f"its {option} is {stated}, but its tensors have {actual}; raymetrics has"
    with pytest.raises(SourceError, match=what):
        StyleGAN2(saved(tmp_path / "g.pkl", (None, None, network)), CPU)


@pytest.mark.parametrize(
    "name", ["extra", "mapping/LabelMix/weight", "synthesis/lod", "synthesis/8x8/Attention/weight"]
)
def test_variables_that_are_not_known(name: str, tmp_path: Path) -> None:
    variables = tensorflow_variables(random_state("skip")) | {name: np.zeros((2, 2))}
    path = saved(tmp_path / "g.pkl", (None, None, tensorflow_network(variables)))
    with pytest.raises(SourceError, match=f"its variable {name} is not known; raymetrics has"):
        StyleGAN2(path, CPU)


def test_numbers_that_are_not_finite(tmp_path: Path, device: torch.device) -> None:
    state = random_state("skip")
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state), device)
    w = np.zeros((3, W), np.float32)
    w[1:, 2] = np.nan
    with pytest.raises(SourceError, match="g gave NaN or infinity for sample 1, expected"):
        generator.synthesize(w)
    state["synthesis.b16.torgb.bias"][:] = np.inf
    broken = StyleGAN2(saved(tmp_path / "g.pkl", {"G_ema": nvidia_network(state)}), device)
    with pytest.raises(SourceError, match="g gave NaN or infinity for sample 107, expected"):
        broken(np.array([107, 3]))


# What is refused.


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"psi": "much"}, "could not convert"),
        ({"noise": "loud"}, "noise is 'loud', expected one of const, random, none"),
        ({"cutoff": "9"}, "cutoff is 9, the layers are 0-6"),
        ({"label": "0"}, "label is 0, the network has 0 classes"),
        ({"precision": "half"}, "precision is 'half', expected one of float32, nvidia"),
        ({"block": "0"}, "block is 0, expected how many images, from 1 on"),
    ],
)
def test_options(options: dict[str, str], what: str, tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    with pytest.raises(ValueError, match=what):
        StyleGAN2(path, CPU, **options)


def without(part: str) -> Arrays:
    return {name: value for name, value in random_state("skip").items() if part not in name}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1, 2], "holds list, expected G_ema"),
        ({"D": 1, "cfg": 2}, "holds the entries D, cfg, expected G_ema"),
        ({"ema": nvidia_pickles.network("EDMPrecond", {})}, "holds the network EDMPrecond"),
        (
            {"G_ema": nvidia_network({**without("b4"), "synthesis.input.freqs": np.zeros(2)})},
            "holds a StyleGAN3",
        ),
        ({"G_ema": nvidia_network(without("fc1.bias"))}, "Missing key.*mapping.fc1.bias"),
        ({"G_ema": nvidia_network(without("b4.const"))}, "Missing key.*synthesis.b4.const"),
        ({"G_ema": nvidia_network(without("b16.torgb"))}, "lacks 'synthesis.b16.torgb.weight'"),
        ({"G_ema": nvidia_network(without("-"), activation="swish")}, "activation swish, expected"),
        ((None, None, tensorflow_network({}, version=3)), "G_main of version 3, expected 4"),
        ((None, None, tensorflow_network({}, fused=True)), "its option fused is not known"),
        ((None, None, tensorflow_network({})), "lacks 'mapping.fc0.weight', which"),
    ],
)
def test_other_networks(content: Any, what: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "g.pkl", content)
    with pytest.raises(SourceError, match=rf"g\.pkl .*{what}.*give it as module:Class"):
        StyleGAN2(path, CPU)


def test_other_pickles(tmp_path: Path) -> None:
    path = tmp_path / "g.pkl"
    path.write_bytes(pickle.dumps({"G_ema": Path}))
    with pytest.raises(UnsafePickle, match=r"g\.pkl names pathlib"):
        StyleGAN2(str(path), CPU)
