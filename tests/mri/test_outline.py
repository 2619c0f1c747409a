"""Where brains end: distances, what slices tell of them, and outlines that are drawn."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from envoi.mri.agreement import painted
from envoi.mri.coarse import coarse_of, refined
from envoi.mri.given import Given
from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.outline import DARKEST, FARTHEST_VOXELS, outline_of, signed_distance
from envoi.mri.population import Population

SHAPE = (28, 32, 24)
PLAN = JointPlan(shape=SHAPE, thickness=4, overlap=1, widths=(8, 16))
PLACES = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in SHAPE), indexing="ij"))
MIDDLE = torch.tensor([13.5, 15.5, 11.5])[:, None, None, None]


def head(radii):
    """An ellipsoid of one brightness."""
    scaled = (PLACES - MIDDLE) / torch.tensor(radii)[:, None, None, None]
    return torch.where(scaled.square().sum(dim=0) < 1, 0.4, -1.0)


@pytest.fixture
def heads(generator):
    """Of people whose size and shape vary."""
    sizes = 9.0 + torch.rand(40, 3, generator=generator) * torch.tensor([2.0, 3.0, 1.0])
    return [head(own.tolist()) for own in sizes]


@pytest.fixture
def model(heads):
    model = JointModel(PLAN)
    model.prepare(Population(torch.stack(heads).half(), torch.full((40, 2), torch.nan)))
    return model.eval()


def overlap(one, other):
    """Dice's coefficient of two brains."""
    return float(2 * (one * other).sum() / (one.sum() + other.sum()))


def sizes(volumes):
    return (volumes > -1).sum(dim=(-3, -2, -1)).float()


def test_distances_are_those_to_the_surface():
    distance = signed_distance(head((9.0, 9.0, 9.0)))
    wanted = (9 - (PLACES - MIDDLE).square().sum(dim=0).sqrt()).clamp(-8, 8)
    torch.testing.assert_close(distance, wanted, atol=1.0, rtol=0)
    assert (distance - wanted).mean().abs() < 0.2
    assert distance.abs().min() == 0.5


def test_distances_are_scipys_of_the_voxels_themselves(generator):
    rough = torch.where(torch.rand(SHAPE, generator=generator) < 0.02, -1.0, 0.4)
    brain = (rough > -1).numpy()
    within, beyond = (distance_transform_edt(part) for part in (brain, ~brain))
    wanted = np.where(brain, within - 0.5, 0.5 - beyond).clip(-8, 8).astype(np.float32)
    assert torch.equal(signed_distance(rough), torch.from_numpy(wanted))


@pytest.mark.parametrize(("intensity", "sign"), [(0.3, 1), (-1.0, -1)])
def test_where_there_is_no_outline_it_is_far(intensity, sign):
    assert (signed_distance(torch.full(SHAPE, intensity)) == sign * FARTHEST_VOXELS).all()


def test_slices_show_the_outline_that_they_cut():
    volume, known = head((9.0, 9.0, 9.0)), torch.zeros(SHAPE)
    known[14] = 1
    found = outline_of(volume, known)
    assert not found[known == 0].any()
    distance = signed_distance(volume)
    assert distance[found > 0].abs().max() < 1.5
    assert (distance[found > 0] > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not outline_of(volume, torch.zeros(SHAPE)).any()


def test_drawn_outlines_differ_as_peoples_do(model, heads, generator):
    people = sizes(torch.stack(heads))
    drawn = sizes(model.draw(torch.full((40, 2), torch.nan), steps=1, generator=generator))
    assert float(drawn.mean() / people.mean()) == pytest.approx(1, abs=0.05)
    assert float(drawn.std() / people.std()) == pytest.approx(1, abs=0.35)


def test_coarse_distances_keep_an_outline(model, heads, generator):
    for one in heads[:5]:
        coarse = coarse_of(signed_distance(one)[None], PLAN.coarse_factor)
        again = model.outline.draw(refined(coarse, PLAN)[0], generator)
        assert overlap(again, (one > -1).float()) > 0.96


def test_unrest_is_what_coarse_distances_miss_beyond_a_mean(model):
    assert 0.05 < float(model.outline.unrest) < 0.5
    torch.testing.assert_close(model.outline.missed, model.outline.missed.flip(-1))


def test_slices_tell_of_the_outline_between_them(model, generator):
    scan = head((8.0, 11.5, 8.5))  # smaller than anybody's along two axes
    brain, mask = (scan > -1).float(), torch.zeros(SHAPE)
    mask[2::4] = 1
    anybody = torch.full((6, 2), torch.nan)
    told, strange = (
        (model.draw(anybody, steps=1, generator=generator, given=given) > -1).float()
        for given in (Given(scan, mask), None)
    )
    between = mask == 0
    near, far = (
        sum(overlap(one[between], brain[between]) for one in drawn) for drawn in (told, strange)
    )
    assert near / 6 > 0.93 > far / 6


def test_nothing_in_a_brain_is_background_and_nothing_outside_is_brain():
    base = torch.tensor([[[0.2, 0.2, -1.0, -1.0]]])
    data = torch.tensor([[[-9.0, 0.5, 9.0, 0.0]]])
    volume = painted(base, torch.full_like(base, 0.4), data)
    torch.testing.assert_close(volume, torch.tensor([[[DARKEST, 0.4, -1.0, -1.0]]]))
