"""`calculate_metrics` gives the numbers of torch-fidelity, as installed, from every input."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

import raymetrics as rm
from raymetrics.compatibility.image_inputs import _NOISES, _resize_and_crop
from raymetrics.compatibility.torch_fidelity import _DEFAULTS, _FIXED, _WITHOUT_EFFECT
from raymetrics.errors import RaymetricsError
from raymetrics.generators import open_source
from tests.helpers.random_inception import save_random_inception

REAL, GENERATED = 10, 12
SMALL = {"isc_splits": 2, "kid_subsets": 3, "kid_subset_size": 8, "verbose": False, "cuda": False}


def pictures(count: int, seed: int) -> np.ndarray:
    """Coarse random shapes, uint8 [n, 3, 40, 40]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 3, 5, 5), np.uint8)
    return coarse.repeat(8, 2).repeat(8, 3)


def write_folder(folder: Path, images: np.ndarray) -> str:
    folder.mkdir(parents=True)
    for k, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{k:03}.png")
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """input1 is the generated side, as there."""
    folder = tmp_path_factory.mktemp("images")
    return {
        "input1": write_folder(folder / "generated", pictures(GENERATED, 1)),
        "input2": write_folder(folder / "real", pictures(REAL, 2)),
    }


def test_all_metrics_are_those_of_the_program(folders: dict[str, str], tmp_path: Path) -> None:
    weights = save_random_inception(tmp_path / "weights.pth")
    asked = dict(
        **folders, isc=True, fid=True, kid=True, prc=True,
        feature_extractor="inception-v3-compat", feature_extractor_weights_path=str(weights),
        **SMALL, cache=False, save_cpu_ram=True,
    )  # fmt: skip
    actual = rm.calculate_metrics(**asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch_fidelity.calculate_metrics(**asked)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        # The program computes the kernel, whose sums cancel, in float32.
        tolerance = 2e-3 if name.startswith("kernel") else 2e-4
        assert actual[name] == pytest.approx(value, rel=tolerance, abs=1e-6), name
    # The fork's call: statistics in the place of the real images.
    features = rm.extract(
        f"{folders['input2']}", f"inception?weights={weights}", str(tmp_path / "real")
    )
    rm.export(features.shards, to=str(tmp_path / "real.npz"), format="npz",
              columns=["inception_pre_logits"])  # fmt: skip
    of_file = rm.calculate_metrics(
        **{**asked, "input2": None, "kid": False, "prc": False},
        fid_statistics_file=tmp_path / "real.npz",
    )
    assert of_file["frechet_inception_distance"] == pytest.approx(
        actual["frechet_inception_distance"], rel=1e-4
    )
    assert of_file["inception_score_mean"] == actual["inception_score_mean"]


class Pictures(Dataset):
    """Images as torch-fidelity takes them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def inputs(folder: Path, images: np.ndarray) -> dict[str, Any]:
    np.savez(folder / "images.npz", arr_0=images.transpose(0, 2, 3, 1))
    np.save(folder / "images.npy", images)
    tensor = torch.from_numpy(images)
    return {
        "folder": write_folder(folder / "folder", images),
        "npz": str(folder / "images.npz"),
        "npy": folder / "images.npy",
        "array": images,
        "channels last": images.transpose(0, 2, 3, 1),
        "tensor": tensor,
        "Dataset": Pictures(images),
        "Dataset of tuples": TensorDataset(tensor, torch.zeros(len(images))),
        "list of pictures": [Image.fromarray(image.transpose(1, 2, 0)) for image in images],
        "batches": (images[start : start + 7] for start in range(0, len(images), 7)),
    }


def test_every_input_gives_the_same_numbers(tmp_path: Path) -> None:
    real = open_source("mnist", torch.device("cpu"))(np.arange(40))
    generated = open_source("digits", torch.device("cpu"))(np.arange(30))
    asked = {"fid": True, "prc": True, "feature_extractor": "digits", **SMALL}
    expected = rm.calculate_metrics(
        input1="digits", input1_model_num_samples=30, input2=real, **asked
    )
    for name, value in inputs(tmp_path, generated).items():
        numbers = rm.calculate_metrics(input1=value, input2=real, **asked)
        assert numbers == pytest.approx(expected, rel=1e-6), name


class Painter(torch.nn.Module):
    """A module from z [n, 5] to images uint8 [n, 3, 28, 28]."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        gray = (z.abs() * 60).clamp(0, 255).to(torch.uint8)
        return gray[:, :3, None, None].expand(-1, -1, 28, 28).contiguous()


@pytest.mark.parametrize("z_type", ["normal", "unit", "uniform_0_1"])
def test_a_generative_model_draws_the_program_s_noise(z_type: str) -> None:
    from torch_fidelity.registry import NOISE_SOURCE_REGISTRY

    ours = _NOISES[z_type](np.random.RandomState(5), (4, 3))
    theirs = NOISE_SOURCE_REGISTRY[z_type](np.random.RandomState(5), (4, 3))
    assert torch.equal(ours, theirs)
    model = torch_fidelity.GenerativeModelModuleWrapper(Painter(), 5, z_type, 0)
    asked = {"fid": True, "feature_extractor": "digits", "batch_size": 8, **SMALL}
    count = {"input1_model_num_samples": 20}
    by_model = rm.calculate_metrics(input1=model, input2="mnist", input2_model_num_samples=30,
                                    **count, **asked)  # fmt: skip
    by_module = rm.calculate_metrics(
        input1=Painter(), input1_model_z_size=5, input1_model_z_type=z_type, input2="mnist",
        input2_model_num_samples=30, **count, **asked,
    )  # fmt: skip
    assert by_model == by_module
    rng = np.random.RandomState(2020)
    images = [Painter()(_NOISES[z_type](rng, (size, 5))).numpy() for size in (8, 8, 4)]
    of_images = rm.calculate_metrics(input1=np.concatenate(images), input2="mnist",
                                     input2_model_num_samples=30, **asked)  # fmt: skip
    assert by_model == pytest.approx(of_images)


def test_images_are_resized_and_cropped_as_there() -> None:
    import torchvision.transforms as transforms

    for width, height in ((50, 33), (33, 50), (40, 40)):
        image = Image.fromarray(
            np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        )
        theirs = transforms.CenterCrop(24)(transforms.Resize(24)(image))
        np.testing.assert_array_equal(np.asarray(_resize_and_crop(image, 24)), np.asarray(theirs))


def test_every_argument_of_the_program_is_known() -> None:
    from torch_fidelity.defaults import DEFAULTS

    known = {*_DEFAULTS, *_FIXED, *_WITHOUT_EFFECT}
    assert known - DEFAULTS.keys() == {"fid_statistics_file"}
    assert DEFAULTS.keys() <= known
    for name in DEFAULTS.keys() & _DEFAULTS.keys():
        assert _DEFAULTS[name] == DEFAULTS[name], name
    for name, values in _FIXED.items():
        assert DEFAULTS[name] in values, name


ARRAY = np.zeros((5, 3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fid_statistic_file": "x"}, "no argument 'fid_statistic_file'; did you mean fid_stat"),
        ({"ppl": True}, "ppl is True, which is not implemented; expected False"),
        ({"kid_kernel": "rbf"}, "kid_kernel is 'rbf', which is not implemented"),
        ({"fid": False}, "no metric is asked for; give isc, fid, kid, prc"),
        ({"input1": None}, "input1, the generated images, is missing"),
        ({"input2": None}, "input2, the real images, is missing, which fid takes; for fid fid_st"),
        ({"fid_statistics_file": "x.npz"}, "are the real side; give one"),
        ({"input1": "digits"}, "input1_model_num_samples=50000"),
        ({"input1": Painter()}, "input1_model_z_size=512"),
        ({"input1": ARRAY.astype(np.float32)}, r"float32 \[5, 3, 28, 28\], expected uint8"),
        ({"input1": 7}, "input1 is int, expected a folder"),
        ({"input1": "nowhere"}, "no source 'nowhere'"),
        ({"feature_extractor": "inceptoin"}, "no extractor 'inceptoin'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    asked = {"input1": ARRAY, "input2": ARRAY, "fid": True, "feature_extractor": "digits"}
    with pytest.raises(RaymetricsError, match=message):
        rm.calculate_metrics(**{**asked, **SMALL, **arguments})


def test_an_empty_folder_and_mixed_sizes_are_named(tmp_path: Path) -> None:
    asked = {"input2": ARRAY, "fid": True, "feature_extractor": "digits", **SMALL}
    with pytest.raises(RaymetricsError, match=r"no images in .*expected files that end in \.png"):
        rm.calculate_metrics(input1=tmp_path, **asked)
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    Image.fromarray(noise[1, :, :40]).save(tmp_path / "b.png")
    with pytest.raises(RaymetricsError, match="samples_resize_and_crop=256"):
        rm.calculate_metrics(input1=tmp_path, **asked)
    mixed = rm.calculate_metrics(input1=tmp_path, samples_resize_and_crop=28, **asked)
    assert mixed["frechet_inception_distance"] > 0
