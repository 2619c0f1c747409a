"""3D brain MRI generation from 2D slices, and phantoms to try it on."""
