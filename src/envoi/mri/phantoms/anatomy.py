"""Where the parts of a phantom's brain lie: depths below their surfaces, in millimetres.

Points are right, anterior and superior of the middle of an average head. Every depth is positive
within its part, and about the distance to its surface. Nothing here is fit to learn medicine from.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.mri.phantoms.smooth_noise import Points, SmoothNoise, Values

# Centre and radii; the right one of a pair, the left is its mirror image.
Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float]]
_HEMISPHERE: Ellipsoid = ((16, -2, 14), (53, 88, 54))
_TEMPORAL: Ellipsoid = ((44, 8, -22), (23, 42, 20))
_CEREBELLUM: Ellipsoid = ((20, -47, -38), (34, 33, 26))
_PONS: Ellipsoid = ((0, -6, -38), (16, 13, 14))
_FOURTH_VENTRICLE: Ellipsoid = ((0, -22, -42), (7, 4, 9))
_THIRD_VENTRICLE: Ellipsoid = ((0, 8, -7), (2.2, 13, 10))
_DEEP_GREY: tuple[Ellipsoid, ...] = (
    ((11, -2, 0), (8, 14, 8)),  # thalamus
    ((27, 16, -2), (6, 18, 11)),  # putamen
    ((14, 32, 4), (5, 11, 9)),  # head of the caudate
)
_CALLOSUM_CENTRE, _CALLOSUM_RADII = (14.0, -4.0), (41.0, 23.0)  # anterior, superior
_BASE_MM, _SYLVIAN_MM = -26.0, 36.0

# Lateral ventricle: from the frontal horn over the body to the atrium, and its two other horns;
# a place and a radius at each joint.
_FRONTAL_TO_ATRIUM = ((7, 44, 1, 3.0), (9, 32, 8, 5.0), (10, 10, 15, 3.5), (15, -12, 14, 3.5))
_ATRIUM = (25, -28, 4, 6.0)
_HORNS = (
    (*_FRONTAL_TO_ATRIUM, _ATRIUM),
    (_ATRIUM, (27, -48, 1, 2.5)),
    (_ATRIUM, (33, -16, -13, 2.5), (31, 2, -21, 1.5)),
)


class Depths(NamedTuple):
    """Depths of points below the surfaces of the parts; negative outside of a part."""

    cerebrum: Values
    cerebellum: Values
    stem: Values

    @property
    def head(self) -> Values:
        """Below the surface of whatever part is there."""
        return _most(*self)


def depths(points: Points) -> Depths:
    """How deep points lie in cerebrum, cerebellum and brain stem."""
    side = _mirrored(points)
    _, _, z = points
    hemisphere = _least(_in_ellipsoid(side, _HEMISPHERE), z - np.float32(_BASE_MM))
    cerebrum = _most(hemisphere, _in_ellipsoid(side, _TEMPORAL))
    cerebellum = _in_ellipsoid(side, _CEREBELLUM)
    medulla = _in_tube(points, ((0, -12, -42, 10.0), (0, -21, -68, 8.0)))
    midbrain = _in_tube(points, ((0, -2, -8, 13.0), (0, -6, -30, 13.0)))
    stem = _most(medulla, midbrain, _in_ellipsoid(points, _PONS))
    return Depths(cerebrum, cerebellum, stem)


def below_folds(points: Points, cerebrum: Values, folds: SmoothNoise, floor: SmoothNoise) -> Values:
    """Depth below the folded surface of the cerebrum: the nearest of crown, sulcus and fissure.

    Sulci are the surfaces on which `folds` is 0, drawn from the outside straight towards
    the core of each hemisphere, down to a floor 11 to 27 mm below the surface.

    Args:
        points: In the cerebrum.
        cerebrum: Their depth below the surface of the unfolded cerebrum.
        folds: Its waves are twice as long as the way from one sulcus to the next.
        floor: How deep sulci reach.
    """
    x, y, z = points
    core = np.stack([22 * np.sign(x), np.clip(y, -50, 50), np.clip(z, -10, 25)])
    ray = points - core
    length = np.sqrt((ray**2).sum(axis=0)) + np.float32(1e-6)
    outwards = core + ray * (np.float32(0.3) + np.float32(30) / length)
    # Shallow in the middle of the base, where axial slices would else cut along the surface.
    shallow = np.maximum(np.clip((z + 8) / 25, 0.1, 1), np.clip((np.abs(x) - 28) / 10, 0, 1))
    bottom = (19 + 4 * np.clip(floor.at(points), -2, 2)) * shallow
    below = np.maximum(cerebrum - bottom, 0)
    sulcus = _apart(folds.distance_to_zero(outwards), below)
    return _least(sulcus, _from_fissure(points), _from_sylvian(points), cerebrum + 0.8)


def below_folia(points: Points, cerebellum: Values) -> Values:
    """Depth below the leaves of the cerebellum, which fan out from the fourth ventricle."""
    _, y, z = points
    angle = np.arctan2(z + 44, -18 - y)
    reach = np.hypot(z + 44, y + 18)
    leaf = 0.5 + np.abs(np.sin(7 * angle)) * reach / 7
    return _least(_apart(leaf, np.maximum(cerebellum - 9, 0)), cerebellum + 1)


def in_callosum(points: Points) -> Values:
    """Depth in the white bridge between the hemispheres, an arch in the midplane."""
    x, _, z = points
    arch = _in_arch(points)
    return _least(arch - 0.5, 7.5 - arch, 14 - np.abs(x), z + 9)


def in_deep_grey(points: Points) -> Values:
    """Depth in thalamus, putamen or caudate nucleus."""
    side = _mirrored(points)
    return _most(*(_in_ellipsoid(side, nucleus) for nucleus in _DEEP_GREY))


def in_ventricles(points: Points, lopsided: float) -> Values:
    """Depth in lateral and third ventricles of average size; a threshold gives them another.

    Args:
        points: Anywhere in the head.
        lopsided: Millimetres by which the left one is wider than the right one.
    """
    side = _mirrored(points)
    wider = np.float32(lopsided / 2) * -np.sign(points[0])
    lateral = wider + _most(*(_in_tube(side, horn) for horn in _HORNS))
    # Between the thalami there is less room to grow.
    return _most(lateral, 2.5 * _in_ellipsoid(points, _THIRD_VENTRICLE))


def in_fourth_ventricle(points: Points) -> Values:
    """Depth in the fluid between stem and cerebellum."""
    return _in_ellipsoid(points, _FOURTH_VENTRICLE)


def _from_fissure(points: Points) -> Values:
    """Distance to the cut between the hemispheres, which ends where the callosum begins."""
    return _apart(points[0], np.maximum(_in_arch(points), 0))


def _from_sylvian(points: Points) -> Values:
    """Distance to the deep furrow that parts the temporal lobe from those above it."""
    x, y, z = np.abs(points[0]), points[1], points[2]
    rise = np.float32(-11) + np.float32(0.3) * (40 - y)
    beyond = np.maximum(_most(y - 48, -34 - y, _SYLVIAN_MM - x), 0)
    bent = 3 * np.sin(y / 9)
    return _apart(0.95 * (z - rise - bent), beyond) + np.float32(0.4)


def _in_arch(points: Points) -> Values:
    """Depth in the ellipse of the midplane that the callosum bounds."""
    flat = np.stack([np.zeros_like(points[0]), points[1], points[2]])
    centre, radii = (0.0, *_CALLOSUM_CENTRE), (1.0, *_CALLOSUM_RADII)
    return _in_ellipsoid(flat, (centre, radii))


def _mirrored(points: Points) -> Points:
    return np.stack([np.abs(points[0]), points[1], points[2]])


def _in_ellipsoid(points: Points, ellipsoid: Ellipsoid) -> Values:
    """To first order: exact at the surface, and in direction everywhere."""
    centre, radii = (_column(values) for values in ellipsoid)
    scaled = (points - centre) / radii
    radius = np.sqrt((scaled**2).sum(axis=0)) + np.float32(1e-6)
    slope = np.sqrt(((scaled / radii) ** 2).sum(axis=0)) + np.float32(1e-6)
    depth: Values = radius * (1 - radius) / slope
    return depth


def _in_tube(points: Points, joints: tuple[tuple[float, float, float, float], ...]) -> Values:
    """Depth in a tube along straight pieces, its radius changing evenly along each."""
    pieces = []
    for start, end in pairwise(joints):
        first = _column(start[:3])
        way = _column(end[:3]) - first
        share = ((points - first) * way).sum(axis=0) / (way**2).sum()
        share = np.clip(share, 0, 1)
        radius = start[3] + np.float32(end[3] - start[3]) * share
        pieces.append(radius - np.sqrt(((points - first - way * share) ** 2).sum(axis=0)))
    return _most(*pieces)


def _column(values: tuple[float, ...]) -> Float[NDArray[np.float32], "3 1"]:
    return np.array(values, np.float32)[:, None]


def _least(*depths: Values) -> Values:
    """Depth in what all have in common."""
    least: Values = np.minimum.reduce(depths).astype(np.float32, copy=False)
    return least


def _most(*depths: Values) -> Values:
    """Depth in all of them together."""
    most: Values = np.maximum.reduce(depths).astype(np.float32, copy=False)
    return most


def _apart(along: Values, across: Values) -> Values:
    """Distance from the two legs of a right angle."""
    distance: Values = np.hypot(along, across).astype(np.float32, copy=False)
    return distance
