"""3D brain volumes from a diffusion model that sees slices.

Volumes are `(depth, height, width)` (see `envoi.volumes`); inside this room voxels are torch
tensors from -1 to 1, exactly -1 outside the brain.
"""
