"""Read the inputs of torch-fidelity's call as batches of images uint8 [n, 3, h, w]."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from raymetrics.errors import SampleRangeError, SourceError
from raymetrics.generators import open_source

Batches = Iterator[np.ndarray]

_NETWORK_ENDINGS = (".pth", ".pt", ".ts", ".jit")
_ARRAY_ENDINGS = (".npz", ".npy")


@dataclass(frozen=True)
class InputOptions:
    """How images are read or generated; the names are those of torch-fidelity's arguments."""

    batch_size: int
    device: torch.device
    rng_seed: int
    samples_find_deep: bool
    samples_find_ext: str
    samples_resize_and_crop: int
    model_z_type: str
    model_z_size: int | None
    model_num_classes: int
    model_num_samples: int | None

    def require_sample_count(self, name: str) -> int:
        """Return how many samples to generate. SampleRangeError if that was not said."""
        if not self.model_num_samples or self.model_num_samples < 1:
            raise SampleRangeError(
                f"{name} is a generator; say how many samples: {name}_model_num_samples=50000"
            )
        return self.model_num_samples


def image_batches(value: Any, name: str, options: InputOptions) -> Batches:
    """Yield the images of an input, in order, as uint8 [n, 3, h, w].

    value: a folder; an .npz or .npy of images; a source of raymetrics as text; a TorchScript file;
    an array or a tensor, uint8 [n, 3, h, w] or [n, h, w, 3]; a Dataset of such images; a generative
    model of torch-fidelity, or a module from z to images; or an iterable of batches. name: of the
    argument, for messages.

    Raises SourceError for anything else, SampleRangeError for a generator without a number.
    """
    if isinstance(value, str | os.PathLike):
        return _batches_of_path(os.fspath(value), name, options)
    if hasattr(value, "shape"):
        return _batches_of_array(value, name, options.batch_size)
    if hasattr(value, "z_size") and callable(value):
        return _generate_batches(
            value, value.z_size, value.z_type, value.num_classes, name, options
        )
    if isinstance(value, torch.nn.Module):
        return _batches_of_module(value, name, options)
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        return _batches_of_dataset(value, name, options.batch_size)
    if hasattr(value, "__iter__"):
        return (as_images(batch, name) for batch in value)
    raise SourceError(
        f"{name} is {type(value).__name__}, expected a folder, a file or an array of images, a "
        "Dataset, or a generator"
    )


def as_images(images: Any, name: str) -> np.ndarray:
    """Return images as an array uint8 [n, 3, h, w]. SourceError for other arrays.

    Channels may also come last; a grey channel is repeated.
    """
    tensor = images.detach().cpu() if isinstance(images, torch.Tensor) else images
    array = np.asarray(tensor)
    if array.dtype == np.uint8 and array.ndim == 4:
        if array.shape[1] in (1, 3):
            return np.broadcast_to(array, (len(array), 3, *array.shape[2:]))
        if array.shape[3] in (1, 3):
            return np.broadcast_to(array.transpose(0, 3, 1, 2), (len(array), 3, *array.shape[1:3]))
    raise SourceError(
        f"{name} holds images {array.dtype} {list(array.shape)}, expected uint8 [n, 3, h, w]; make "
        "bytes of floats by the rule that you report, as (x * 255).round()"
    )


def _batches_of_path(path: str, name: str, options: InputOptions) -> Batches:
    if os.path.isdir(path):
        return _batches_of_folder(path, options)
    if path.endswith(_ARRAY_ENDINGS) and os.path.isfile(path):
        loaded = np.load(path, allow_pickle=False)
        array = loaded["arr_0"] if isinstance(loaded, Mapping) else loaded
        return _batches_of_array(array, name, options.batch_size)
    if path.endswith(_NETWORK_ENDINGS) and os.path.isfile(path):
        return _batches_of_module(torch.jit.load(path, map_location="cpu"), name, options)
    generator = open_source(path, options.device)
    count = options.model_num_samples or generator.length or options.require_sample_count(name)
    starts = range(0, count, options.batch_size)
    ids = (np.arange(start, min(start + options.batch_size, count)) for start in starts)
    return (generator(chunk) for chunk in ids)


