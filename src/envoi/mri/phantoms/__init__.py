"""Made brains with ventricles of a known volume; see `envoi.mri.phantoms.drawn`."""

from envoi.mri.phantoms.drawn import (
    Phantom,
    brain_phantom,
    draw_phantom,
    draw_phantoms,
    phantom_name,
    phantom_population,
    usual_ventricles_ml,
)

__all__ = [
    "Phantom",
    "brain_phantom",
    "draw_phantom",
    "draw_phantoms",
    "phantom_name",
    "phantom_population",
    "usual_ventricles_ml",
]
