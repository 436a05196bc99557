"""StyleGAN against a textbook version in numpy: loops over samples and channels, in float64."""

from __future__ import annotations

import copy
import math
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

from raymetrics.errors import RaymetricsError, SourceError
from raymetrics.generators import open_source
from raymetrics.generators.base import LatentGenerator, require_latent_generator
from raymetrics.generators.stylegan2 import StyleGAN2

CPU = torch.device("cpu")
Arrays = dict[str, np.ndarray]
Z, W, COLORS, RATE = 8, 6, 3, 0.01
CHANNELS = (5, 4, 3)
IDS = np.array([107, 2**31])


@pytest.fixture(autouse=True)
def _true_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as a worker does."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


# The oracle, on TensorFlow's variables: dense weights [in, out], kernels [h, w, in, out].


def lrelu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


ACTIVATIONS = {"lrelu": lrelu, "relu": lambda x: np.maximum(x, 0)}


def he(weight: np.ndarray, gain: float = math.sqrt(2)) -> np.ndarray:
    return weight * gain / math.sqrt(np.prod(weight.shape[:-1]))


def map_by_paper(state: Arrays, z: np.ndarray, label: int | None, act: str = "lrelu") -> np.ndarray:
    x = z if label is None else np.concatenate([z, state["mapping/LabelConcat/weight"][label]])
    x = x / np.sqrt(np.mean(x**2) + 1e-8)
    for i in range(2):
        weight, bias = (state[f"mapping/Dense{i}/{part}"] for part in ("weight", "bias"))
        x = ACTIVATIONS[act](x @ (he(weight) * RATE) + bias * RATE)
    return x


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x [i, h, w], weight [k, k, i, o] -> [o, h, w], with zeros around."""
    pairs = [[correlate2d(c, k, "same") for c, k in zip(x, kernels, strict=True)]
             for kernels in weight.transpose(3, 2, 0, 1)]  # fmt: skip
    return np.array([np.sum(pair, axis=0) for pair in pairs])


def doubled(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


def upsampled(x: np.ndarray, weight: np.ndarray, fused: bool) -> np.ndarray:
    """Pixels of 2 x 2 and a convolution; or fused, each pixel spreads the averaged kernel."""
    if not fused:
        return convolved(doubled(x), weight)
    size = 2 * x.shape[1]
    out = np.zeros((weight.shape[3], size + 2, size + 2))
    for o, kernels in enumerate(weight.transpose(3, 2, 0, 1)):
        for channel, kernel in zip(x, kernels, strict=True):
            spread = convolve2d(kernel, np.ones((2, 2)))
            for (i, j), value in np.ndenumerate(channel):
                out[o, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += value * spread
    return out[:, 1:-1, 1:-1]


def blurred(x: np.ndarray) -> np.ndarray:
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return np.array([convolve2d(channel, kernel, "same") for channel in x])


def finished(
    x: np.ndarray, w: np.ndarray, state: Arrays, name: str, noise: np.ndarray | None, options: dict
) -> np.ndarray:
    if noise is not None:
        x = x + noise[0] * state[f"{name}/Noise/weight"][:, None, None]
    x = x + state[f"{name}/bias"][:, None, None]
    x = ACTIVATIONS[options.get("nonlinearity", "lrelu")](x)
    if options.get("use_pixel_norm"):
        x = x / np.sqrt(np.mean(x**2, axis=0) + 1e-8)
    if options.get("use_instance_norm", True):
        x = x - x.mean(axis=(1, 2), keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=(1, 2), keepdims=True) + 1e-8)
    style = w @ he(state[f"{name}/StyleMod/weight"], 1) + state[f"{name}/StyleMod/bias"]
    scale, offset = style.reshape(2, -1, 1, 1)
    return x * (scale + 1) + offset


def painted(state: Arrays, ws: np.ndarray, noisy: bool = True, **options: Any) -> np.ndarray:
    """ws [num_ws, d] -> image [3, h, w], by growing the images of all resolutions."""
    blocks, image = len(ws) // 2, None
    for i in range(blocks):
        side, level = 4 * 2**i, blocks - 1 - i
        noises = [state[f"synthesis/noise{2 * i + j}"][0] if noisy else None for j in range(2)]
        head = f"synthesis/{side}x{side}"
        if i == 0:
            first, second, x = f"{head}/Const", f"{head}/Conv", state[f"{head}/Const/const"][0]
        else:
            first, second = f"{head}/Conv0_up", f"{head}/Conv1"
            fused = options.get("fused_scale", "auto")
            fused = side >= 128 if fused == "auto" else fused
            x = upsampled(x, he(state[f"{first}/weight"]), fused)
            x = blurred(x) if options.get("blur_filter", True) else x
        x = finished(x, ws[2 * i], state, first, noises[0], options)
        x = convolved(x, he(state[f"{second}/weight"]))
        x = finished(x, ws[2 * i + 1], state, second, noises[1], options)
        head = f"synthesis/ToRGB_lod{level}"
        shown = convolved(x, he(state[f"{head}/weight"], 1)) + state[f"{head}/bias"][:, None, None]
        share = np.clip(state["lod"] - level, 0, 1)
        image = shown if image is None else shown + share * (doubled(image) - shown)
    return image


# Random networks, and the files that would be written of them.


def random_state(
    classes: int = 0, channels: tuple[int, ...] = CHANNELS, noisy: bool = True
) -> Arrays:
    rng = np.random.default_rng(11)
    features = 2 * Z if classes else Z
    state: Arrays = {"lod": np.float32(0), "dlatent_avg": rng.normal(size=W)}
    if classes:
        state["mapping/LabelConcat/weight"] = rng.normal(size=(classes, Z))
    for i in range(2):
        state[f"mapping/Dense{i}/weight"] = rng.normal(size=(W if i else features, W)) / RATE
        state[f"mapping/Dense{i}/bias"] = rng.normal(size=W) / RATE
    before = 0
    for i, count in enumerate(channels):
        side = 4 * 2**i
        names = ("Conv0_up", "Conv1") if i else ("Const", "Conv")
        for j, (layer, taken) in enumerate(zip(names, (before, count), strict=True)):
            name = f"synthesis/{side}x{side}/{layer}"
            if layer == "Const":
                state[f"{name}/const"] = rng.normal(size=(1, count, 4, 4))
            else:
                state[f"{name}/weight"] = rng.normal(size=(3, 3, taken, count))
            state[f"{name}/bias"] = rng.normal(0, 0.3, count)
            state[f"{name}/StyleMod/weight"] = rng.normal(size=(W, 2 * count))
            state[f"{name}/StyleMod/bias"] = rng.normal(0, 0.3, 2 * count)
            if noisy:
                state[f"{name}/Noise/weight"] = rng.normal(0, 0.3, count)
                state[f"synthesis/noise{2 * i + j}"] = rng.normal(size=(1, 1, side, side))
        level = len(channels) - 1 - i
        state[f"synthesis/ToRGB_lod{level}/weight"] = rng.normal(0, 0.3, (1, 1, count, COLORS))
        state[f"synthesis/ToRGB_lod{level}/bias"] = rng.normal(0, 0.3, COLORS)
        before = count
    return {name: np.asarray(value, np.float32) for name, value in state.items()}


def tensorflow_network(variables: Mapping[str, Any], version: int = 3, **options: Any) -> Network:
    def part(prefix: str, name: str) -> Network:
        inner = [(k.removeprefix(prefix), v) for k, v in variables.items() if k.startswith(prefix)]
        return Network(version=version, name=name, static_kwargs={}, components={},
                       build_module_src="raise SystemExit", build_func_name=name,
                       variables=[*inner, ("lod", np.float32(0))])  # fmt: skip

    top = [(name, value) for name, value in variables.items() if "/" not in name]
    components = {"mapping": part("mapping/", "G_mapping")}
    components["mapping"].variables.pop()
    components["synthesis"] = part("synthesis/", "G_synthesis")
    return Network(
        version=version, name="Gs", build_func_name="G_style", build_module_src="raise SystemExit",
        static_kwargs=EasyDict(options), components=components, variables=top,
    )  # fmt: skip


def saved(path: Path, content: Any) -> str:
    path.write_bytes(nvidia_pickles.dumps(content))
    return str(path)


def nvidia_file(path: Path, state: Arrays, **options: Any) -> str:
    """Write (G, D, Gs) as NVIDIA does, with nothing in the networks that are not averaged."""
    blank = tensorflow_network({}, **options)
    return saved(path, (blank, blank, tensorflow_network(state, **options)))


def genforce_tensors(state: Arrays) -> dict[str, torch.Tensor]:
    """Return the network as GenForce's converter stores it."""
    blocks = sum("/Conv1/weight" in name for name in state) + 1
    actual = {"truncation.w_avg": state["dlatent_avg"], "synthesis.lod": state["lod"]}
    parts = {"StyleMod": "style", "Noise": "apply_noise"}
    for name, value in state.items():
        head, _, rest = name.partition("/")
        path = rest.split("/")
        if head == "mapping":
            label = path[0] == "LabelConcat"
            new = "label_weight" if label else f"{path[0].lower()}.{path[1]}"
            actual[f"mapping.{new}"] = value if label else value.T
        elif path[0].startswith("noise"):
            actual[f"synthesis.layer{path[0][5:]}.apply_noise.noise"] = value
        elif path[0].startswith("ToRGB"):
            new = f"synthesis.output{blocks - 1 - int(path[0][9:])}.{path[1]}"
            actual[new] = value.transpose(3, 2, 0, 1) if path[1] == "weight" else value
        elif head == "synthesis":
            number = 2 * int(math.log2(int(path[0].split("x")[0]) // 4))
            number += path[1] in ("Conv", "Conv1")
            new = ".".join([f"synthesis.layer{number}", *(parts.get(p, p) for p in path[2:])])
            actual[new] = value.transpose(3, 2, 0, 1) if path[2] == "weight" else value.T
            if path[2:] == ["const"] or value.ndim == 1:
                actual[new] = value
            if path[1] == "Conv0_up":
                actual[f"synthesis.layer{number}.blur.kernel"] = np.ones((1, 1, 3, 3))
    return {name: torch.tensor(value) for name, value in actual.items()}


def w_of(generator: StyleGAN2, ids: np.ndarray) -> np.ndarray:
    return generator.map(generator.draw(ids), generator.labels(ids))


def floats(generator: StyleGAN2, ids: np.ndarray = IDS) -> np.ndarray:
    """Compute the images before they are rounded, [n, 3, h, w]."""
    with torch.inference_mode():
        w = torch.from_numpy(w_of(generator, ids)).to(generator.device).reshape(len(ids), -1, W)
        noise = generator._noises(torch.from_numpy(ids).to(generator.device))
        ws = w.expand(-1, generator.shape.num_ws, -1)
        return generator.network.synthesis(ws, noise).cpu().numpy()


def expected_floats(
    state: Arrays, label: int | None = None, psi: float = 1, cutoff: int = 99, **options: Any
) -> list[np.ndarray]:
    count, images = sum(name.endswith("StyleMod/bias") for name in state), []
    for k in IDS:
        z = np.random.RandomState(k).randn(1, Z)[0]
        w = map_by_paper(state, z, label, options.get("mapping_nonlinearity", "lrelu"))
        moved = state["dlatent_avg"] + psi * (w - state["dlatent_avg"])
        ws = np.stack([moved if i < cutoff else w for i in range(count)])
        images.append(painted(state, ws, **options))
    return images


@pytest.mark.parametrize(
    ("network", "source"),
    [
        ({"fused_scale": False}, {}),
        ({"fused_scale": True}, {"psi": 0.7, "cutoff": 3}),
        ({"fused_scale": "auto", "truncation_psi": 0.7, "truncation_cutoff": 8}, {}),
        ({"label_size": 4, "resolution": 16}, {"label": 3, "psi": 0.6}),
        ({"use_instance_norm": False, "blur_filter": None}, {}),
        ({"use_pixel_norm": True, "nonlinearity": "relu", "mapping_nonlinearity": "relu"}, {}),
    ],
)
def test_images_equal_the_textbooks(
    network: dict[str, Any], source: dict[str, Any], tmp_path: Path, device: torch.device
) -> None:
    state = random_state(network.get("label_size", 0))
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state, **network), device, **source)
    expected = expected_floats(state, **source, **network)
    np.testing.assert_allclose(floats(generator), expected, rtol=1e-5, atol=5e-5)
    rounded = np.clip(np.array(expected) * 127.5 + 128, 0, 255)
    images = generator(IDS)
    assert (images.dtype, images.shape) == (np.uint8, (2, 3, 16, 16))
    assert np.abs(images - rounded + 0.5).max() < 0.51
    assert images.std() > 20


