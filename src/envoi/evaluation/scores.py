"""What is found when a set of volumes is compared with real ones: values, and no way to make them.

Every value is a frozen dataclass of plain fields, so that `dataclasses.asdict` and JSON take it.
Loads no torch: the report reads what is written here.
"""

from dataclasses import dataclass
from typing import Literal

from envoi.results import Interval

Axis = Literal["depth", "height", "width"]
Plane = Literal["axial", "coronal", "sagittal"]
Kernel = Literal["rbf", "linear"]
Space = Literal["voxels", "features"]
Region = Literal["brain", "csf", "grey", "white", "ventricles"]

AXES: tuple[Axis, ...] = ("depth", "height", "width")
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
REGIONS: tuple[Region, ...] = ("brain", "csf", "grey", "white", "ventricles")


@dataclass(frozen=True, slots=True)
class PairSimilarity:
    """MS-SSIM among pairs of one set; a set of copies of one volume has 1.

    Attributes:
        mean: Over the pairs.
        deviation: Standard deviation over the pairs.
        pairs: How many were drawn.
        scales: Resolutions that were compared.
        kernel_voxels: Side of the Gaussian window.
        data_range: What the intensities span.
    """

    mean: float
    deviation: float
    pairs: int
    scales: int
    kernel_voxels: int
    data_range: float


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Squared maximum mean discrepancy, unbiased: about 0, and often below it, for equal sets.

    Attributes:
        kernel: Its name.
        features: What of a volume is compared, such as `voxels, means of 4 x 4 x 4`.
        squared: The estimate.
        bandwidth: Of the RBF kernel; None for the linear one.
    """

    kernel: Kernel
    features: str
    squared: float
    bandwidth: float | None


@dataclass(frozen=True, slots=True)
class FrechetScore:
    """Distance of the slices of one plane from those of the reference.

    Attributes:
        extractor: What turned slices into features; distances of two extractors do not compare.
        plane: Of the slices.
        distance: In units of the reference's standard deviation of each feature, squared and
            summed; mean over groups.
        group_volumes: Volumes of one group; the distance of fewer volumes is larger by chance.
        groups: Disjoint groups that the mean is taken over.
        slices: Of all groups together.
        reference_slices: Of the reference.
    """

    extractor: str
    plane: Plane
    distance: float
    group_volumes: int
    groups: int
    slices: int
    reference_slices: int


@dataclass(frozen=True, slots=True)
class Band:
    """Energy along the depth over the mean energy along height and width, in one band.

    Attributes:
        low: Cycles per voxel, included.
        high: Cycles per voxel; 0.5 is the finest there is.
        ratio: Of the set.
        reference_ratio: Of real volumes; they are not 1 either.
    """

    low: float
    high: float
    ratio: float
    reference_ratio: float


@dataclass(frozen=True, slots=True)
class ThroughPlane:
    """How slices follow one another, against real volumes.

    Attributes:
        jumps: For each axis, the Kolmogorov-Smirnov distance of |difference of neighbours|.
        seams: Mean jump at window borders over the mean jump near them; 1 is no seam.
        reference_seams: The same for real volumes at the same borders.
        seams_anywhere: Mean over volumes of the worst comb of steps in any plane, in standard
            deviations of real people (`envoi.evaluation.seams`); about 2 is no seam.
        spectrum: From coarse to fine.
    """

    jumps: dict[Axis, float]
    seams: float
    reference_seams: float
    seams_anywhere: float
    spectrum: tuple[Band, ...]

    @property
    def largest_jump(self) -> float:
        """The distance of jumps along the axis on which it is largest."""
        return max(self.jumps.values())


@dataclass(frozen=True, slots=True)
class RegionVolume:
    """The volume of one region in a set, against the reference.

    Attributes:
        region: Which one; a stand-in for a segmentation (`envoi.evaluation.anatomy`).
        millilitres: Of each volume, in order.
        reference_millilitres: Of each of the reference's volumes, in order.
        effect: Cohen's d, positive where the set's region is larger, with its 95 % interval.
    """

    region: Region
    millilitres: tuple[float, ...]
    reference_millilitres: tuple[float, ...]
    effect: Interval


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The training volume that is nearest to one volume of a set.

    Attributes:
        volume: Index into the set.
        training: Index into the training volumes.
        distance: Root mean square difference at the best flip and shift.
        ratio: Distance over the mean distance of the next nearest training volumes; a copy's
            is far below 1, since it is near to one of them and not to the others.
        flipped: Whether it is nearest mirrored left to right.
        shift: Voxels (of the compared resolution) along depth, height and width that it was
            moved by.
    """

    volume: int
    training: int
    distance: float
    ratio: float
    flipped: bool
    shift: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Copies:
    """Nearest training neighbours, calibrated by held-out volumes, which cannot be copies.

    Attributes:
        space: What is compared.
        features: The space in words, such as the extractor's name.
        distance_threshold: 5th percentile of held-out-to-training distances.
        ratio_threshold: 5th percentile of held-out ratios.
        near: Volumes below the distance threshold. One in twenty of an honest set is, and more
            of a blurred one: whatever is close to the mean is close to everything.
        copied: Volumes below both thresholds.
        neighbours: Of each volume, in order.
    """

    space: Space
    features: str
    distance_threshold: float
    ratio_threshold: float
    near: int
    copied: int
    neighbours: tuple[Neighbour, ...]

    def is_near(self, neighbour: Neighbour) -> bool:
        """Whether its distance is below what 19 in 20 held-out volumes have."""
        return neighbour.distance < self.distance_threshold

    def has_low_ratio(self, neighbour: Neighbour) -> bool:
        """Whether one training volume is much nearer than the next ones."""
        return neighbour.ratio < self.ratio_threshold

    def is_copy(self, neighbour: Neighbour) -> bool:
        """Whether both hold."""
        return self.is_near(neighbour) and self.has_low_ratio(neighbour)


