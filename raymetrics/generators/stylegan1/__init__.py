"""Generate images with a StyleGAN (Karras et al. 2019), the first of its name.

`stylegan2.load_pickle` recognizes its files, and `stylegan2.generator` draws its samples.
"""
