"""A set of synthetic volumes against real ones, with the rows that give its scores a meaning.

The reference is the real training volumes. Beside the synthetic set stand *real against real*
(held-out volumes, which is what a perfect model would score) and controls (held-out volumes made
wrong on purpose; `copied` is made of training volumes), each measured alike.

Time, with 60 training, 12 held-out and 64 synthetic volumes of 48 x 56 x 48 voxels: 84 seconds of
one slow core, half of them for the extractor and the references. All runs on the CPU.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError
from envoi.evaluation import controls
from envoi.evaluation.anatomy import compare_regions, region_volumes
from envoi.evaluation.arrays import Volumes, check_same_shape, check_volumes
from envoi.evaluation.copies import CopySearch, feature_copies, voxel_copies
from envoi.evaluation.extractors import random_conv, self_trained
from envoi.evaluation.frechet import FrechetReference, frechet_reference, frechet_score
from envoi.evaluation.scores import PLANES, Region, SetScores, VolumeScores
from envoi.evaluation.seams import RealSteps, real_steps, step_readings
from envoi.evaluation.similarity import discrepancies, pair_similarity
from envoi.evaluation.through_plane import through_plane
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import numpy_generator

LEAST_REFERENCE = 4
LEAST_SET = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How volumes are compared.

    Attributes:
        spacing_mm: Between voxels along depth, height and width.
        borders: Slices at which the model's windows meet; None looks at every eighth slice.
        pairs: Of volumes, for MS-SSIM.
        extractor_steps: Of training the self-trained extractor.
        resamples: Of the bootstrap.
        seed: Of everything that is drawn.

    Raises:
        SettingsError: A count is below 1, or a spacing is not above 0.
    """

    spacing_mm: tuple[float, float, float]
    borders: tuple[int, ...] | None = None
    pairs: int = 40
    extractor_steps: int = 300
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            Problem("at least 1", str(getattr(self, name)), name, f"Correct {name}.")
            for name in ("pairs", "extractor_steps", "resamples")
            if getattr(self, name) < 1
        ]
        if not all(spacing > 0 for spacing in self.spacing_mm):
            problems.append(
                Problem("millimetres above 0", str(self.spacing_mm), "spacing_mm", "Correct it.")
            )
        if problems:
            raise SettingsError(*problems)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Real volumes, prepared once: any number of models is compared with the same.

    Attributes:
        training: The real training volumes.
        settings: How volumes are compared.
        borders: Where seams are looked for at fixed slices.
        steps: What real people's steps between slices are, to look for seams anywhere.
        frechet: One for each extractor and plane.
        regions: Millilitres of each region.
        copies: Searches in voxels and in features.
    """

    training: Volumes
    settings: EvaluationSettings
    borders: tuple[int, ...]
    steps: RealSteps
    frechet: tuple[FrechetReference, ...]
    regions: dict[Region, Float[NDArray[np.float64], " _volume"]]
    copies: tuple[CopySearch, ...]

    def score(self, name: str, volumes: Volumes, *, group_volumes: int) -> SetScores:
        """All scores of one set.

        Args:
            name: Of the set.
            volumes: The set.
            group_volumes: Volumes of a group for Frechet distances; equal for all sets that
                are compared.

        Raises:
            ShapeError: There are fewer than two volumes, fewer than a group has, or their
                shape differs from the reference's.
            DataError: A voxel is not within 0..1, or a volume is empty.
        """
        check_volumes(volumes, name, least=LEAST_SET)
        check_same_shape(volumes, self.training, name)
        seed, resamples = self.settings.seed, self.settings.resamples
        regions = region_volumes(volumes, self.settings.spacing_mm)
        return SetScores(
            name,
            len(volumes),
            pair_similarity(volumes, pairs=self.settings.pairs, seed=seed),
            discrepancies(volumes, self.training),
            tuple(
                frechet_score(volumes, one, group_volumes=group_volumes, seed=seed)
                for one in self.frechet
            ),
            through_plane(volumes, self.training, borders=self.borders, steps=self.steps),
            compare_regions(regions, self.regions, resamples=resamples, seed=seed),
            tuple(search.find(volumes) for search in self.copies),
        )


def compare_volumes(
    training: Volumes,
    held_out: Volumes,
    synthetic: Volumes,
    settings: EvaluationSettings,
    *,
    on_step: OnStep = ignore_step,
) -> VolumeScores:
    """The synthetic set, real against real, and controls, all against the training volumes.

    Frechet distances are of groups as large as the smaller of `held_out` and `synthetic`, so that
    rows compare; the other scores do not grow with the number of volumes.

    Args:
        training: Real volumes that the model learnt from, four at least.
        held_out: Real volumes that it did not, two at least, of other people.
        synthetic: The model's, two at least.
        settings: How they are compared.
        on_step: Told about the extractor's training and about each row.

    Raises:
        ShapeError: There are too few volumes, or shapes differ.
        DataError: A voxel is not within 0..1, or a volume is empty.
        SettingsError: A border is no slice that has one below it.
    """
    check_volumes(training, "training", least=LEAST_REFERENCE)
    for name, volumes in (("held-out", held_out), ("synthetic", synthetic)):
        check_volumes(volumes, name, least=LEAST_SET)
        check_same_shape(volumes, training, name)
    reference = prepare_reference(training, held_out, settings, on_step=on_step)
    group = min(len(training), len(held_out), len(synthetic))
    sets = {
        "synthetic": synthetic,
        "held-out": held_out,
        **control_sets(training, held_out, reference.borders, settings.seed),
    }
    rows = []
    for number, (name, volumes) in enumerate(sets.items(), start=1):
        rows.append(reference.score(name, volumes, group_volumes=group))
        on_step(StepInfo("compare", number, len(sets), {}))
    shape = (training.shape[1], training.shape[2], training.shape[3])
    return VolumeScores(
        len(training),
        shape,
        settings.spacing_mm,
        reference.borders,
        settings.seed,
        rows[0],
        rows[1],
        tuple(rows[2:]),
    )


def prepare_reference(
    training: Volumes,
    held_out: Volumes,
    settings: EvaluationSettings,
    *,
    on_step: OnStep = ignore_step,
) -> Reference:
    """Train the extractor and measure the real volumes.

    Raises:
        ShapeError: There are too few volumes, or shapes differ.
        DataError: A volume has fewer than three intensities.
    """
    trained = self_trained(
        training, steps=settings.extractor_steps, seed=settings.seed, on_step=on_step
    )
    borders = settings.borders
    return Reference(
        training,
        settings,
        tuple(range(8, training.shape[1], 8)) if borders is None else borders,
        real_steps(step_readings(training)),
        tuple(
            frechet_reference(extractor, training, plane)
            for extractor in (random_conv(), trained)
            for plane in PLANES
        ),
        region_volumes(training, settings.spacing_mm),
        (voxel_copies(training, held_out), feature_copies(training, held_out, trained)),
    )


def control_sets(
    training: Volumes, held_out: Volumes, borders: tuple[int, ...], seed: int
) -> dict[str, Volumes]:
    """Sets that are wrong on purpose, each as large as `held_out`, by name.

    Args:
        training: What `copied` is made of.
        held_out: What the others are made of.
        borders: Where `seamed` has seams.
        seed: Of what is drawn.
    """
    made: dict[str, controls.Control] = {
        "blurred": controls.blurred,
        "noisy": controls.noisy,
        "shuffled": controls.shuffled,
        "seamed": controls.seamed(borders),
        "seamed_anywhere": controls.seamed_anywhere,
        "shrunk": controls.shrunk,
        "collapsed": controls.collapsed,
    }
    wrong = {
        name: control(held_out, numpy_generator(seed, "control", name))
        for name, control in made.items()
    }
    draws = numpy_generator(seed, "control", "copied")
    return {**wrong, "copied": controls.copied(training[: len(held_out)], draws)}
