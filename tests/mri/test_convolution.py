"""`Conv3d`: PyTorch's results and gradients, without unfolding single items."""

import pytest
import torch
from torch import nn

from envoi.mri.convolution import Conv3d


def both(**options):
    own, theirs = Conv3d(4, 8, **options), nn.Conv3d(4, 8, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for ours, reference in zip(own.parameters(), theirs.parameters(), strict=True):
            ours.copy_(0.3 * torch.randn(ours.shape, generator=generator))
            reference.copy_(ours)
    return own, theirs


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "bias": False},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 1},
        {"kernel_size": (5, 3, 1), "padding": (2, 1, 0)},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 3, "padding": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
    ],
)
def test_results_and_gradients_are_pytorchs(depth, batch, options):
    own, theirs = both(**options)
    generator = torch.Generator().manual_seed(1)
    found = torch.randn(batch, 4, depth, 6, 5, generator=generator).requires_grad_()
    wanted = found.detach().clone().requires_grad_()
    one, other = own(found), theirs(wanted)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    sum(maps.square().sum() for maps in (one, other)).backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-4)
    for ours, reference in zip(own.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("batch", "rows", "items"), [(1, 60, 2), (1, 600, 1), (2, 60, 2), (2, 600, 2)]
)
def test_only_small_single_items_are_convolved_in_halves(batch, rows, items, monkeypatch):
    own, _ = both(kernel_size=3, padding=1)
    convolved = []
    convolve = nn.functional.conv3d

    def watched(maps, *rest, **options):
        convolved.append(len(maps))
        return convolve(maps, *rest, **options)

    monkeypatch.setattr(nn.functional, "conv3d", watched)
    own(torch.zeros(batch, 4, 16, rows, 4))
    assert convolved == [items]
