"""StyleGAN2 networks (Karras et al. 2020a; 2020b with ADA), read from NVIDIA's pickles."""

from raymetrics.generators.stylegan2.generator import StyleGAN2

__all__ = ["StyleGAN2"]
