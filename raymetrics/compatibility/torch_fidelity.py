"""torch-fidelity's `calculate_metrics`, with its arguments and its keys of results.

The numbers are those of torch-fidelity 0.4. The argument `fid_statistics_file` is that of the fork
that papers on ImageNet use (LTH14/torch-fidelity): it stands in the place of `input2`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from raymetrics import in_memory, metrics
from raymetrics.compatibility.image_inputs import InputOptions, image_batches
from raymetrics.errors import ExtractorError, RaymetricsError, ShardError, SpecMismatch
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.metrics import Gaussian
from raymetrics.option_strings import format_options
from raymetrics.reference_statistics.catalogue import NAME_PREFIX
from raymetrics.reference_statistics.local_files import resolve_name
from raymetrics.shards.foreign import read_statistics
from raymetrics.statistics import ClassScores, Moments

_METRICS = ("isc", "fid", "kid", "prc")
# The arguments that change a number, or say what to compute, with their defaults.
_DEFAULTS: Mapping[str, Any] = {
    "input1": None, "input2": None, "fid_statistics_file": None,
    "isc": False, "fid": False, "kid": False, "prc": False,
    "cuda": True, "batch_size": 64, "rng_seed": 2020,
    "feature_extractor": None, "feature_extractor_weights_path": None,
    "feature_layer_isc": None, "feature_layer_fid": None, "feature_layer_kid": None,
    "feature_layer_prc": None,
    "isc_splits": 10, "kid_subsets": 100, "kid_subset_size": 1000, "prc_neighborhood": 3,
    "samples_shuffle": True, "samples_find_deep": False, "samples_find_ext": "png,jpg,jpeg",
    "samples_resize_and_crop": 0,
    **{
        f"input{i}_model_{name}": default
        for i in (1, 2)
        for name, default in (
            ("z_type", "normal"), ("z_size", None), ("num_classes", 0), ("num_samples", None)
        )
    },
}  # fmt: skip
# Arguments whose other values would give other numbers than are computed here.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "ppl": (False,),
    "kid_kernel": ("poly",),
    "kid_kernel_poly_degree": (3,),
    "kid_kernel_poly_gamma": (None,),
    "kid_kernel_poly_coef0": (1,),
    "feature_extractor_internal_dtype": (None, "float32"),
    "feature_extractor_compile": (False,),
}
# Arguments that change no number: how the other program caches, prints and saves memory.
_WITHOUT_EFFECT = frozenset({
    "verbose", "cache", "cache_root", "input1_cache_name", "input2_cache_name", "save_cpu_ram",
    "prc_batch_size", "samples_ext_lossy", "datasets_root", "datasets_download",
    "kid_kernel_rbf_sigma", "ppl_epsilon", "ppl_reduction", "ppl_sample_similarity",
    "ppl_sample_similarity_resize", "ppl_sample_similarity_dtype", "ppl_discard_percentile_lower",
    "ppl_discard_percentile_higher", "ppl_z_interp_mode",
})  # fmt: skip
_SAMPLE_OPTIONS = (
    "batch_size", "rng_seed", "samples_find_deep", "samples_find_ext", "samples_resize_and_crop",
)  # fmt: skip
# The other program's names of networks and outputs, where they are not the same here.
_EXTRACTORS = {"inception-v3-compat": "inception"}
_LAYERS = {"2048": "pre_logits"}
_DEFAULT_LAYERS: Mapping[str, Mapping[str, str]] = {
    "inception": {"isc": "logits_unbiased", "fid": "2048", "kid": "2048", "prc": "2048"},
    "vgg16": dict.fromkeys(_METRICS, "fc2_relu"),
}


def calculate_metrics(**arguments: Any) -> dict[str, float]:
    """Compute metrics with torch-fidelity's arguments; return them under torch-fidelity's keys.

    input1: the generated images; input2: the real ones. Each a folder, an .npz or .npy of images
    (`arr_0`), an array or tensor uint8 [n, 3, h, w], a Dataset, a generative model with
    input1_model_z_size and input1_model_num_samples, an iterable of batches, or a source of
    raymetrics ("my_model:generate").
    fid_statistics_file: mean and covariance of the real images in the place of input2, for fid, as
    .npz with mu and sigma or in any layout of `raymetrics.shards.foreign.statistics_files`.
    isc, fid, kid, prc: which metrics.
    feature_extractor, feature_extractor_weights_path, feature_layer_isc, ...: by default
    Inception-V3 for isc, fid and kid, and VGG-16 for prc. Also any extractor of raymetrics.
    isc_splits, kid_subsets, kid_subset_size, prc_neighborhood, samples_shuffle, samples_find_deep,
    samples_find_ext, samples_resize_and_crop, rng_seed, batch_size, cuda: as there.

    Returns some of inception_score_mean, inception_score_std, frechet_inception_distance,
    kernel_inception_distance_mean, kernel_inception_distance_std, precision, recall, f_score.

    Everything happens in this process. Raises RaymetricsError for an unknown argument, for one that
    would change the numbers in a way that is not implemented, and for bad input.
    """
    options = _check_arguments(arguments)
    numbers: dict[str, float] = {}
    for name, wanted in _metrics_by_extractor(options).items():
        layers = {metric: _layer(metric, name, options) for metric in wanted}
        extractor = _make_extractor(name, layers.values(), options)
        features = {
            side: _extract_input(side, extractor, options)
            for side in ("input1", "input2")
            if options[side] is not None
        }
        for metric in wanted:
            sides = {side: values[layers[metric]] for side, values in features.items()}
            numbers |= _COMPUTE[metric](sides, options)
    return numbers


def _check_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments with their defaults. RaymetricsError for what cannot be computed."""
    known = [*_DEFAULTS, *_FIXED, *_WITHOUT_EFFECT]
    for name, value in arguments.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise RaymetricsError(f"calculate_metrics has no argument {name!r}{hint}")
        if name in _FIXED and value not in _FIXED[name]:
            raise RaymetricsError(
                f"{name} is {value!r}, which is not implemented; expected "
                f"{' or '.join(map(repr, _FIXED[name]))}"
            )
    options = {**_DEFAULTS, **arguments}
    wanted = [metric for metric in _METRICS if options[metric]]
    if not wanted:
        raise RaymetricsError(f"no metric is asked for; give {', '.join(_METRICS)}")
    if options["input1"] is None:
        raise RaymetricsError("input1, the generated images, is missing")
    statistics_file = options["fid_statistics_file"]
    without_real = [metric for metric in wanted if metric in ("kid", "prc")]
    if options["input2"] is None and statistics_file is None and "fid" in wanted:
        without_real.append("fid")
    if options["input2"] is None and without_real:
        raise RaymetricsError(
            f"input2, the real images, is missing, which {', '.join(without_real)} "
            f"{'take' if len(without_real) > 1 else 'takes'}; for fid fid_statistics_file is enough"
        )
    if options["input2"] is not None and statistics_file is not None:
        raise RaymetricsError("both input2 and fid_statistics_file are the real side; give one")
    return options


