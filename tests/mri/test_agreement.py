"""Volumes keep the coarse volume that they were drawn around."""

from dataclasses import replace

import pytest
import torch

from envoi.mri.agreement import Agreement, painted
from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.coarse import CoarseVolumes
from envoi.mri.field import Field
from envoi.mri.joint import JointModel
from tests.mri.conftest import PLANS, strangers

SHAPE = (16, 24, 20)
PLAN = replace(PLANS["joint"], shape=SHAPE)


@pytest.fixture
def field():
    field = Field(SHAPE, least=4, multiple=2)
    brain = torch.full(SHAPE, -1.0)
    brain[2:14, 4:22, 1:19] = 0.0
    field.learn([brain])
    return field


@pytest.fixture
def atlas(generator):
    """Some voxels differ ten times as much between people as others."""
    atlas = Atlas(SHAPE)
    atlas.deviation.copy_(0.02 + 0.2 * torch.rand(SHAPE, generator=generator))
    return atlas


@pytest.fixture
def agreed(field, atlas):
    """With a coarse volume."""
    return lambda coarse: Agreement.of(CoarseVolumes(PLAN), field, atlas, coarse)


def blocks(agreement, data, base, deviation):
    """What blocks are like."""
    volume = agreement.field.around(painted(base, deviation, data))
    return agreement.coarse.intensities(volume[None])[0]


def wrong(agreement, data, base, deviation):
    """How far blocks within the field are from the coarse volume."""
    apart = blocks(agreement, data, base, deviation) - agreement.drawn
    return apart[1:3, 1:5, 1:4].square().mean().sqrt()


def test_blocks_come_nearer_each_time(field, atlas, agreed, generator):
    agreement = agreed(0.3 * torch.randn(4, 6, 5, generator=generator))
    base, deviation = torch.zeros(field.sides), field.of(atlas.deviation)
    data = torch.randn(field.sides, generator=generator)
    errors = [wrong(agreement, data, base, deviation)]
    for _ in range(4):
        data = agreement.moved(data, base, deviation)
        errors.append(wrong(agreement, data, base, deviation))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * errors[0]  # trilinear: what is rough comes slowly
    assert data.abs().max() <= FARTHEST


def test_data_that_agree_are_left_alone(field, atlas, agreed, generator):
    base, deviation = torch.zeros(field.sides), field.of(atlas.deviation)
    data = torch.randn(field.sides, generator=generator)
    agreement = agreed(blocks(agreed(torch.zeros(4, 6, 5)), data, base, deviation))
    torch.testing.assert_close(agreement.moved(data, base, deviation), data, atol=1e-4, rtol=0)


def test_voxels_that_differ_more_between_people_are_moved_more(field, atlas, agreed):
    agreement = agreed(torch.full((4, 6, 5), 0.1))
    base, deviation = torch.zeros(field.sides), field.of(atlas.deviation)
    moved = deviation * agreement.moved(torch.zeros(field.sides), base, deviation)
    often, hardly = moved[deviation > 0.2].mean(), moved[deviation < 0.05].mean()
    assert often > 10 * hardly > 0


def test_a_network_that_changes_who_somebody_is_is_put_right(monkeypatch, generator):
    model = JointModel(PLANS["joint"]).eval()
    people = strangers(9)
    model.prepare(people)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    kept = []
    drawn = CoarseVolumes.draw

    def noted(self, *given):
        kept.append(drawn(self, *given))
        return kept[-1]

    monkeypatch.setattr(CoarseVolumes, "draw", noted)

    def wrong():
        draws = torch.Generator().manual_seed(5)
        volume = model.draw(people.persons[:1], steps=10, generator=draws)
        apart = model.coarse.intensities(volume)[0] - kept[-1][0].clamp(-1, 1)
        return apart[1:-1, 1:-1].square().mean().sqrt()

    kept_together = wrong()
    monkeypatch.setattr(Agreement, "moved", lambda self, data, base, deviation: data)
    assert kept_together < 0.7 * wrong()
