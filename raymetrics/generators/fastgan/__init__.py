"""Generate images with a Projected FastGAN (Sauer et al. 2021) from the pickles of its program."""

from raymetrics.generators.fastgan.generator import FastGAN
from raymetrics.generators.fastgan.load_pickle import is_fastgan

__all__ = ["FastGAN", "is_fastgan"]
