"""Run torch on a device: transfers, graphs, fused kernels, precision, and how devices fail.

The package knows nothing of networks, Ray or shards.
"""
