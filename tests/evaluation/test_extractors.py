import numpy as np
import pytest
import torch

from envoi.evaluation.extractors import FEATURES, random_conv, self_trained
from envoi.evaluation.slices import plane_slices
from tests.evaluation.phantoms import heads


@pytest.fixture(scope="module")
def volumes():
    return heads(8)


@pytest.fixture(scope="module")
def course(volumes):
    """A short training: the extractor, and the losses of its steps."""
    steps = []
    extractor = self_trained(volumes, steps=120, seed=0, on_step=steps.append)
    return extractor, steps


def test_features_are_those_of_single_slices(volumes):
    extractor = random_conv()
    slices = plane_slices(volumes, "axial").pixels
    together = extractor(slices)
    assert together.shape == (len(slices), FEATURES)
    assert len(slices) > 128
    np.testing.assert_allclose(extractor(slices[130:131]), together[130:131], rtol=1e-4)


def test_the_random_extractor_is_the_same_everywhere(volumes):
    slices = plane_slices(volumes[:1], "coronal").pixels
    state = torch.get_rng_state()
    np.testing.assert_array_equal(random_conv()(slices), random_conv()(slices))
    assert torch.equal(torch.get_rng_state(), state)
    assert random_conv().name == "random_conv"


def test_the_first_filters_answer_to_contrast_alone():
    flat = np.full((1, 20, 20), 0.7, np.float32)
    network = random_conv().network
    maps = network.layers[0](torch.from_numpy(flat)[:, None])
    assert maps[..., 1:-1, 1:-1].abs().max() < 1e-6


def test_training_learns_plane_rotation_and_place(course):
    extractor, steps = course
    assert extractor.name == "self_trained"
    assert [info.step for info in steps] == list(range(1, 121))
    first, last = (
        {key: np.mean([info.losses[key] for info in part]) for key in ("pose", "place")}
        for part in (steps[:5], steps[-20:])
    )
    assert first["pose"] == pytest.approx(np.log(12), abs=0.3)
    assert last["pose"] < 1.8  # an ellipsoid looks the same upside down: no less than ln 2
    assert last["place"] < 0.5 * first["place"]


def test_training_is_a_function_of_volumes_steps_and_seed(volumes):
    slices = plane_slices(volumes[:1], "axial").pixels
    made = [
        self_trained(part, steps=3, seed=seed)(slices)
        for part, seed in ((volumes, 0), (volumes, 0), (volumes, 1), (volumes[:4], 0))
    ]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.allclose(made[0], made[2])
    assert not np.allclose(made[0], made[3])


def test_a_trained_extractor_stays_as_it_is(course):
    network = course[0].network
    assert not any(parameter.requires_grad for parameter in network.parameters())
