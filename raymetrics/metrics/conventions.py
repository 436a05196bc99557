"""The choices that metrics depend on besides the features, as data.

Conventions repeat the choices of the programs of the field, protocols the numbers that papers
report.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics.frechet_ratio import FDR6_SPACES

CHOICES = {
    "ball": ("closed", "open"),
    "distances": ("float64", "float16", "float16-squared"),
    "kid_order": ("real-first", "generated-first"),
    "kid_generator": ("pcg64", "mt19937"),
    "kid_estimator": ("unbiased", "biased"),
    "mifid_side": ("generated", "real"),
}

# RandomState takes numbers below 2^32, and those of several runs follow each other.
_LAST_SEED = 2**32 - 10_001


@dataclass(frozen=True)
class Convention:
    """The choices by which metrics are computed. `get_convention("prdc")` has those of a program.

    k: one or several numbers of neighbors, without the point.
    ball: "closed" (distance <= radius) or "open" (<); they differ for duplicates.
    distances: "float64", exact; or "float16": features, distances and radii rounded to it; or
    "float16-squared": the same of squared distances.
    ddof: covariances are divided by count - ddof.
    kid_order, kid_generator: which side's rows each subset draws first, from numpy's
    default_rng(seed) ("pcg64") or RandomState(seed) ("mt19937"). kid_estimator: "biased" sums the
    kernel of each sample with itself too.
    is_splits: equal parts of the samples for the Inception Score; is_split_size: or parts of so
    many samples, the last of fewer. is_shuffle: the seed that samples are shuffled with before the
    splits; None: not shuffled. is_ddof: the variance over the splits is divided by their number -
    is_ddof.
    mifid_side: the samples whose nearest neighbors on the other side MiFID takes.
    seed: of KID's subsets, PRD's clusters, and the draws of FID-infinity and FID at sample counts.
    """

    name: str = "raymetrics"
    k: int | Sequence[int] = 3
    ball: Literal["closed", "open"] = "closed"
    distances: Literal["float64", "float16", "float16-squared"] = "float64"
    ddof: int = 1
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    kid_order: Literal["real-first", "generated-first"] = "real-first"
    kid_generator: Literal["pcg64", "mt19937"] = "pcg64"
    kid_estimator: Literal["unbiased", "biased"] = "unbiased"
    is_splits: int = 10
    is_split_size: int | None = None
    is_ddof: int = 0
    is_shuffle: int | None = None
    mifid_side: Literal["generated", "real"] = "generated"
    seed: int = 0
    changes: tuple[str, ...] = ()  # what differs from the program of the name, as "k=5"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise RaymetricsError(
                    f"{name} is {getattr(self, name)!r}; there are {', '.join(choices)}"
                )
        minimums = {
            "kid_subsets": 1, "kid_subset_size": 2, "is_splits": 1, "is_split_size": 1,
            "is_ddof": 0, "ddof": 0,
        }  # fmt: skip
        for name, value in minimums.items():
            if getattr(self, name) is not None and getattr(self, name) < value:
                raise NotEnoughData(f"{name} is {getattr(self, name)}, expected at least {value}")
        for name in ("seed", "is_shuffle"):
            if not 0 <= (getattr(self, name) or 0) <= _LAST_SEED:
                raise RaymetricsError(
                    f"{name} is {getattr(self, name)}, expected a number from 0 to {_LAST_SEED}"
                )
        ks = np.unique(self.k)
        if len(ks) and not np.issubdtype(ks.dtype, np.integer):
            raise RaymetricsError(f"k is {self.k!r}, expected whole numbers, e.g. 3 or (3, 5)")
        if not len(ks) or ks[0] < 1:
            raise NotEnoughData(f"k is {self.k}, expected at least 1")
        # A list could not be part of a key.
        object.__setattr__(self, "k", int(ks[0]) if len(ks) == 1 else tuple(ks.tolist()))

    @property
    def ks(self) -> tuple[int, ...]:
        """Every k once, ascending."""
        return (self.k,) if isinstance(self.k, int) else tuple(self.k)

    def effective_radii(self, radii: np.ndarray) -> np.ndarray:
        """Return radii of closed balls in float64 that hold the same points as these balls."""
        if self.distances == "float16":
            # Larger than any distance between numbers of float16, and still finite.
            return np.minimum(effective_float16_radii(radii, self.ball), 2.0**29)
        if self.distances == "float16-squared":
            squares = np.minimum(effective_float16_radii(radii**2, self.ball), 2.0**58)
            return largest_roots(squares)
        if self.ball == "closed":
            return radii
        return np.where(radii > 0, np.nextafter(radii, -np.inf), -1.0)

    def round_features(self, features: np.ndarray) -> np.ndarray:
        """Round features as the distances take them. ShardError if they exceed float16."""
        if self.distances == "float64":
            return features
        with np.errstate(over="ignore"):
            rounded = features.astype(np.float16)
        overflows = np.isinf(rounded).any(axis=1)
        if overflows.any():
            raise ShardError(
                f"{overflows.sum()} of {len(features)} rows of features hold values beyond 65504, "
                f"the largest float16, in which the convention {self.name} has them; take another "
                "one"
            )
        return rounded.astype(np.float32)


def largest_roots(squares: np.ndarray) -> np.ndarray:
    """Return the largest float64 r with r^2 <= the squares, in float64; -1 for negative squares."""
    roots = np.sqrt(squares.clip(min=0))
    roots = np.where(roots**2 > squares, np.nextafter(roots, -np.inf), roots)
    larger = np.nextafter(roots, np.inf)
    roots = np.where(larger**2 <= squares, larger, roots)
    return np.where(squares < 0, -1.0, roots)


def effective_float16_radii(radii: np.ndarray, ball: str) -> np.ndarray:
    """Return the largest float64 distances that float16 rounds to the rounded radii, or below.

    Each is half-way to the next float16; exactly half-way is rounded to the even one of the two.
    """
    with np.errstate(over="ignore"):  # infinite radii reach everything
        rounded = radii.astype(np.float16)
        if ball == "open":
            rounded = np.nextafter(rounded, np.float16(-np.inf))
        above = np.nextafter(rounded, np.float16(np.inf)).astype(np.float64)
    # After the largest one, infinity stands where 2^16 would be.
    above[np.isinf(above) & np.isfinite(rounded)] = 2.0**16
    half_way = (rounded.astype(np.float64) + above) / 2
    even = rounded.view(np.uint16) % 2 == 0
    return np.where(even, half_way, np.nextafter(half_way, -np.inf))


_PEER = {"kid_generator": "mt19937", "kid_order": "generated-first"}

CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(),
        # Kynkaanniemi et al., both papers; Heusel et al. (TTUR).
        Convention("official", **_PEER),  # type: ignore[arg-type]
        Convention("prdc", k=5, ball="open"),
        Convention("torch-fidelity", **_PEER, seed=2020, is_shuffle=2020),  # type: ignore[arg-type]
        # stylegan2-ada-pytorch and stylegan3.
        Convention("nvidia", **_PEER, ddof=0, distances="float16"),  # type: ignore[arg-type]
        Convention("clean-fid", **_PEER),  # type: ignore[arg-type]
        Convention("pytorch-fid"),
        # The evaluator of guided-diffusion: splits of 5,000 in the order of the file.
        Convention("adm", distances="float16-squared", is_split_size=5000),
        # Its subsets and splits are drawn by torch's unseeded generator; these have one seed. Its
        # MiFID takes the neighbors of real samples, that of the paper those of generated ones.
        Convention("torchmetrics", is_shuffle=0, is_ddof=1, mifid_side="real"),
        Convention("edm2"),
        Convention("fd-loss", is_shuffle=2020),
        Convention("fdeval", is_shuffle=0),  # equal for multiples of 10 samples; it drops the rest
        # LTH14's fork of torch-fidelity, as MAR and JiT call it.
        Convention("mar", **_PEER, seed=2020, is_shuffle=2020),  # type: ignore[arg-type]
        Convention("dgm-eval", k=5, ball="open"),
    )
}


def get_convention(name: str, **changes: Any) -> Convention:
    """Return the convention of a program with some choices changed.

    Changes that are None are left out. RaymetricsError for an unknown name.
    """
    if name not in CONVENTIONS:
        raise RaymetricsError(
            f"no convention {name!r}{_near(name, CONVENTIONS)}; there are {', '.join(CONVENTIONS)}"
        )
    return change_convention(CONVENTIONS[name], **changes)


def change_convention(convention: Convention, **changes: Any) -> Convention:
    """Return the convention with some choices changed, which it names in `changes`.

    Changes that are None are left out.
    """
    changed = {key: value for key, value in changes.items() if value is not None}
    differing = [
        f"{key}={'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in changed.items()
        if value != getattr(convention, key)
    ]
    return replace(convention, **changed, changes=(*convention.changes, *differing))


def parse_changes(text: str) -> dict[str, Any]:
    """Parse "kid_subsets=20,is_splits=5" into {"kid_subsets": 20, "is_splits": 5}.

    A list of k is written k=3+5. RaymetricsError for a choice that does not exist, or a value of
    another kind.
    """
    kinds = {field.name: field.type for field in fields(Convention)}
    settable = [name for name in kinds if name not in ("name", "changes")]
    changes: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name not in settable:
            raise RaymetricsError(
                f"{pair!r} sets no choice of a convention{_near(name, settable)}; write "
                f"NAME=VALUE with {', '.join(settable)}"
            )
        if name in CHOICES:
            changes[name] = value
            continue
        try:
            numbers = [int(part) for part in value.split("+")]
        except ValueError:
            raise RaymetricsError(f"{name} is {value!r}, expected a whole number") from None
        changes[name] = tuple(numbers) if name == "k" and len(numbers) > 1 else numbers[0]
    return changes


def _near(name: str, names: Iterable[str]) -> str:
    """Return " (did you mean X?)" for the nearest of the names, "" if none is near."""
    near = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {near[0]}?)" if near else ""


@dataclass(frozen=True)
class ImageRule:
    """The images that a protocol compares: squares of `size` pixels.

    resize: how larger images become such squares, a name of the option `resize` of data sets; None
    if they have that size.
    """

    size: int
    resize: str | None = None

    @property
    def options(self) -> dict[str, str]:
        """The options of a data set that make such images."""
        return {"size": str(self.size)} | ({} if self.resize is None else {"resize": self.resize})


@dataclass(frozen=True)
class Protocol:
    """A named number of the literature: metrics, convention, and the samples of each side.

    generated: the number of generated samples; None for all. real: the number of real samples; None
    for all, but at most `real_at_most`. extractor: the network that the numbers of the literature
    were computed with, or several with commas between them, all of which it takes; "" where it is
    no network of images, and `features` says whose features it takes. dimension: of the features,
    where it is known. choice: of a larger set the first samples by id, or random ones. images: of
    both sides; None if the protocol does not say.
    """

    name: str
    metrics: tuple[str, ...]
    convention: Convention
    generated: int | None
    real: int | None = None
    real_at_most: int | None = None
    extractor: str = "inception"
    choice: Literal["first", "random"] = "first"
    images: ImageRule | None = None
    features: str = ""
    dimension: int | None = None

    @property
    def spaces(self) -> tuple[str, ...]:
        """The extractors of a protocol that takes several; empty for one, which may be another."""
        names = tuple(self.extractor.split(","))
        return names if len(names) > 1 else ()

    @property
    def seed(self) -> int | None:
        """The seed of a random choice, unless the user names another; None for the first ones."""
        return 0 if self.choice == "random" else None

    def counts(self, *, real: int, generated: int) -> tuple[int, int]:
        """Return the numbers of real and generated samples. NotEnoughData if a side has fewer."""
        for side, available, required in (
            ("real", real, self.real or 1),
            ("generated", generated, self.generated or 1),
        ):
            if available < required:
                raise NotEnoughData(
                    f"{self.name} takes {required} {side} samples, there are {available}; extract "
                    "more, or evaluate without a protocol"
                )
        real_count = min(self.real or real, self.real_at_most or real, real)
        return real_count, self.generated or generated


_NVIDIA, _OFFICIAL = CONVENTIONS["nvidia"], CONVENTIONS["official"]
_PYTORCH_FID = CONVENTIONS["pytorch-fid"]
_I3D = "the 400 logits of I3D (Kinetics) of clips"
_CLIPS = "features of clips by I3D or VideoMAE"
_AUDIO = "features of audio, as of VGGish, PANNs, CLAP or EnCodec"
_VJEPA = "V-JEPA features of clips"
_ADM, _EDM2 = CONVENTIONS["adm"], CONVENTIONS["edm2"]
_CLEAN_FID, _COCO_IMAGES = CONVENTIONS["clean-fid"], ImageRule(256, "nvidia-centre")

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # NVIDIA's names and programs.
        Protocol("fid50k_full", ("fid",), _NVIDIA, 50_000),
        Protocol("kid50k_full", ("kid",), _NVIDIA, 50_000, real_at_most=1_000_000),
        Protocol("pr50k3_full", ("pr",), _NVIDIA, 50_000, real_at_most=200_000, extractor="vgg16"),
        Protocol("is50k", ("is",), _NVIDIA, 50_000),
        # The papers that raymetrics implements: "50k randomly chosen real and generated images".
        Protocol("fid50k", ("fid",), _OFFICIAL, 50_000, 50_000, choice="random"),
        Protocol("pr50k3", ("pr",), _OFFICIAL, 50_000, 50_000, extractor="vgg16", choice="random"),
        # prdc's and Sajjadi et al.'s examples.
        Protocol("pr10k5", ("pr", "dc"), CONVENTIONS["prdc"], 10_000, 10_000, extractor="vgg16"),
        # ADM's table, and EDM2's two numbers, against statistics by name.
        Protocol("adm256", ("fid", "is"), _ADM, 50_000),
        Protocol("edm2-fid", ("fid",), _EDM2, 50_000),
        Protocol(
            "edm2-fd-dinov2",
            ("fid",),
            _EDM2,
            50_000,
            extractor="dinov2-vit-l-14?resize=torch-bicubic-antialias",
        ),
        # Six spaces, all training images; the norms are those of a validation set.
        Protocol("fdr6", ("fdr",), CONVENTIONS["fd-loss"], 50_000, extractor=",".join(FDR6_SPACES)),
        # StyleGAN-V's and cd-fvd's programs, both with NVIDIA's moments.
        Protocol(
            "fvd2048",
            ("fid",),
            _NVIDIA,
            2048,
            real_at_most=2048,
            extractor="",
            features=_I3D,
            dimension=400,
        ),
        Protocol("cd-fvd", ("fid",), _NVIDIA, 2048, extractor="", features=_CLIPS),
        # fadtk and frechet-audio-distance, both with pytorch-fid's distance.
        Protocol("fad", ("fid",), _PYTORCH_FID, None, extractor="", features=_AUDIO),
        Protocol("jedi", ("jedi",), CONVENTIONS["raymetrics"], None, extractor="", features=_VJEPA),
        Protocol("fid10k", ("fid",), CONVENTIONS["raymetrics"], 10_000, 10_000),
        Protocol("prd10k", ("prd",), CONVENTIONS["raymetrics"], 10_000, 10_000),
        # GigaGAN's and DMD2's programs: images of 30,000 captions of COCO's val2014 against all of
        # its images, cropped to the centre and resized by Lanczos. Their CLIP score is a cosine.
        Protocol(
            "coco30k",
            ("fid",),
            _CLEAN_FID,
            30_000,
            extractor="inception?resize=clean",
            images=_COCO_IMAGES,
        ),
        Protocol(
            "coco30k-clip",
            ("clipscore?scaling=cosine",),
            _CLEAN_FID,
            30_000,
            extractor="clipscore-vit-b-32",
            images=_COCO_IMAGES,
        ),
        # playgroundai/MJHQ-30K: clean-fid of images of 1024 x 1024, of all and by category.
        Protocol(
            "mjhq30k",
            ("fid",),
            _CLEAN_FID,
            30_000,
            30_000,
            extractor="inception?resize=clean",
            images=ImageRule(1024),
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """Return the protocol of a name. RaymetricsError for an unknown name."""
    if name not in PROTOCOLS:
        raise RaymetricsError(
            f"no protocol {name!r}{_near(name, PROTOCOLS)}; there are {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]
