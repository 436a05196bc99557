"""Choose how the networks of a set are run, when the set is begun.

The block and the memory layout of a network move the last bits of features. What is fastest depends
on the device; so it is chosen once, on a device of the first workers, and written into the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from raymetrics.distributed.devices import use_deterministic_kernels, worker_device
from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import uses_ray
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import Numerics
from raymetrics.extractors.options import Options
from raymetrics.extractors.tune_numerics import tune_numerics
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store

SetNumerics = Mapping[str, Mapping[str, object]]  # by the names of extractors


def record_numerics(
    store: Store,
    spec: DatasetSpec,
    networks: Sequence[Extractor],
    resources: Resources,
    *,
    has_shards: bool,
) -> DatasetSpec:
    """Return the specification with numerics; choose them and write them if the set has none.

    networks: the extractors on the driver's CPU. has_shards: whether the set was begun earlier,
    before sets recorded their numerics. Needs a session.
    """
    published = [network for network in networks if isinstance(network, NetworkExtractor)]
    if spec.numerics or not published:
        return spec
    device = _worker_device(resources)
    chosen: SetNumerics
    if has_shards:
        chosen = {network.name: _numerics_of_old_sets(device).as_dict() for network in published}
    elif device.type == "cuda":
        texts = dict(zip((n.name for n in networks), spec.extractor_texts, strict=True))
        chosen = _measure_on_worker([texts[network.name] for network in published])
    else:
        chosen = {network.name: network.numerics.as_dict() for network in published}
    return layout.add_samples(store, replace(spec, numerics=chosen), ())


def _worker_device(resources: Resources) -> torch.device:
    """Return the kind of device that workers will have."""
    if not uses_ray():
        return worker_device()
    gpus = plan_cluster_placement(resources, 1).workers.gpus
    return torch.device("cuda" if gpus else "cpu")


def _numerics_of_old_sets(device: torch.device) -> Numerics:
    """Return how every network was run before sets recorded it."""
    return Numerics(64 if device.type == "cuda" else 16, "channels_last")


def _measure_on_worker(texts: Sequence[str]) -> SetNumerics:
    """Return the fastest numerics of networks, measured on a GPU of a worker or of this process."""
    if not uses_ray():
        return measure_numerics(texts)
    import ray

    measured: Any = ray.remote(num_gpus=1)(measure_numerics).remote(texts)
    numerics: SetNumerics = ray.get(measured)
    return numerics


def measure_numerics(texts: Sequence[str]) -> SetNumerics:
    """Return the fastest numerics of published networks on this worker's device, by name.

    Those that an option of the text names stay.
    """
    use_deterministic_kernels()
    numerics = {}
    for text in texts:
        extractor = make_extractor(text, worker_device())
        assert isinstance(extractor, NetworkExtractor)
        is_named = {"block", "layout"} & Options.parse(text).option_values.keys()
        best = extractor.numerics if is_named else tune_numerics(extractor)
        numerics[extractor.name] = best.as_dict()
    return numerics
