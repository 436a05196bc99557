"""Truncate latents (`truncated_generator`) and interpolate them (`interpolated_paths`)."""

from raymetrics.generators.latents.latent_batches import sample_w
from raymetrics.generators.latents.truncated_generator import TruncatedGenerator
from raymetrics.generators.latents.truncation_options import Truncation, pop_w_options

__all__ = ["TruncatedGenerator", "Truncation", "pop_w_options", "sample_w"]
