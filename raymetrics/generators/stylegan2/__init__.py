"""Generate images with StyleGAN2 (Karras et al. 2020a; 2020b with ADA) from NVIDIA's pickles.

The first StyleGAN is drawn from here too; its network is in `raymetrics.generators.stylegan1`.
"""

from raymetrics.generators.stylegan2.generator import StyleGAN2

__all__ = ["StyleGAN2"]