def _metrics_by_extractor(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the metrics by the extractor that they take."""
    groups: dict[str, list[str]] = {}
    for metric in _METRICS:
        if options[metric]:
            default = "vgg16" if metric == "prc" else "inception-v3-compat"
            name = options["feature_extractor"] or default
            groups.setdefault(_EXTRACTORS.get(name, name), []).append(metric)
    if len(groups) > 1 and options["feature_extractor_weights_path"]:
        raise ExtractorError(
            f"feature_extractor_weights_path is one file, and {', '.join(groups)} are needed; name "
            "one feature_extractor"
        )
    return groups


def _layer(metric: str, extractor: str, options: Mapping[str, Any]) -> str:
    """Return the output of the extractor that a metric takes; "" for its first one."""
    layer = options[f"feature_layer_{metric}"]
    name = layer or _DEFAULT_LAYERS.get(extractor, {}).get(metric, "")
    return _LAYERS.get(name, name)


def _make_extractor(name: str, layers: Any, options: Mapping[str, Any]) -> Extractor:
    settings = {}
    columns = sorted(filter(None, set(layers)))
    if columns:
        settings["columns"] = ",".join(columns)
    if options["feature_extractor_weights_path"]:
        settings["weights"] = str(options["feature_extractor_weights_path"])
    return make_extractor(format_options(name, settings), _device(options))


def _device(options: Mapping[str, Any]) -> torch.device:
    return torch.device("cuda" if options["cuda"] and torch.cuda.is_available() else "cpu")


def _extract_input(
    name: str, extractor: Extractor, options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the features of an input, {output: float32 [n, d]}; "" is the first output."""
    model = {
        key: options[f"{name}_{key}"]
        for key in ("model_z_type", "model_z_size", "model_num_classes", "model_num_samples")
    }
    samples = {key: options[key] for key in _SAMPLE_OPTIONS}
    input_options = InputOptions(device=_device(options), **samples, **model)
    parts: dict[str, list[np.ndarray]] = {}
    count = 0
    for images in image_batches(options[name], name, input_options):
        ids = np.arange(count, count + len(images))
        outputs = run_in_fixed_batches(extractor, ids, images, extractor.block)
        for output, values in outputs.items():
            parts.setdefault(output, []).append(values)
        count += len(images)
    if not count:
        raise ShardError(f"{name} holds no images")
    features = {output: np.concatenate(values) for output, values in parts.items()}
    return {**features, "": features[next(iter(extractor.columns))]}


def _compute_isc(sides: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, float]:
    logits, splits = sides["input1"], options["isc_splits"]
    seed = options["rng_seed"] if options["samples_shuffle"] else None
    split_ids = metrics.assign_splits(len(logits), splits, seed)
    score = metrics.inception_score(ClassScores.from_samples(split_ids, logits, splits))
    return {"inception_score_mean": score.mean, "inception_score_std": score.std}


def _compute_fid(sides: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, float]:
    generated = Moments.from_samples(sides["input1"])
    real: Moments | Gaussian
    if options["fid_statistics_file"] is None:
        real = Moments.from_samples(sides["input2"])
    else:
        real = _read_gaussian(str(options["fid_statistics_file"]), len(generated.mean))
    value = metrics.frechet_distance(real=real, generated=generated, ddof=1)
    return {"frechet_inception_distance": value}


def _read_gaussian(file: str, dimension: int) -> Gaussian:
    """Return the mean and covariance in a file. SpecMismatch for other dimensions."""
    statistics = read_statistics(resolve_name(file) if file.startswith(NAME_PREFIX) else file)
    fitting = [g for g in statistics.gaussians.values() if len(g.mean) == dimension]
    if not fitting:
        present = ", ".join(
            f"{part} of {len(g.mean)} dimensions" for part, g in statistics.gaussians.items()
        )
        raise SpecMismatch(
            f"{file} holds {present}, the features have {dimension}; take the statistics of the "
            "same network"
        )
    return fitting[0]


def _compute_kid(sides: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, float]:
    distance = in_memory.kernel_distance(
        real=sides["input2"],
        generated=sides["input1"],
        subsets=options["kid_subsets"],
        subset_size=options["kid_subset_size"],
        seed=options["rng_seed"],
        convention="torch-fidelity",
    )
    return {
        "kernel_inception_distance_mean": distance.mean,
        "kernel_inception_distance_std": distance.std,
    }


def _compute_prc(sides: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> dict[str, float]:
    precision, recall = in_memory.precision_recall(
        real=sides["input2"],
        generated=sides["input1"],
        k=options["prc_neighborhood"],
        convention="torch-fidelity",
    )
    f_score = metrics.f_score(precision, recall)
    return {"precision": precision, "recall": recall, "f_score": f_score}


_COMPUTE = {"isc": _compute_isc, "fid": _compute_fid, "kid": _compute_kid, "prc": _compute_prc}
