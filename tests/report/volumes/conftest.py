"""Scores that are written by hand, and made brains that have as many volumes and voxels."""

from dataclasses import replace

import numpy as np
import pytest

from envoi.evaluation.scores import (
    AXES,
    PLANES,
    REGIONS,
    Band,
    Copies,
    Discrepancy,
    FrechetScore,
    Neighbour,
    PairSimilarity,
    RegionVolume,
    SetScores,
    ThroughPlane,
    VolumeScores,
)
from envoi.mri.phantoms import draw_phantoms
from envoi.report.volumes import VolumeSets, write_volume_report
from envoi.results import Interval
from envoi.volumes import Grid

SHAPE, SPACING_MM = (32, 36, 30), (6.0, 6.0, 6.0)
TRAINING, HELD_OUT, SYNTHETIC = 5, 4, 7
EXTRACTORS = ("random_conv", "self_trained")
CONTROLS = (
    "blurred",
    "noisy",
    "shuffled",
    "seamed",
    "seamed_anywhere",
    "shrunk",
    "collapsed",
    "copied",
)
MILLILITRES = (1400.0, 300.0, 600.0, 500.0, 20.0)


def scored(name, volumes, *, times=1.0, copied=0, near=0):
    """A set whose distances are so many times those of real volumes."""
    off = times - 1
    return SetScores(
        name,
        volumes,
        PairSimilarity(0.88 + 0.01 * off, 0.03, 40, 3, 7, 1.0),
        (
            Discrepancy("rbf", "voxels, means of 4 x 4 x 4", -0.001 + 0.002 * off, 2.5),
            Discrepancy("linear", "voxels, means of 4 x 4 x 4", 0.0001 * off, None),
        ),
        tuple(
            FrechetScore(extractor, plane, times * (1 + number), 4, 1, 128, 160)
            for extractor in EXTRACTORS
            for number, plane in enumerate(PLANES)
        ),
        ThroughPlane(
            dict.fromkeys(AXES, 0.01 * times),
            0.96 + 0.01 * off,
            0.96,
            2 * times,
            (Band(0.0625, 0.25, times, 1.0), Band(0.25, 0.5, 1.1 * times, 1.1)),
        ),
        tuple(
            region_scored(region, centre, off, volumes)
            for region, centre in zip(REGIONS, MILLILITRES, strict=True)
        ),
        (
            Copies("voxels", "voxels", 0.07, 0.9, near, copied, neighbours(volumes, copied)),
            Copies("features", "self_trained", 0.3, 0.8, near, 0, neighbours(volumes, 0)),
        ),
    )


def region_scored(region, centre, off, volumes):
    ours = tuple(centre * (1 + 0.1 * off + 0.02 * number) for number in range(volumes))
    theirs = tuple(centre * (1 + 0.02 * number) for number in range(TRAINING))
    return RegionVolume(region, ours, theirs, Interval(off / 2, off / 2 - 0.5, off / 2 + 0.5))


def neighbours(volumes, copied):
    """The first ones are copies, the others are further away one by one."""
    return tuple(
        Neighbour(number, number % TRAINING, 0.01, 0.1, True, (1, 0, -2))
        if number < copied
        else Neighbour(number, number % TRAINING, 0.1, 0.99 - 0.01 * number, False, (0, 0, 0))
        for number in range(volumes)
    )


@pytest.fixture(scope="session")
def scores():
    """A synthetic set that is worse than real volumes, and controls that are worse still."""
    return VolumeScores(
        TRAINING,
        SHAPE,
        SPACING_MM,
        (8, 16, 24),
        0,
        scored("synthetic", SYNTHETIC, times=3.0, copied=1, near=2),
        scored("held-out", HELD_OUT),
        tuple(scored(name, HELD_OUT, times=5.0) for name in CONTROLS),
    )


@pytest.fixture(scope="session")
def sets():
    """Phantoms, one after another."""
    made = draw_phantoms(TRAINING + HELD_OUT + SYNTHETIC, 0, SHAPE, SPACING_MM[0])
    voxels = np.stack([one.subject.volume.voxels for one in made])
    training, held_out, synthetic = np.split(voxels, [TRAINING, TRAINING + HELD_OUT])
    return VolumeSets(training, held_out, synthetic, Grid(SHAPE, SPACING_MM))


@pytest.fixture(scope="session")
def report(scores, sets, tmp_path_factory):
    """The page, written once."""
    path = tmp_path_factory.mktemp("report") / "scores.html"
    write_volume_report(path, scores, sets, model={"Model": "joint", "Steps of training": "900"})
    return path


@pytest.fixture(scope="session")
def page(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture
def synthetic(scores):
    """Scores with another synthetic set."""

    def change(**changes):
        return replace(scores, synthetic=scored("synthetic", SYNTHETIC, **changes))

    return change
