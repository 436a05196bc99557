"""Choose how the networks of a set are run, when the set is begun.

The block and the memory layout of a network move the last bits of features. What is fastest depends
on the device; so it is chosen once, on a device of the first workers, and written into the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from raymetrics.distributed.devices import use_deterministic_kernels, worker_device
from raymetrics.distributed.extraction.stream_plan import SOURCE
from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import uses_ray
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import Numerics
from raymetrics.extractors.options import Options
from raymetrics.extractors.tune_numerics import tune_numerics
from raymetrics.generators import open_source
from raymetrics.generators.base import device_block
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store

# By the names of extractors; and under `SOURCE`, which no extractor can be called, the source's.
SetNumerics = Mapping[str, Mapping[str, object]]


class NumericsRecorder:
    """Chooses numerics for the sets of one stream; what is measured on a GPU is measured once.

    networks: the extractors of all sets, on the driver's CPU; texts: as they are written. Needs a
    session.
    """

    def __init__(
        self, networks: Sequence[Extractor], texts: Sequence[str], resources: Resources
    ) -> None:
        self.resources = resources
        self.published = [network for network in networks if isinstance(network, NetworkExtractor)]
        self.texts = [
            text
            for network, text in zip(networks, texts, strict=True)
            if isinstance(network, NetworkExtractor)
        ]

    def record(
        self, store: Store, spec: DatasetSpec, block: int | None, *, has_shards: bool
    ) -> DatasetSpec:
        """Return the specification with numerics; choose and write them if the set has none.

        block: what the generator has chosen on the driver's CPU, see `device_block`. has_shards:
        whether the set was begun earlier, before sets recorded their numerics.
        """
        if spec.numerics:
            return spec
        chosen: SetNumerics
        if has_shards:
            old = _numerics_of_old_sets(self._device).as_dict()
            chosen = {network.name: old for network in self.published} | _record_block(block)
        elif self._device.type == "cuda":
            measured = {} if block is None else _measure_on_worker(spec.source, [])
            chosen = {**self._measured, **measured}
        else:
            chosen = {network.name: network.numerics.as_dict() for network in self.published}
            chosen |= _record_block(block)
        return layout.add_samples(store, replace(spec, numerics=chosen), ()) if chosen else spec

    @cached_property
    def _device(self) -> torch.device:
        return _worker_device(self.resources)

    @cached_property
    def _measured(self) -> SetNumerics:
        return _measure_on_worker(None, self.texts) if self.texts else {}


def _record_block(block: int | None) -> dict[str, Mapping[str, object]]:
    """Return the numerics of a source; none if its device does not choose the block."""
    return {} if block is None else {SOURCE: {"block": block}}


def _worker_device(resources: Resources) -> torch.device:
    """Return the kind of device that workers will have."""
    if not uses_ray():
        return worker_device()
    gpus = plan_cluster_placement(resources, 1).workers.gpus
    return torch.device("cuda" if gpus else "cpu")


def _numerics_of_old_sets(device: torch.device) -> Numerics:
    """Return how every network was run before sets recorded it."""
    return Numerics(64 if device.type == "cuda" else 16, "channels_last")


def _measure_on_worker(source: str | None, texts: Sequence[str]) -> SetNumerics:
    """Return the fastest numerics of networks, measured on a GPU of a worker or of this process."""
    if not uses_ray():
        return measure_numerics(source, texts)
    import ray

    measured: Any = ray.remote(num_gpus=1)(measure_numerics).remote(source, texts)
    numerics: SetNumerics = ray.get(measured)
    return numerics


def measure_numerics(source: str | None, texts: Sequence[str]) -> SetNumerics:
    """Return the fastest numerics of published networks on this worker's device, by name.

    Those that an option of the text names stay. source: a generator whose block its device chooses;
    None for no such generator.
    """
    use_deterministic_kernels()
    numerics: dict[str, Mapping[str, object]] = {}
    if source is not None:
        numerics |= _record_block(device_block(open_source(source, worker_device())))
    for text in texts:
        extractor = make_extractor(text, worker_device())
        assert isinstance(extractor, NetworkExtractor)
        is_named = {"block", "layout"} & Options.parse(text).option_values.keys()
        best = extractor.numerics if is_named else tune_numerics(extractor)
        numerics[extractor.name] = best.as_dict()
    return numerics