def test_layers_from_128_pixels_on_are_fused_by_themselves(tmp_path: Path) -> None:
    state = random_state(channels=(2, 2, 2, 2, 2, 2))
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state), CPU)
    expected = expected_floats(state, fused_scale="auto")
    np.testing.assert_allclose(floats(generator), expected, rtol=1e-5, atol=1e-4)
    assert np.abs(np.array(expected) - expected_floats(state, fused_scale=False)).max() > 0.1


@pytest.mark.parametrize("lod", [0.25, 1, 1.5, 2])
def test_a_network_that_still_grows(lod: float, tmp_path: Path) -> None:
    """Its image is upsampled from a smaller one, and two are blended between two sizes."""
    state = random_state() | {"lod": np.float32(lod)}
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state), CPU)
    images = floats(generator)
    np.testing.assert_allclose(images, expected_floats(state), rtol=1e-5, atol=5e-5)
    assert (images[..., ::2, :] == images[..., 1::2, :]).all() == (lod >= 1)


def test_a_network_without_noise(tmp_path: Path) -> None:
    state = random_state(noisy=False)
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", state, use_noise=False), CPU)
    expected = expected_floats(state, noisy=False)
    np.testing.assert_allclose(floats(generator), expected, rtol=1e-5, atol=5e-5)
    without = StyleGAN2(nvidia_file(tmp_path / "h.pkl", random_state()), CPU, noise="none")
    expected = expected_floats(random_state(), noisy=False)
    np.testing.assert_allclose(floats(without), expected, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_versions_of_the_format(version: int, tmp_path: Path) -> None:
    """StyleGAN's program writes 3; the first networks of StyleGAN2's, config-a, have 4."""
    network = tensorflow_network(random_state(), version)
    usual = StyleGAN2(nvidia_file(tmp_path / "g.pkl", random_state()), CPU)
    other = StyleGAN2(saved(tmp_path / "h.pkl", (None, None, network)), CPU)
    np.testing.assert_array_equal(usual(IDS), other(IDS))


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"models": t}], ids=["zoo", "training"])
def test_genforces_files_hold_the_same_network(
    classes: int, zipped: bool, wrap: Any, tmp_path: Path
) -> None:
    state = random_state(classes)
    blank = {name: 0 * tensor for name, tensor in genforce_tensors(state).items()}
    content = {"generator": blank, "discriminator": {}, "generator_smooth": genforce_tensors(state)}
    torch.save(wrap(content), tmp_path / "g.pth", _use_new_zipfile_serialization=zipped)
    converted = open_source(f"{tmp_path}/g.pth?psi=0.7", CPU)
    original = open_source(f"{nvidia_file(tmp_path / 'g.pkl', state)}?psi=0.7", CPU)
    np.testing.assert_array_equal(converted(IDS), original(IDS))


