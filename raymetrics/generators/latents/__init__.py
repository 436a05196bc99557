"""What can be done with latents: truncation (`truncated`) and straight paths (`paths`)."""

from raymetrics.generators.latents.samples import w_of
from raymetrics.generators.latents.truncated import Truncated, Truncation

__all__ = ["Truncated", "Truncation", "w_of"]
