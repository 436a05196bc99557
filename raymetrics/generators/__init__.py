"""Generate images from sample ids with torch; the package knows nothing of Ray or shards.

`open_source` turns the text that a user writes into a generator.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymetrics import option_strings
from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, LatentGenerator
from raymetrics.permissions import CALLABLE, NETWORK_SUFFIXES, PIPELINE_PREFIX, Permission
from raymetrics.provenance import fingerprint
from raymetrics.uris import require_no_secret

if TYPE_CHECKING:
    import torch

__all__ = [
    "BUILT_IN_SOURCES",
    "Generator",
    "LatentGenerator",
    "absolute_source",
    "open_source",
    "permission_for",
    "quick_fingerprint",
    "skip_broken_images",
]


def _digits(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.digits import Digits

    return Digits(device, **options)  # type: ignore[arg-type]  # options come as text


def _faces(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.faces import Faces

    return Faces(device, **options)


def _mnist(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.mnist import Mnist

    return Mnist(**options)


def _dataset(name: str, device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.image_datasets import open_dataset

    return open_dataset(name, **options)


def _stylegan2(name: str, device: torch.device, **options: Any) -> Generator:
    from raymetrics.generators.stylegan2 import StyleGAN2

    return StyleGAN2(name, device, **options)


def _network_pickle(name: str, device: torch.device, **options: Any) -> Generator:
    from raymetrics.generators.fastgan import FastGAN, is_fastgan

    return (FastGAN if is_fastgan(name) else _stylegan2)(name, device, **options)


def _biggan(name: str, device: torch.device, **options: Any) -> Generator:
    from raymetrics.generators.biggan import BigGAN

    return BigGAN(name, device, **options)


def _torchscript(name: str, device: torch.device, **options: Any) -> Generator:
    from raymetrics.generators.torchscript import TorchScript

    return TorchScript(name, device, **options)


def _diffusion(name: str, device: torch.device, **options: Any) -> Generator:
    from raymetrics.generators.diffusers_pipeline import DiffusersPipeline

    return DiffusersPipeline(name.removeprefix(PIPELINE_PREFIX), device, **options)


def _memory(name: str, device: torch.device) -> Generator:
    from raymetrics.generators.memory_images import open_images

    return open_images(name)


def _dataset_endings() -> tuple[str, ...]:
    """Return the endings of the files that hold a data set, such as .zip."""
    from raymetrics.generators.image_datasets import OPENERS

    return tuple(OPENERS)


BUILT_IN_SOURCES: dict[str, Callable[..., Generator]] = {
    "digits": _digits,
    "faces": _faces,
    "mnist": _mnist,
}

# All other sources, tried in this order: whether a name has this form, and what opens the source.
_OPENERS: tuple[tuple[Callable[[str], bool], Callable[..., Generator]], ...] = (
    (lambda name: name.startswith(PIPELINE_PREFIX), _diffusion),
    (lambda name: name.startswith("in-memory:"), _memory),
    (os.path.isdir, _dataset),
    (lambda name: name.endswith(".pkl"), _network_pickle),
    (lambda name: name.endswith(".bin"), _biggan),
    (lambda name: name.endswith(".pth"), _stylegan2),
    (lambda name: name.endswith(NETWORK_SUFFIXES), _torchscript),
    (lambda name: name.endswith(_dataset_endings()), _dataset),
    (lambda name: "://" in name, _dataset),
)


def absolute_source(source: str) -> str:
    """Return the source with absolute paths of local files and folders, valid in any folder.

    Raises SourceError for a source that contains a secret, as shard sets record the source.
    """
    require_no_secret(source, SourceError)
    name, options = option_strings.parse_options(source, SourceError)
    if name in BUILT_IN_SOURCES:
        return source
    if name.startswith(PIPELINE_PREFIX) and os.path.isfile(options.get("prompts", "")):
        options["prompts"] = str(Path(options["prompts"]).resolve())
        source = option_strings.format_options(name, options)
    prefix = PIPELINE_PREFIX if name.startswith(PIPELINE_PREFIX) else ""
    path = Path(name.removeprefix(prefix))
    # For a name that is too long for a file, os.path says that nothing exists, while Path raises.
    is_pattern = "{" in path.name and os.path.isdir(path.parent)
    if "://" in name or not (os.path.exists(path) or is_pattern):
        return source
    return f"{prefix}{path.resolve()}{source.removeprefix(name)}"


def permission_for(run_code: bool, *sources: str) -> Permission:
    """Return the permission of a command in which the user wrote these sources."""
    return Permission(run_code, frozenset([*sources, *map(absolute_source, sources)]))


def quick_fingerprint(generator: Generator) -> str:
    """Return a digest that shows a worker whether it opened the same generator as the driver.

    The digest is the generator's own `quick_fingerprint` if it has one, as the spec may read whole
    files; otherwise it is the fingerprint of the spec.
    """
    cheap_digest: str | None = getattr(generator, "quick_fingerprint", None)
    return fingerprint(generator.spec) if cheap_digest is None else cheap_digest


def open_source(source: str, device: torch.device) -> Generator:
    """Open the generator that `source` names; options follow the last question mark.

    digits, faces, mnist           the sources that come with raymetrics; ./faces is a folder
    path/to/folder                 a data set, see `raymetrics.generators.image_datasets`: a folder
    file.zip .tar .parquet         of images, of tars, of Parquet files or of TFRecords; one file;
    .tfrecords .npz .npy           or any of these at a URI, as s3://bucket/x
    a-{000..009}.tar               a pattern
    file.pkl .pth                  a StyleGAN or StyleGAN2, see `raymetrics.generators.stylegan2`;
                                   a .pkl may also be a Projected FastGAN, see `...fastgan`
    pytorch_model.bin              a BigGAN-deep, see `raymetrics.generators.biggan`
    file.pt .ts .jit               a network, see `raymetrics.generators.torchscript`
    diffusers:model                a pipeline, see `raymetrics.generators.diffusers_pipeline`
    module:callable                your own, see `raymetrics.generators.user_function`

    Latent generators also take the option `truncate=name:amount`, as in digits?truncate=clamp:0.7,
    and with it `mean=all` and `cutoff=8`: see `raymetrics.generators.latents.truncated_generator`.
    Raises SourceError, with the forms that are expected, for any other text.
    """
    name, options = option_strings.parse_options(
        require_no_secret(source, SourceError), SourceError
    )
    truncate = options.pop("truncate", None)
    if truncate is None:
        return _open_generator(source, name, options, device)
    from raymetrics.generators.latents import TruncatedGenerator, Truncation, pop_w_options

    truncation = Truncation.parse(truncate, **pop_w_options(options))
    return TruncatedGenerator(_open_generator(source, name, options, device), truncation)


def _open_generator(
    source: str, name: str, options: dict[str, str], device: torch.device
) -> Generator:
    try:
        if name in BUILT_IN_SOURCES:
            return BUILT_IN_SOURCES[name](device, **options)
        for looks_like_it, opener in _OPENERS:
            if looks_like_it(name):
                return opener(name, device, **options)
    except (TypeError, ValueError) as error:
        misspelt = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if misspelt:
            raise SourceError(f"source {name!r} has no option {misspelt[1]!r}") from None
        raise SourceError(
            f"cannot open source {source!r} with options {options}: {error}"
        ) from None
    if CALLABLE.fullmatch(name):
        from raymetrics.generators.user_function import open_user_function

        return open_user_function(name, options, device)
    *endings, last = _dataset_endings()
    raise SourceError(
        f"no source {source!r}, and nothing lies at {Path(name).absolute()}; expected "
        f"{', '.join(BUILT_IN_SOURCES)}, a folder or a {', '.join(endings)} or {last} file of "
        "images (or the URI of one, as s3://bucket/photos.zip), a generator's .pkl, .pth, .pt or "
        "pytorch_model.bin file, diffusers:model, or module:callable"
    )


def skip_broken_images(source: str, max_broken: int) -> tuple[str, list[str]]:
    """Return a data set without its broken images, as a source, and the names of these images.

    Decodes every image once. The returned source lists the broken images in its option `skip`, so
    that every worker gives the same ids to the same images without another search. Raises
    SourceError, with the names, if more than `max_broken` images are broken, and SourceError if the
    source is no data set of image files.
    """
    import torch

    from raymetrics.generators.image_datasets.image_dataset import (
        ImageDataset,
        require_few_broken,
        skip_text,
    )

    dataset = open_source(source, torch.device("cpu"))
    if not isinstance(dataset, ImageDataset):
        raise SourceError(f"{source} is no data set of image files, so none of them is broken")
    broken = require_few_broken(dataset, max_broken)
    if not broken:
        return source, []
    name, options = option_strings.parse_options(source, SourceError)
    options["skip"] = skip_text([*dataset.skipped, *broken])
    return option_strings.format_options(name, options), broken