# What it is as a generator.


def test_it_is_latent(tmp_path: Path, device: torch.device) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state())
    generator = StyleGAN2(path, device, psi=0.5)
    assert isinstance(require_latent_generator(generator), LatentGenerator)
    w = w_of(generator, np.arange(16))
    assert (w.dtype, w.shape) == (np.float32, (16, W))
    np.testing.assert_array_equal(generator.synthesize(w), generator(np.arange(16)))
    average = w_of(StyleGAN2(path, device, psi=0), np.arange(3))
    np.testing.assert_array_equal(average, np.broadcast_to(average[0], (3, W)))
    clamped = open_source(f"{path}?truncate=clamp:0.7", CPU)
    assert clamped(np.arange(2)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("options", [{"noise": "random", "psi": 0.7}, {"label": 2}])
def test_an_image_depends_on_its_id_alone(
    options: dict[str, Any], tmp_path: Path, device: torch.device
) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state(4))
    generator, ids = StyleGAN2(path, device, **options), np.array([107, 3, 16, 17, 1000, 2])
    together = generator(ids)
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
    assert len({image.tobytes() for image in together}) == len(ids)


def test_random_noise_is_of_the_sample(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state())
    fixed, random = (StyleGAN2(path, CPU, psi=0, noise=noise) for noise in ("const", "random"))
    assert len({image.tobytes() for image in fixed(np.arange(4))}) == 1
    assert len({image.tobytes() for image in random(np.arange(4))}) == 4


