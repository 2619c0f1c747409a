"""Volumes in memory: exact, one at a time, and a digest that needs no copy of them."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import torch

from envoi.files import digest
from envoi.mri.memory import Ledger
from envoi.mri.outline import DARKEST
from envoi.mri.population import Population, volume_bytes
from envoi.mri.run import _digest_of
from envoi.volumes import Grid, Subject, Volume, stacked

COUNT, SHAPE = 12, (40, 44, 48)
ONE = 4 * 40 * 44 * 48  # bytes of a volume


def people():
    """Volumes of noise, every second one laid out in another order."""
    draws, grid = np.random.default_rng(0), Grid(SHAPE, (2.0, 2.0, 2.0))
    voxels = draws.random((COUNT, *SHAPE), np.float32)
    return [
        Subject(f"sub-{number}", Volume(own if number % 2 else np.asfortranarray(own), grid), 40.0)
        for number, own in enumerate(voxels)
    ]


@contextmanager
def watched():
    """The most bytes that NumPy and PyTorch hold at once, each by itself."""
    with Ledger():  # modules that PyTorch loads when it is first watched count for nobody
        Population.of(people()[:1])
    found = []
    tracemalloc.start()
    with Ledger() as ledger:
        yield found
    found += [tracemalloc.get_traced_memory()[1], ledger.peak_bytes]
    tracemalloc.stop()


def test_one_volume_at_a_time_becomes_half_of_its_bytes():
    subjects = people()
    with watched() as peaks:
        population = Population.of(subjects)
    of_numpy, of_torch = peaks
    assert of_torch <= COUNT * ONE / 2 + ONE
    assert of_numpy < 3.5 * ONE
    wanted = (2 * torch.from_numpy(stacked(subjects)) - 1).clamp_min(DARKEST).half()
    assert torch.equal(population.voxels, wanted)
    held = sum(one.volume.voxels.nbytes for one in subjects) + population.voxels.nbytes
    assert held == COUNT * volume_bytes(SHAPE)


def test_the_faintest_voxel_of_a_brain_is_no_background():
    grid = Grid((1, 1, 4), (1.0, 1.0, 1.0))
    volume = Volume(np.array([[[0, 1e-5, 2e-3, 0.5]]], np.float32), grid)
    assert (Population.of([Subject("sub-1", volume)]).voxels > -1).flatten().tolist() == [
        *(False, True, True, True)
    ]


def test_what_was_learnt_from_is_told_apart_without_a_copy():
    subjects = people()
    wanted = digest(b"".join(one.volume.voxels.tobytes() + b"40.0 None\n" for one in subjects))
    with watched() as peaks:
        found = _digest_of(subjects)
    assert found == wanted
    assert peaks[0] < 2.5 * ONE
