"""`Smoothing`: means over cubes, weighted by the conditions; nothing at the start."""

import torch
from scipy import ndimage

from envoi.mri.smoothing import Smoothing


def test_it_says_nothing_at_the_start():
    smoothing = Smoothing(4, times=2)
    voxels, conditions = torch.ones(2, 1, 5, 6, 7), torch.ones(2, 4)
    assert not smoothing(voxels, conditions).any()


def test_it_sums_means_over_growing_cubes_by_the_weights_of_the_conditions():
    smoothing = Smoothing(1, times=2)
    with torch.no_grad():
        smoothing.weights.weight.copy_(torch.tensor([[1.0], [2.0], [-4.0]]))
    generator = torch.Generator().manual_seed(0)
    voxels = torch.randn(2, 1, 9, 9, 9, dtype=torch.float64, generator=generator)
    once = torch.from_numpy(ndimage.uniform_filter(voxels.numpy(), 3, axes=(2, 3, 4)))
    twice = torch.from_numpy(ndimage.uniform_filter(once.numpy(), 3, axes=(2, 3, 4)))
    expected = (voxels + 2 * once - 4 * twice)[:, 0] * torch.tensor([1.0, 0.5])[:, None, None, None]
    found = smoothing.double()(voxels, torch.tensor([[1.0], [0.5]], dtype=torch.float64))
    inner = (slice(None), *[slice(2, -2)] * 3)  # at the faces means are over fewer voxels
    torch.testing.assert_close(found[inner], expected[inner])


def test_a_constant_stays_constant_to_the_faces():
    smoothing = Smoothing(1, times=3)
    with torch.no_grad():
        smoothing.weights.weight.fill_(0.25)
    found = smoothing(torch.full((1, 1, 4, 5, 6), 3.0), torch.ones(1, 1))
    torch.testing.assert_close(found, torch.full((1, 4, 5, 6), 3.0))