def test_the_spec_names_the_family_and_all_that_changes_pixels(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state(4))
    options = [
        {},
        {"psi": 0.7},
        {"cutoff": 2},
        {"noise": "none"},
        {"noise": "random"},
        {"label": 0},
    ]
    specs = [StyleGAN2(path, CPU, **o).spec for o in options]
    assert all(a != b for i, a in enumerate(specs) for b in specs[:i])
    assert specs[0]["name"] == "stylegan"


def test_images_and_latents_stay_on_a_gpu(tmp_path: Path) -> None:
    """Only one bit a sample comes back, whether its numbers are finite; there are no numbers."""
    state = random_state(4) | {"lod": np.float32(0.5)}
    path = nvidia_file(tmp_path / "g.pkl", state)
    generator = StyleGAN2(path, CPU, psi=0.7, cutoff=2, noise="random")
    ids, network = np.array([107, 3, 15, 16]), copy.deepcopy(generator.network)
    with fake_cuda():
        generator.device, generator.network = CUDA, to_fake_cuda(network)
        with copies_to_the_host() as copies:
            images = generator.tensors(ids)
        assert (images.device.type, images.dtype) == ("cuda", torch.uint8)
        assert images.shape == (4, 3, 16, 16)
        assert copies == [(torch.bool, (4,))]


