"""Strategy E of a mapping that divides z by its length: z moves after the division."""

from __future__ import annotations

from pathlib import Path

import latent_sources  # as a user's module
import numpy as np
import pytest
import torch

from raymetrics.generators import open_source
from raymetrics.generators.base import seeded_normals
from raymetrics.generators.latents import sample_w, w_estimation
from raymetrics.generators.stylegan2 import StyleGAN2
from tests.generators.stylegan1 import test_stylegan1
from tests.generators.stylegan2.test_stylegan2 import (
    RATE,
    Arrays,
    W,
    Z,
    dense,
    lrelu,
    normalized,
    nvidia_file,
    random_state,
)

CPU = torch.device("cpu")
IDS = np.array([107, 3, 64, 65, 1000, 2, 2**31, 3])
KINDS = pytest.mark.parametrize(("classes", "joint"), [(0, False), (4, False), (4, True)])


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 500)


def map_by_definition(state: Arrays, z: np.ndarray, label: int | None, amount: float) -> np.ndarray:
    """The first layer gets amount * normalized z, beside the class as it always is; where both are
    normalized together, z moves before.
    """
    x = amount * normalized(z)
    if label is not None and "mapping.concat.weight" in state:
        x = normalized(np.concatenate([amount * z, state["mapping.concat.weight"][:, label]]))
    elif label is not None:
        one_hot = np.eye(4)[label]
        x = np.concatenate([x, normalized(dense(one_hot, state, "mapping.embed"))])
    for i in range(2):
        x = lrelu(dense(x, state, f"mapping.fc{i}", RATE))
    return x


@KINDS
def test_stylegan2_moves_z_after_its_normalization(
    classes: int, joint: bool, tmp_path: Path, device: torch.device
) -> None:
    state = random_state("skip", classes, joint)
    path = nvidia_file(tmp_path / "g.pkl", state)
    plain = open_source(path, device)
    labels = plain.labels(IDS) if classes else [None] * len(IDS)
    for amount in (0.5, 0.1):
        w = sample_w(open_source(f"{path}?truncate=E:{amount}", device), IDS)
        expected = [
            map_by_definition(state, z.astype(np.float64), label, amount)
            for z, label in zip(seeded_normals(IDS, Z), labels, strict=True)
        ]
        np.testing.assert_allclose(w, expected, rtol=1e-4, atol=1e-5)


@KINDS
def test_the_ends_of_stylegan2_s_interpolation(classes: int, joint: bool, tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip", classes, joint))
    whole = open_source(f"{path}?truncate=E:1", CPU)
    np.testing.assert_array_equal(whole(IDS), open_source(path, CPU)(IDS))
    truncated = open_source(f"{path}?truncate=E:0", CPU)
    w, labels = sample_w(truncated, IDS), truncated.labels(IDS)
    assert w.shape == (8, W)
    for label in [None] if labels is None else np.unique(labels):
        same = w if labels is None else w[labels == label]
        # Equal latents at other places of a block may differ in their last bits on some processors.
        np.testing.assert_allclose(
            same, np.broadcast_to(same[:1], same.shape), rtol=1e-5, atol=1e-6
        )
    if labels is not None:
        assert len(np.unique(np.round(w, 3), axis=0)) == len(np.unique(labels))


def test_stylegan_moves_z_as_stylegan2_does(tmp_path: Path, device: torch.device) -> None:
    state = test_stylegan1.random_state()
    path = test_stylegan1.nvidia_file(tmp_path / "g.pkl", state)
    x = 0.3 * np.stack([normalized(z.astype(np.float64)) for z in seeded_normals(IDS, Z)])
    for i in range(2):
        weight, bias = (state[f"mapping/Dense{i}/{part}"] for part in ("weight", "bias"))
        x = test_stylegan1.lrelu(x @ (test_stylegan1.he(weight) * RATE) + bias * RATE)
    w = sample_w(open_source(f"{path}?truncate=E:0.3", device), IDS)
    np.testing.assert_allclose(w, x, rtol=1e-4, atol=1e-5)
    whole, layers = (
        open_source(path, device),
        open_source(f"{path}?truncate=D:0.3&cutoff=2", device),
    )
    by_layers = sample_w(layers, IDS)
    np.testing.assert_array_equal(by_layers[:, 2], sample_w(whole, IDS))
    assert (by_layers[:, 1] != by_layers[:, 2]).any()
    assert (layers(IDS) != whole(IDS)).any()


def test_scale_1_gives_the_bits_of_map_with_psi(tmp_path: Path) -> None:
    generator = StyleGAN2(nvidia_file(tmp_path / "g.pkl", random_state("skip")), CPU, psi=0.7)
    z = generator.draw(IDS)
    np.testing.assert_array_equal(generator.map_scaled(z, None, 1.0), generator.map(z, None))
    average = generator.network.mapping.w_avg.numpy()
    whole = StyleGAN2(str(tmp_path / "g.pkl"), CPU).map_scaled(z, None, 0.4)
    expected = average + 0.7 * (whole - average)
    np.testing.assert_allclose(generator.map_scaled(z, None, 0.4), expected, rtol=1e-5, atol=1e-6)


def test_a_class_of_a_user_may_have_the_method() -> None:
    source = "latent_sources:ScaledSphere?classes=3"
    half, labels = (
        open_source(f"{source}&truncate=E:0.5", CPU),
        open_source(source, CPU).labels(IDS),
    )
    z = seeded_normals(IDS, 3).astype(np.float64)
    direction = z / np.sqrt(np.square(z).mean(axis=1, keepdims=True))
    expected = latent_sources.expected_w(0.5 * direction, labels)
    np.testing.assert_allclose(sample_w(half, IDS), expected, atol=1e-4)
    for i, k in enumerate(IDS):
        np.testing.assert_array_equal(half(np.array([k]))[0], half(IDS)[i])
    whole = open_source(f"{source}&truncate=E:1", CPU)
    np.testing.assert_array_equal(whole(IDS), open_source(source, CPU)(IDS))


def test_the_spec_says_what_moves(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    spec = open_source(f"{path}?truncate=E:0.5", CPU).spec
    assert spec["interpolates"] == "normalized z"
    joint = nvidia_file(tmp_path / "joint.pkl", random_state("skip", 4, joint=True))
    for text in (f"{path}?truncate=F:0.5", f"{joint}?truncate=E:0.5", "digits?truncate=E:0.5"):
        assert "interpolates" not in open_source(text, CPU).spec
