"""Truncate latents (`truncated_generator`) and interpolate them (`interpolated_paths`)."""

from raymetrics.generators.latents.latent_batches import sample_w
from raymetrics.generators.latents.truncated_generator import TruncatedGenerator, Truncation

__all__ = ["TruncatedGenerator", "Truncation", "sample_w"]
