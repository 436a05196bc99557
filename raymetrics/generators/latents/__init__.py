"""What can be done with latents: truncation (`truncated`) and straight paths (`paths`)."""

from raymetrics.generators.latents.latent_batches import sample_w
from raymetrics.generators.latents.truncated_generator import TruncatedGenerator, Truncation

__all__ = ["TruncatedGenerator", "Truncation", "sample_w"]
