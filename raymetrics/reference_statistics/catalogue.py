"""The catalogue: the files of statistics that papers and programs compare with.

A file has a digest here only if somebody has published one. `GIT_BLOB` digests are those by which a
git repository names its files: SHA-1 of the length and the content.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from raymetrics.errors import RaymetricsError

SHA256, GIT_BLOB = "sha256", "git blob"
NAME_PREFIX = "stats:"


@dataclass(frozen=True)
class StatisticsFile:
    """A file of statistics of a data set.

    name: in this catalogue. url: where its publisher offers it. dataset: the images, with their
    size, crop and split. count: images; None where it is not stated. holds: the arrays in it.
    extractor: the network, as `extract` takes it. used_by: who compares with it. digest: as
    (kind, hexadecimal digits); None if none was published.
    """

    name: str
    url: str
    dataset: str
    holds: str
    extractor: str
    used_by: str
    count: int | None = None
    digest: tuple[str, str] | None = None
    digest_source: str = ""

    @property
    def file_name(self) -> str:
        """The name of the file in the folder of statistics, with the ending of the address."""
        return f"{self.name}.{self.url.rpartition('.')[2]}"


_ADM_URL = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches"
_EDM_URL = "https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs"
_EDM2_URL = "https://nvlabs-fi-cdn.nvidia.com/edm2/dataset-refs"
_CLEAN_FID_URL = "https://www.cs.cmu.edu/~clean-fid/stats"
_MU_SIGMA = "mu, sigma"
_ADM_HOLDS = "mu, sigma, mu_s, sigma_s of all images; arr_0, 10,000 of them"


def _adm_files() -> Iterator[StatisticsFile]:
    """Yield the reference batches of ADM (Dhariwal & Nichol 2021), from its evaluations/README."""
    files = {
        "adm-imagenet64": ("imagenet/64/VIRTUAL_imagenet64_labeled", "ImageNet train, 64 px"),
        "adm-imagenet128": (
            "imagenet/128/VIRTUAL_imagenet128_labeled",
            "ImageNet train, 128 px",
        ),
        "adm-imagenet256": (
            "imagenet/256/VIRTUAL_imagenet256_labeled",
            "ImageNet train, 256 px",
        ),
        "adm-imagenet512": ("imagenet/512/VIRTUAL_imagenet512", "ImageNet train, 512 px"),
        "adm-lsun-bedroom256": ("lsun/bedroom/VIRTUAL_lsun_bedroom256", "LSUN bedroom, 256 x 256"),
        "adm-lsun-cat256": ("lsun/cat/VIRTUAL_lsun_cat256", "LSUN cat, 256 x 256"),
        "adm-lsun-horse256": ("lsun/horse/VIRTUAL_lsun_horse256", "LSUN horse, 256 x 256"),
    }
    for name, (path, dataset) in files.items():
        yield StatisticsFile(
            name, f"{_ADM_URL}/{path}.npz", f"{dataset}, ADM's centre crop", _ADM_HOLDS,
            "inception", "ADM, DiT, SiT, LDM and most papers on ImageNet",
        )  # fmt: skip


def _edm_files() -> Iterator[StatisticsFile]:
    """Yield the references of EDM and EDM2 (Karras et al. 2022, 2024), from their READMEs."""
    for name, dataset, count in (
        ("cifar10-32x32", "CIFAR-10 train, 32 px", 50_000),
        ("ffhq-64x64", "FFHQ, 64 x 64", 70_000),
        ("afhqv2-64x64", "AFHQv2, 64 x 64", None),
        ("imagenet-64x64", "ImageNet train, 64 x 64, EDM's centre crop", None),
    ):
        yield StatisticsFile(
            f"edm-{name}", f"{_EDM_URL}/{name}.npz", dataset, _MU_SIGMA, "inception", "EDM", count
        )
    for size in (64, 512):
        yield StatisticsFile(
            f"edm2-img{size}", f"{_EDM2_URL}/img{size}.pkl",
            f"ImageNet train, {size} x {size}, EDM2's centre crop",
            "pairs of mu, sigma: fid, fd_dinov2", "inception", "EDM2",
        )  # fmt: skip


def _lth14_files() -> Iterator[StatisticsFile]:
    """Yield the files that MAR and JiT give to torch-fidelity's fork as fid_statistics_file."""
    yield StatisticsFile(
        "mar-imagenet256",
        "https://github.com/LTH14/mar/raw/main/fid_stats/adm_in256_stats.npz",
        "ImageNet train, 256 x 256: ADM's mean and covariance", _MU_SIGMA, "inception",
        "MAR, xAR and papers that copied their call", None,
        (GIT_BLOB, "1da4c17607fe959d54999fd098105649a0c05e15"), "the repository LTH14/mar",
    )  # fmt: skip
    digests = {
        256: "412046720c0d496dc6d72a30eac3e22b9ef6ddac3501cce7f996674ad227ba4c",
        512: "cdd15b54f9d1f26a881fcdc920a3410fa7a934047d6c4f5b8395b87182a9ab42",
    }
    for size, digest in digests.items():
        yield StatisticsFile(
            f"jit-imagenet{size}",
            f"https://github.com/LTH14/JiT/raw/main/fid_stats/jit_in{size}_stats.npz",
            f"ImageNet train, {size} x {size}", _MU_SIGMA, "inception",
            "JiT, pMF, DiffusionBench and papers of 2026", None,
            (SHA256, digest), "a port of JiT that publishes it; not its authors",
        )  # fmt: skip


