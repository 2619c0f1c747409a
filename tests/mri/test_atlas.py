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


def test_voxels_that_somebody_has_not_are_those_of_the_others(volumes):
    volumes[:200, 2] = torch.nan
    atlas = learned(volumes)
    torch.testing.assert_close(atlas.mean, torch.full(SHAPE, 0.5), atol=0.1, rtol=0)
    torch.testing.assert_close(atlas.deviation, torch.full(SHAPE, 0.3), atol=0.03, rtol=0)


def test_voxels_that_nobody_has_differ_as_others_do(volumes):
    volumes[:, :3] = torch.nan
    atlas = learned(volumes)
    assert not atlas.mean[:3].any()
    torch.testing.assert_close(atlas.deviation, torch.full(SHAPE, 0.3), atol=0.03, rtol=0)
    assert float(atlas.typical) == pytest.approx(0.3, abs=0.02)


def test_kinds_of_volumes_do_not_mix():
    draws = torch.Generator().manual_seed(2)
    both = (
        torch.randn(5, 2, *SHAPE, generator=draws) * torch.tensor([0.1, 3.0])[:, None, None, None]
    )
    atlas = Atlas((2, *SHAPE))
    atlas.learn(both)
    small, large = atlas.deviation.flatten(1).square().mean(dim=1).sqrt()
    assert float(small) == pytest.approx(0.1, rel=0.25)
    assert float(large) == pytest.approx(3.0, rel=0.25)
