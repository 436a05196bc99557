"""What torch needs to know of devices: transfers, kernels, and how devices fail."""