_CLEAN_FID_SETS = (
    ("cifar10", 32, "train", 50_000),
    ("cifar10", 32, "test", 10_000),
    ("ffhq", 256, "trainval", 50_000),
    ("ffhq", 256, "trainval70k", 70_000),
    ("ffhq", 1024, "trainval", 50_000),
    ("ffhq", 1024, "trainval70k", 70_000),
    ("lsun_church", 256, "train", 50_000),
    ("lsun_horse", 256, "train", 50_000),
    ("lsun_cat", 256, "train", 50_000),
    ("lsun_cat", 256, "trainfull", 1_657_264),
    ("afhq_cat", 512, "train", 5_153),
    ("afhq_dog", 512, "train", 4_739),
    ("afhq_wild", 512, "train", 4_738),
    ("brecahad", 512, "train", 1_944),
    ("metfaces", 1024, "train", 1_336),
    ("horse2zebra", 256, "test", 140),
    ("cat2dog", 256, "test", 500),
)
_CLEAN_FID_MODES = {
    "clean": "inception?resize=clean",
    "legacy_tensorflow": "inception",
    "legacy_pytorch": "inception?resize=torch-bilinear",
}


def _clean_fid_files() -> Iterator[StatisticsFile]:
    """Yield the statistics that clean-fid (Parmar et al. 2022) hosts, from its README."""
    for dataset, size, split, count in _CLEAN_FID_SETS:
        for mode, extractor in _CLEAN_FID_MODES.items():
            yield StatisticsFile(
                f"clean-fid-{dataset}{size}-{split}-{mode}",
                f"{_CLEAN_FID_URL}/{dataset}_{mode}_{split}_{size}.npz",
                f"{dataset} {split}, {size} x {size}", _MU_SIGMA, extractor,
                f"clean-fid, mode {mode}", count,
            )  # fmt: skip


CATALOGUE = {
    file.name: file
    for files in (_adm_files(), _edm_files(), _lth14_files(), _clean_fid_files())
    for file in files
}


def find_statistics_file(name: str) -> StatisticsFile:
    """Return the file of a name in the catalogue; RaymetricsError, with near names, otherwise."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, 3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? All" if near else "all"
    raise RaymetricsError(
        f"no statistics {name!r} in the catalogue; {hint} are shown by: raymetrics statistics list"
    )
