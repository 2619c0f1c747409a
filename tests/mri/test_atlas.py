"""Mean and deviation of voxels over a population."""

import pytest
import torch

from envoi.mri.atlas import Atlas

SHAPE = (6, 5, 8)


@pytest.fixture
def volumes(generator):
    return 0.3 * torch.randn(400, *SHAPE, generator=generator) + 0.5


def learned(volumes, **options):
    atlas = Atlas(SHAPE)
    atlas.learn(volumes, **options)
    return atlas


def test_it_finds_mean_and_deviation(volumes):
    atlas = learned(volumes)
    torch.testing.assert_close(atlas.mean, torch.full(SHAPE, 0.5), atol=0.06, rtol=0)
    torch.testing.assert_close(atlas.deviation, torch.full(SHAPE, 0.3), atol=0.03, rtol=0)
    assert float(atlas.typical) == pytest.approx(0.3, abs=0.02)


def test_it_is_the_same_for_volumes_one_at_a_time(volumes):
    assert torch.equal(learned(iter(volumes)).deviation, learned(volumes).deviation)


def test_it_is_symmetric(volumes):
    volumes[..., 0] += 1
    atlas = learned(volumes)
    assert torch.equal(atlas.mean, atlas.mean.flip(-1))
    torch.testing.assert_close(atlas.deviation, atlas.deviation.flip(-1))
    assert atlas.mean[0, 0, 0] == pytest.approx(1, abs=0.1)


def test_voxels_that_never_differ_keep_a_little_room():
    atlas = learned(torch.ones(3, *SHAPE))
    torch.testing.assert_close(atlas.deviation, torch.full(SHAPE, 0.02))


def test_typical_is_of_voxels_that_vary(volumes):
    volumes[:, :3] = 0
    assert float(learned(volumes).typical) == pytest.approx(0.3, abs=0.04)


def test_everywhere_has_one_deviation_about_nothing(volumes):
    atlas = learned(volumes, everywhere=True)
    assert not atlas.mean.any()
    assert atlas.deviation.unique().numel() == 1
    assert float(atlas.deviation[0, 0, 0]) == pytest.approx((0.5**2 + 0.3**2) ** 0.5, abs=0.02)
