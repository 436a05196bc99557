"""`source?truncate=name:amount`: sample k stays a function of k, and its ends are exact."""

from __future__ import annotations

from pathlib import Path

import latent_sources  # as a user's module
import numpy as np
import pytest
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import LatentGenerator, open_source
from raymetrics.generators.base import seeded_normals
from raymetrics.generators.latents import TruncatedGenerator, rejection, sample_w, w_estimation
from raymetrics.generators.latents.random_streams import Purpose, sample_stream
from raymetrics.generators.latents.strategies import (
    STRATEGIES,
    STRATEGY_BY_LETTER,
    Z_STRATEGIES,
)
from tests.generators.stylegan2.test_stylegan2 import nvidia_file, random_state

CPU = torch.device("cpu")
IDS = np.array([107, 3, 64, 65, 1000, 2, 2**31, 3])
NAMES = sorted(STRATEGY_BY_LETTER.values())


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty folder for distributions, and fewer draws than usual."""
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 2000)
    return tmp_path / "weights" / "latents"


def flow(truncate: str, **options: object) -> TruncatedGenerator:
    query = "".join(f"&{name}={value}" for name, value in options.items())
    generator = open_source(f"latent_sources:Flow?truncate={truncate}{query}", CPU)
    assert isinstance(generator, TruncatedGenerator)
    return generator


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_sample_depends_on_its_id_alone(name: str, classes: int) -> None:
    generator = flow(f"{name}:0.3", classes=classes, block=16)
    together = generator(IDS)
    np.testing.assert_array_equal(together[1], together[7])
    for i, k in enumerate(IDS):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
        w = generator.latents(IDS)[i]
        np.testing.assert_array_equal(generator.latents(np.array([k]))[0], w)
    # Another process, which estimates by itself or reads what was kept.
    np.testing.assert_array_equal(flow(f"{name}:0.3", classes=classes, block=16)(IDS), together)


@pytest.mark.parametrize(
    ("source", "name"),
    [("latent_sources:Flow", name) for name in NAMES]
    + [("digits", "interpolate-w"), ("digits", "truncate-z"), ("faces", "clamp")],
)
def test_one_truncates_nothing(source: str, name: str) -> None:
    plain, whole = open_source(source, CPU), open_source(f"{source}?truncate={name}:1", CPU)
    np.testing.assert_array_equal(whole(IDS), plain(IDS))


def test_one_truncates_nothing_of_a_stylegan2(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip", 4))
    whole = open_source(f"{path}?truncate=F:1", CPU)
    np.testing.assert_array_equal(whole(IDS), open_source(path, CPU)(IDS))


@pytest.mark.parametrize("name", STRATEGIES)
def test_zero_makes_all_samples_of_a_class_the_same(name: str) -> None:
    generator = flow(f"{name}:0", classes=3)
    w, labels = generator.latents(np.arange(60)), generator.labels(np.arange(60))
    assert labels is not None
    class_values = [np.unique(np.round(w[labels == c], 3), axis=0) for c in range(3)]
    assert [len(rows) for rows in class_values] == [1, 1, 1]
    centre = latent_sources.CENTER if name in Z_STRATEGIES else None
    for label, rows in enumerate(class_values):
        expected = (
            generator.distributions.for_class(label).mean if centre is None else centre + 20 * label
        )
        np.testing.assert_allclose(rows[0], expected, atol=2e-3)


@pytest.mark.parametrize("name", ["reject-distance", "reject-density"])
def test_rejected_samples_are_the_first_of_their_candidates_that_is_near(name: str) -> None:
    generator, ids = flow(f"{name}:0.2", classes=2), np.arange(100)
    w, plain = generator.latents(ids), sample_w(generator.inner, ids)
    for label in (0, 1):
        rows = np.flatnonzero(generator.labels(ids) == label)
        distribution = generator.distributions.for_class(label)
        distance, limit = (
            (distribution.distance, distribution.distance_quantile(0.2))
            if name == "reject-distance"
            else (distribution.mahalanobis, distribution.mahalanobis_quantile(0.2))
        )
        stays = distance(plain[rows]) <= limit
        np.testing.assert_array_equal(w[rows[stays]], plain[rows[stays]])
        assert (distance(w[rows]) <= limit).all()
        assert 0.05 < stays.mean() < 0.4
        for k in rows[~stays][:5]:
            z = sample_stream(k, Purpose.CANDIDATES).randn(200, 3).astype(np.float32)
            places = np.arange(k + 1, k + 201) % 64
            moved = latent_sources.expected_w(z, np.full(200, label)) + 1e-6 * places[:, None]
            candidates = moved.astype(np.float32)
            expected = candidates[distance(candidates) <= limit][0]
            np.testing.assert_array_equal(w[k], expected)


@pytest.mark.parametrize("amount", [0.4, 1.6])
def test_thresholds_of_z(amount: float) -> None:
    """The z behind w, whose truncation leaves the coordinates within the threshold."""
    ids = np.arange(300)
    generator = flow(f"truncate-z-at:{amount}")
    z = seeded_normals(ids, 3)
    w, plain = generator.latents(ids), sample_w(generator.inner, ids)
    limits = latent_sources.expected_w(np.array([[-amount] * 3, [amount] * 3]), None)
    assert (w >= limits[0] - 1e-4).all()
    assert (w <= limits[1] + 1e-4).all()
    near = np.abs(z) <= amount
    np.testing.assert_array_equal(w[near], plain[near])
    assert (w[~near] != plain[~near]).all()
    scaled = flow("scale-truncated-z:0.5").latents(ids)
    near = np.abs(z) <= 2
    expected = latent_sources.expected_w(0.5 * z, None) + 1e-6 * (ids % 64)[:, None]
    np.testing.assert_allclose(scaled[near], expected[near], rtol=1e-5)
    assert np.abs(scaled[~near] - latent_sources.CENTER[np.nonzero(~near)[1]]).max() < 8


def test_densities_under_rejection_are_those_of_the_samples_that_are_near() -> None:
    """Half of all are kept: the mean of a kept quantity is that of the plain samples' near half."""
    generator, ids = flow("B:0.5"), np.arange(1500)
    w, plain = generator.latents(ids), sample_w(generator.inner, ids)
    distribution = generator.distributions.for_class(None)
    near = plain[distribution.mahalanobis(plain) <= distribution.mahalanobis_quantile(0.5)]
    error = 4 * np.sqrt(near.var(axis=0) * (1 / len(w) + 1 / len(near)))
    assert (np.abs(w.mean(axis=0) - near.mean(axis=0)) < error).all()


