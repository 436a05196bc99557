"""What can be done with latents: truncation (`truncated`) and straight paths (`paths`)."""

from raymetrics.generators.latents.latent_batches import w_of
from raymetrics.generators.latents.truncated_generator import Truncated, Truncation

__all__ = ["Truncated", "Truncation", "w_of"]