def _batches_of_folder(folder: str, options: InputOptions) -> Batches:
    """Yield the images of a folder, sorted by their real paths, as torch-fidelity does."""
    endings = tuple(f".{ending.strip()}" for ending in options.samples_find_ext.split(","))
    paths = Path(folder).rglob("*") if options.samples_find_deep else Path(folder).iterdir()
    files = sorted(
        os.path.realpath(file)
        for file in paths
        if file.is_file() and file.suffix.lower() in endings
    )
    if not files:
        raise SourceError(
            f"no images in {folder}; expected files that end in {', '.join(endings)}"
            f"{'' if options.samples_find_deep else ', or samples_find_deep=True'}"
        )
    crop = options.samples_resize_and_crop
    return (
        _stack([_read_image(file, crop) for file in files[i : i + options.batch_size]], folder)
        for i in range(0, len(files), options.batch_size)
    )


def _read_image(file: str, size: int) -> np.ndarray:
    """Read an image as RGB, uint8 [3, h, w]; resize and crop it to a square of `size` unless 0."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error}; remove it or mend it") from None
    if size:
        image = _resize_and_crop(image, size)
    return np.asarray(image).transpose(2, 0, 1)


def _resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side bilinearly and crop the centre, as torchvision's transforms do."""
    width, height = image.size
    scale = (size, size * height // width) if width <= height else (size * width // height, size)
    resized = image.resize(scale, Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in scale)
    return resized.crop((left, top, left + size, top + size))


def _batches_of_array(array: Any, name: str, batch_size: int) -> Batches:
    for start in range(0, len(array), batch_size):
        yield as_images(array[start : start + batch_size], name)


def _batches_of_dataset(dataset: Any, name: str, batch_size: int) -> Batches:
    for start in range(0, len(dataset), batch_size):
        items = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        images = [item[0] if isinstance(item, tuple | list) else item for item in items]
        yield as_images(_stack([_as_array(image) for image in images], name), name)


def _as_array(image: Any) -> np.ndarray:
    """Return one image as an array; a picture of PIL as uint8 [3, h, w]."""
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)


def _stack(images: Sequence[np.ndarray], where: str) -> np.ndarray:
    """Stack images of one size. SourceError for images of several sizes."""
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        (a, b) = sorted(sizes)[:2]
        raise SourceError(
            f"{where} holds images of {list(a)} and of {list(b)}; give them one size: "
            "samples_resize_and_crop=256"
        )
    return np.stack(images)


def _batches_of_module(module: Any, name: str, options: InputOptions) -> Batches:
    if not options.model_z_size:
        raise SampleRangeError(
            f"{name} is a network; say the size of its noise: {name}_model_z_size=512"
        )
    network = module.eval().to(options.device)
    arguments = options.model_z_size, options.model_z_type, options.model_num_classes
    return _generate_batches(network, *arguments, name, options)


def _normal(rng: np.random.RandomState, shape: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(rng.randn(*shape)).float()


def _uniform(rng: np.random.RandomState, shape: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(rng.rand(*shape)).float()


def _unit(rng: np.random.RandomState, shape: tuple[int, int]) -> torch.Tensor:
    noise = _uniform(rng, shape)
    return noise / noise.square().sum(dim=-1, keepdim=True).sqrt().clamp_min(1e-7)


_NOISES: Mapping[str, Callable[[np.random.RandomState, tuple[int, int]], torch.Tensor]] = {
    "normal": _normal,
    "unit": _unit,
    "uniform_0_1": _uniform,
}


def _generate_batches(
    model: Any, z_size: int, z_type: str, num_classes: int, name: str, options: InputOptions
) -> Batches:
    """Yield images of noise from one stream of random numbers, as torch-fidelity draws it."""
    count = options.require_sample_count(name)
    if z_type not in _NOISES:
        raise SourceError(f"{name} takes noise {z_type!r}; there are {', '.join(_NOISES)}")
    rng = np.random.RandomState(options.rng_seed)
    for start in range(0, count, options.batch_size):
        size = min(options.batch_size, count - start)
        arguments = [_NOISES[z_type](rng, (size, z_size)).to(options.device)]
        if num_classes > 0:
            labels = rng.randint(0, num_classes, size)
            arguments.append(torch.from_numpy(labels.astype(np.int64)).to(options.device))
        with torch.inference_mode():
            images = model(*arguments)
        yield as_images(images, name)