def test_clamping_and_replacing_take_the_kept_distribution() -> None:
    ids = np.arange(600)
    clamped, plain = flow("C:0.7"), open_source("latent_sources:Flow", CPU)
    w, before = clamped.latents(ids), sample_w(plain, ids)
    distribution = clamped.distributions.for_class(None)
    assert distribution.mahalanobis(w).max() <= distribution.mahalanobis_quantile(0.7) * (1 + 1e-5)
    moved = (w != before).any(axis=1)
    assert abs(moved.mean() - 0.3) < 0.08
    replaced = flow("G:0.7").latents(ids)
    stays = (replaced == before).all(axis=1)
    assert abs(stays.mean() - 0.7) < 0.08
    assert (replaced[~stays] == distribution.mean.astype(np.float32)).all()


def test_interpolation_is_stylegan2_s_psi_with_the_same_mean(
    tmp_path: Path, device: torch.device
) -> None:
    state = random_state("skip")
    path = nvidia_file(tmp_path / "g.pkl", state)
    truncated = open_source(f"{path}?truncate=D:0.6", device)
    assert isinstance(truncated, TruncatedGenerator)
    mean = truncated.distributions.for_class(None).mean
    same = nvidia_file(tmp_path / "h.pkl", {**state, "mapping.w_avg": mean})
    psi = open_source(f"{same}?psi=0.6", device)
    np.testing.assert_allclose(sample_w(truncated, IDS), sample_w(psi, IDS), rtol=1e-5, atol=1e-5)
    near = truncated(IDS).astype(int) - psi(IDS).astype(int)
    assert np.abs(near).max() <= 1
    assert psi(IDS).std() > 5


def test_one_mean_for_all_classes() -> None:
    ids = np.arange(9)
    each, all_classes = flow("D:0", classes=3), flow("D:0", classes=3, mean="all")
    assert each.spec != all_classes.spec
    assert len(np.unique(each.latents(ids)[:, 0])) == 3
    assert len(np.unique(all_classes.latents(ids)[:, 0])) == 1
    class_values = np.stack([each.distributions.for_class(label).mean for label in range(3)])
    np.testing.assert_allclose(all_classes.latents(ids[:1])[0], class_values.mean(axis=0), atol=0.5)


def test_a_distribution_is_estimated_once(
    weights_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = flow("C:0.5", classes=3)
    before = generator(IDS)
    asked_for = set(generator.labels(IDS).tolist())
    assert len(list(weights_cache.glob("*.npz"))) == len(asked_for)
    assert len(list(weights_cache.iterdir())) == len(asked_for)
    again = flow("C:0.5", classes=3)

    def never(label: int | None) -> None:
        raise AssertionError(label)

    monkeypatch.setattr(again.distributions, "estimate", never)
    np.testing.assert_array_equal(again(IDS), before)
    for file in weights_cache.iterdir():
        file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(flow("C:0.5", classes=3)(IDS), before)
    # Another generator's, and that of all classes together, are others.
    for variant in (flow("C:0.5", classes=2), flow("C:0.5", classes=3, mean="all")):
        monkeypatch.setattr(variant.distributions, "estimate", never)
        with pytest.raises(AssertionError):
            variant(IDS)


def test_a_distribution_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    expected = flow("B:0.5")(IDS)
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "file"))
    np.testing.assert_array_equal(flow("B:0.5")(IDS), expected)


