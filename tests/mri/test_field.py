"""The box in which people have brains."""

import pytest
import torch

from envoi.mri.field import BACKGROUND, Field
from envoi.mri.population import Population

SHAPE = (20, 24, 16)


def volumes(*boxes):
    """Volumes that are brain in one box each, and background around it."""
    for box in boxes:
        volume = torch.full(SHAPE, BACKGROUND)
        volume[tuple(slice(*side) for side in box)] = 0.5
        yield volume


def field_of(*boxes, least=4, multiple=4):
    field = Field(SHAPE, least=least, multiple=multiple)
    field.learn(volumes(*boxes))
    return field


def test_it_is_everything_until_it_has_learned():
    field, volume = Field(SHAPE, least=4, multiple=4), torch.randn(SHAPE)
    assert field.sides == SHAPE
    assert torch.equal(field.of(volume), volume)
    assert torch.equal(field.around(volume), volume)


def test_it_holds_everybody_and_everybody_mirrored():
    field = field_of([(2, 6), (8, 12), (4, 8)], [(4, 10), (6, 9), (4, 8)])
    assert field.box == [(2, 10), (5, 13), (4, 12)]


@pytest.mark.parametrize("place", [0, 9, 18])
def test_sides_are_multiples_and_stay_inside(place):
    field = field_of([(place, place + 2), (3, 13), (1, 2)], least=6, multiple=4)
    assert field.sides == (8, 12, 16)
    for (first, last), length in zip(field.box, SHAPE, strict=True):
        assert 0 <= first < last <= length
    assert field.box[0][0] <= place < place + 2 <= field.box[0][1]


def test_a_small_volume_is_its_own_field():
    assert field_of([(0, 20), (0, 24), (0, 16)], multiple=32).sides == SHAPE


def test_nobody_has_a_brain():
    assert field_of().sides == SHAPE


def test_what_lies_around_is_background():
    field = field_of([(4, 8), (8, 12), (4, 12)])
    whole = field.around(torch.ones(field.sides))
    assert whole.shape == SHAPE
    assert torch.equal(field.of(whole), torch.ones(field.sides))
    assert whole.sum() == 4 * 4 * 8 + BACKGROUND * (20 * 24 * 16 - 4 * 4 * 8)


def test_a_models_file_keeps_it():
    field, other = field_of([(4, 8), (8, 12), (4, 12)]), Field(SHAPE, least=4, multiple=4)
    other.load_state_dict(field.state_dict())
    assert other.box == field.box


@pytest.mark.parametrize(
    "box", [[1, 2, 3], [[0, 4], [0, 4]], [[0, 99], [0, 4], [0, 4]], [[-5, 3], [0, 4], [0, 4]]]
)
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="no box"):
        Field((20, 24, 16), least=4, multiple=4).set_extra_state(torch.tensor(box))


def test_joint_models_draw_background_outside_of_it(joint, generator):
    inside = torch.full(joint.plan.shape, BACKGROUND)
    inside[2:8, 3:11, 2:8] = 0.5
    joint.prepare(Population(inside[None].half(), torch.zeros(1, 2)))
    assert joint.slab.field.sides == (6, 8, 6) != joint.plan.shape
    drawn = joint.draw(torch.zeros(1, 2), steps=2, generator=generator)[0]
    outside = torch.ones_like(drawn)
    joint.slab.field.of(outside).zero_()
    assert (drawn[outside > 0] == BACKGROUND).all()
