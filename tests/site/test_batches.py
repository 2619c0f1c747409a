import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envoi.site.batches import Inputs, batches, logits_of
from envoi.transforms import normalise


@given(count=st.integers(2, 90), size=st.integers(2, 40))
def test_batches_cover_in_order_and_none_has_one_image(count, size):
    parts = batches(torch.arange(count), size)
    assert torch.cat(parts).tolist() == list(range(count))
    assert min(len(part) for part in parts) > 1
    assert max(len(part) for part in parts) <= size + 1


def test_the_only_image_of_a_site_is_used_twice():
    assert [part.tolist() for part in batches(torch.tensor([4]), 8)] == [[4, 4]]


@pytest.mark.parametrize("limit_bytes", [1 << 30, 0])
def test_inputs_are_the_normalised_images_either_way(make_images, study, limit_bytes):
    images = make_images(9)
    inputs = Inputs(images, study.image, limit_bytes=limit_bytes)
    index = torch.tensor([5, 0, 5])
    wanted = normalise(images.images[index.numpy()], study.image)
    assert torch.equal(inputs.batch(index), wanted)
    assert inputs.batch(index).is_contiguous(memory_format=torch.channels_last)
    assert inputs.labels[index].tolist() == [2, 0, 2]
    assert len(inputs) == 9


def test_logits_do_not_depend_on_batches_or_mode(make_images, study, monkeypatch):
    images, network = make_images(7), study.network()
    inputs, index = Inputs(images, study.image), torch.arange(7)
    whole = logits_of(network.train(), inputs, index)
    monkeypatch.setattr("envoi.site.batches.EVALUATION_BATCH", 2)
    parts = logits_of(network.train(), inputs, index)
    torch.testing.assert_close(whole, parts)
    assert not whole.requires_grad