# What is refused.


def without(part: str) -> Arrays:
    return {name: value for name, value in random_state().items() if part not in name}


@pytest.mark.parametrize(
    ("state", "options", "what"),
    [
        (without("4x4/Conv/weight"), {}, "lacks 'synthesis.b\\d+.*', which these networks have"),
        (without("Dense1/bias"), {}, "Missing key.*mapping.fc1.bias"),
        (without("ToRGB_lod0"), {}, "lacks 'synthesis.b16.torgb.weight', which"),
        (without("8x8/Conv0_up/Noise"), {}, "Missing key.*b8.conv0.noise_strength"),
        (random_state() | {"extra": np.zeros(2)}, {}, "its variable extra is not known"),
        (
            random_state() | {"lod": np.float32(3)},
            {},
            "level of detail is 3.0, expected 0 to 2",
        ),
        (random_state() | {"lod": np.float32(np.nan)}, {}, "its level of detail is nan"),
        (random_state(), {"resolution": 32}, "its resolution is 32, but its tensors have 16"),
        (random_state(), {"use_styles": False}, "its option use_styles is False, expected True"),
        (random_state(), {"normalize_latents": False}, "its option normalize_latents is False"),
        (random_state(), {"fused_scale": "no"}, "its option fused_scale is 'no', expected True"),
        (random_state(), {"blur_filter": [1, 3, 3, 1]}, "its filter has 4 taps, expected an odd"),
        (random_state(), {"nonlinearity": "swish"}, "activation swish, expected relu, lrelu"),
        (random_state(), {"attention": 1}, "its option attention is not known"),
    ],
)
def test_other_networks(state: Arrays, options: dict[str, Any], what: str, tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", state, **options)
    with pytest.raises(SourceError, match=rf"g\.pkl .*{what}.*give it as module:Class") as error:
        StyleGAN2(path, CPU)
    assert "\n" not in str(error.value)


def test_precision_is_float32(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state())
    with pytest.raises(SourceError, match="StyleGAN computes in float32; leave it out"):
        open_source(f"{path}?precision=nvidia", CPU)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"generator": {"mapping.dense0.weight": torch.ones(2, 2), "noise": torch.ones(1)}},
         "its tensor noise is not known"),
        ({"generator": {f"a{i}": torch.ones(1) for i in range(1001)}}, "it has 1001 tensors"),
        ({"generator": {}}, "lacks 'mapping.fc0.weight'"),
        ({"state_dict": {}}, "holds the entries state_dict, expected G_ema"),
    ],
)  # fmt: skip
def test_other_torch_files(content: Any, what: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "g.pth")
    with pytest.raises(SourceError, match=rf"g\.pth .*{what}.*give it as module:Class"):
        open_source(str(tmp_path / "g.pth"), CPU)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_are_cut_off_or_changed(zipped: bool, tmp_path: Path) -> None:
    path, rng = tmp_path / "g.pth", np.random.default_rng(0)
    content = {"generator": genforce_tensors(random_state())}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(20):
        data = bytearray(whole)
        data[rng.integers(len(data) // 2)] ^= int(rng.integers(1, 256))
        path.write_bytes(data[: rng.integers(len(data))])
        with pytest.raises(RaymetricsError, match=r"g\.pth") as error:
            open_source(str(path), CPU)
        assert "\n" not in str(error.value)