def test_no_sample_is_behind_the_distribution() -> None:
    """Its draws are another stream: none is a sample's z."""
    z = sample_stream(0, Purpose.DISTRIBUTION).randn(2000, 3).astype(np.float32)
    class_values = open_source("latent_sources:Flow", CPU).draw(np.arange(2000))  # type: ignore[attr-defined]
    assert not set(map(tuple, z.tolist())) & set(map(tuple, class_values.tolist()))


def test_the_spec_covers_all_that_changes_pixels() -> None:
    texts = ["C:0.5", "clamp:0.50", "C:0.6", "B:0.5", "C:0.5&mean=all", "C:0.5&classes=2", "F:0.5"]
    specs = [flow(text).spec for text in texts]
    assert specs[0] == specs[1]
    assert all(a != b for i, a in enumerate(specs[1:]) for b in specs[1 : i + 1])
    assert flow("C:0.5").name == "latent_sources:Flow clamp:0.5"
    assert flow("C:0.5").length is None
    assert flow("C:0.5", length=9).length == 9


def test_a_class_with_the_three_methods_is_a_latent_generator() -> None:
    assert isinstance(open_source("latent_sources:Flow", CPU), LatentGenerator)
    assert not isinstance(open_source("sources:Brightness", CPU), LatentGenerator)
    assert not isinstance(flow("C:0.5"), LatentGenerator)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("mnist?truncate=C:0.5", "mnist is no latent generator.*expected digits, faces,"),
        ("sources:noise?truncate=C:0.5", "sources:noise is no latent.*draw.*map.*synthesize"),
        ("digits?truncate=H:0.5", "no truncation 'H'; expected name:amount, of A reject-dist.*"),
        ("digits?truncate=0.5", "no truncation '0.5'; expected name:amount"),
        ("digits?truncate=C", "truncate is 'C', expected an amount from 0 to 1"),
        ("digits?truncate=C:1.1", "truncate is 'C:1.1', expected an amount from 0 to 1"),
        ("digits?truncate=C:-0.1", "expected an amount from 0 to 1"),
        *(
            (f"digits?truncate={name}:1.5", "amount from 0 to 1")
            for name in STRATEGIES
            if name != "truncate-z-at"
        ),
        ("digits?truncate=truncate-z-at:-1", "expected a threshold from 0 on .*truncate-z-at:1.5"),
        ("digits?truncate=truncate-z-at:inf", "expected a threshold from 0 on"),
        ("digits?truncate=truncate-z-at:0.5&mean=all", "truncate-z-at has no use for a mean"),
        (
            "digits?truncate=C:0.5&cutoff=2",
            "digits does not take w by layers, .* leave",
        ),
        (
            "digits?truncate=E:0.5&cutoff=2",
            "interpolate-z moves z, .*leave out cutoff=2",
        ),
        ("digits?truncate=C:0.5&cutoff=-1", "cutoff is '-1', expected how many first layers"),
        ("latent_sources:LayeredFlow?truncate=C:0.5&cutoff=5", "cutoff is 5, but .* has 4 layers"),
        ("digits?cutoff=2", "source 'digits' has no option 'cutoff'"),
        ("digits?truncate=C:nan", "expected an amount from 0 to 1"),
        ("digits?truncate=C:0.5&mean=most", "mean is 'most', expected one of class, all"),
        ("digits?truncate=F:0.5&mean=all", "truncate-z has no use for a mean"),
        ("digits?mean=all", "source 'digits' has no option 'mean'"),
        ("digits?truncate=C:0.5&snapshot=3", "digits has no snapshot 3"),
        ("latent_sources:Sphere?truncate=E:0.5", "normalises z, .* interpolate-w .* map_scaled"),
    ],
)
def test_what_cannot_be_truncated(source: str, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        open_source(source, CPU)


def test_too_little_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "MAX_CANDIDATES", 200)
    with pytest.raises(SourceError, match="none of 200 latents of a sample is accepted"):
        flow("A:0.000001")(np.arange(50))


def test_errors_of_a_user_s_class() -> None:
    blank = open_source("latent_sources:BlankFlow?truncate=C:0.5", CPU)
    with pytest.raises(SourceError, match="among samples 2-2147483648, .* failed on 64 latents"):
        blank(IDS)
    crooked = open_source("latent_sources:CrookedFlow?truncate=C:1", CPU)
    with pytest.raises(SourceError, match=r"map of .*CrookedFlow gave float32 \[65, 3\] for 64"):
        crooked(IDS)
