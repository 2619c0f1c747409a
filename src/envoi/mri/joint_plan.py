"""What shapes a joint model."""

from dataclasses import dataclass

from envoi.errors import Problem, SettingsError
from envoi.mri.angles import Target
from envoi.mri.choices import check_multiples, check_share
from envoi.mri.given import NOTHING_GIVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class JointPlan:
    """Everything that shapes a joint model.

    Attributes:
        shape: Depth, height and width of its volumes.
        thickness: Slices of a slab.
        overlap: Slices that neighbouring slabs share when sampling.
        fine: Channels of the slab network's 3D level.
        widths: Channels of its 2D levels.
        blocks: Residual blocks of a level.
        coarse_factor: Voxels along an axis that make one coarse voxel.
        factors: Of the covariance of coarse volumes.
        nothing_given: Share of training's examples that are shown no clean slice.
        target: What the network predicts.

    Raises:
        SettingsError: Slabs do not fit the volume, a share is none, or widths are no multiples of
            eight.
    """

    shape: tuple[int, int, int]
    thickness: int = 16
    overlap: int = 4
    fine: int = 8
    widths: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1
    coarse_factor: int = 4
    factors: int = 64
    nothing_given: float = NOTHING_GIVEN
    target: Target = "v"

    @property
    def coarse_shape(self) -> tuple[int, ...]:
        """Of its coarse volumes."""
        return tuple(-(-length // self.coarse_factor) for length in self.shape)

    def __post_init__(self) -> None:
        check_share("nothing_given", self.nothing_given)
        check_multiples("fine", [self.fine], 8)
        check_multiples("widths", self.widths, 8)
        for name in ("blocks", "coarse_factor", "factors"):
            check_multiples(name, [getattr(self, name)], 1)
        if not 0 <= self.overlap < self.thickness:
            expected, found = f"0 to {self.thickness - 1}, below thickness", f"{self.overlap}"
            raise SettingsError(Problem(expected, found, "overlap", "Choose a smaller one."))
        if self.thickness > min(self.shape):
            expected = f"{self.thickness} slices or more along each axis, as many as of a slab"
            found = f"{min(self.shape)} along one"
            remedy = "Choose a larger size, of smaller voxels (in Python, or thinner slabs)."
            raise SettingsError(Problem(expected, found, "shape", remedy))
