"""Generate images with BigGAN-deep (Brock et al. 2019) from the weights of its PyTorch version."""

from raymetrics.generators.biggan.generator import BigGAN

__all__ = ["BigGAN"]