@dataclass(frozen=True, slots=True)
class SetScores:
    """All that is measured of one set of volumes.

    Attributes:
        name: `synthetic`, `held-out` (real against real), or a control's name.
        volumes: How many there are.
        similarity: Among its pairs.
        discrepancies: One for each kernel.
        frechet: One for each extractor and plane.
        through_plane: How slices follow one another.
        anatomy: One for each region.
        copies: In voxels and in features.
    """

    name: str
    volumes: int
    similarity: PairSimilarity
    discrepancies: tuple[Discrepancy, ...]
    frechet: tuple[FrechetScore, ...]
    through_plane: ThroughPlane
    anatomy: tuple[RegionVolume, ...]
    copies: tuple[Copies, ...]

    @property
    def extractors(self) -> tuple[str, ...]:
        """Names, in order."""
        return tuple(dict.fromkeys(one.extractor for one in self.frechet))

    @property
    def copied(self) -> int:
        """Copies, by the space that finds more of them."""
        return max(one.copied for one in self.copies)

    @property
    def near(self) -> int:
        """Volumes nearer to one in training than 19 in 20 held-out ones are, by the same rule."""
        return max(one.near for one in self.copies)

    def distances(self, extractor: str) -> dict[Plane, float]:
        """Frechet distances on one extractor, by plane."""
        return {one.plane: one.distance for one in self.frechet if one.extractor == extractor}

    def discrepancy(self, kernel: Kernel = "rbf") -> Discrepancy:
        """That of one kernel."""
        return next(one for one in self.discrepancies if one.kernel == kernel)

    def region(self, name: Region) -> RegionVolume:
        """That of one region."""
        return next(one for one in self.anatomy if one.region == name)


@dataclass(frozen=True, slots=True)
class VolumeScores:
    """A synthetic set beside real volumes and beside volumes that are wrong on purpose.

    Attributes:
        training_volumes: The reference's size.
        shape: Voxels along depth, height and width.
        spacing_mm: In the same order.
        borders: Slices at which seams are looked for.
        seed: Of everything that is drawn.
        synthetic: The set in question.
        held_out: Real volumes that trained nothing: what a perfect model would score.
        controls: What each metric has to find.
    """

    training_volumes: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    borders: tuple[int, ...]
    seed: int
    synthetic: SetScores
    held_out: SetScores
    controls: tuple[SetScores, ...]

    @property
    def rows(self) -> tuple[SetScores, ...]:
        """All sets: the synthetic one, real against real, the controls."""
        return (self.synthetic, self.held_out, *self.controls)
