"""Spectral features: against SciPy's cosine transform, and images composed from them."""

import numpy as np
import pytest
import torch
from scipy import fft

from envoi.networks.spectrum import BANDS, Spectrum, cosine_matrix

SIZES = (1, 5, 9, 28, 224)


def pictures(*shape, seed=0):
    """Smooth blobs with a little noise, as images are: most energy at low frequencies."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    order = torch.arange(shape[-1]) + 1.0
    coefficients = noise * shape[-1] / (order[:, None].square() + order.square())
    cosines = cosine_matrix(shape[-1])
    return cosines.T @ coefficients @ cosines + 0.02 * noise


@pytest.mark.parametrize("size", SIZES)
def test_the_cosine_matrix_is_scipys(size):
    wanted = fft.dct(np.eye(size), type=2, norm="ortho", axis=0)
    matrix = cosine_matrix(size)
    assert matrix.dtype == torch.float32
    np.testing.assert_allclose(matrix, wanted, rtol=0, atol=1e-7)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(size), rtol=0, atol=5e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_every_coefficient_is_kept_or_in_one_ring(size, channels):
    spectrum = Spectrum(channels, size)
    images = pictures(2, channels, size, size)
    assert spectrum.features(images).shape == (2, spectrum.dimension)
    for plane in spectrum._planes:
        seen = plane.low.int() + sum(ring.int() for ring in plane.bands)
        assert (seen == 1).all()
        assert len(plane.bands) <= BANDS
    assert len(spectrum._planes) == channels


def test_kept_features_are_scipys_lowest_coefficients():
    images = pictures(3, 1, 28, 28)
    wanted = fft.dctn(images[:, 0].double().numpy(), norm="ortho", axes=(1, 2))
    row, column = np.mgrid[:28, :28]
    low = row**2 + column**2 < 81
    found = Spectrum(1, 28).features(images)
    np.testing.assert_allclose(found[:, : low.sum()], wanted[:, low], atol=1e-5)
    assert found.shape[1] == low.sum() + BANDS


def test_the_features_hold_all_energy_of_an_image():
    """Parseval: kept coefficients, and rings by the mean energy in them."""
    images, spectrum = pictures(3, 3, 28, 28), Spectrum(3, 28)
    energy = torch.zeros(3)
    for plane, own in zip(
        spectrum._planes, spectrum._split(spectrum.features(images)), strict=True
    ):
        count = int(plane.low.sum())
        energy += own[:, :count].square().sum(dim=1)
        sizes = torch.tensor([float(ring.sum()) for ring in plane.bands])
        energy += (own[:, count:].exp() * sizes).sum(dim=1)
    torch.testing.assert_close(energy, images.square().sum(dim=(1, 2, 3)), rtol=1e-3, atol=0)


def test_grey_images_have_no_colour():
    grey = pictures(2, 1, 28, 28).expand(-1, 3, -1, -1)
    luminance, *colours = Spectrum(3, 28)._split(Spectrum(3, 28).features(grey))
    torch.testing.assert_close(
        luminance[:, :-BANDS], 3**0.5 * Spectrum(1, 28).features(grey[:, :1])[:, :-BANDS]
    )
    for colour in colours:
        assert colour[:, :-BANDS].abs().max() < 1e-5
        torch.testing.assert_close(colour[:, -BANDS:].exp(), torch.full((2, BANDS), 1e-6))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_an_images_own_features_and_details_compose_it(size, channels):
    images, spectrum = pictures(4, channels, size, size), Spectrum(channels, size)
    composed = spectrum.compose(spectrum.features(images), images)
    torch.testing.assert_close(composed, images, rtol=0, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_composed_images_have_the_features_that_were_wanted(size, channels):
    spectrum = Spectrum(channels, size)
    wanted = spectrum.features(pictures(4, channels, size, size))
    noise = torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(1))
    found = spectrum.features(spectrum.compose(wanted, noise))
    for plane, ours, theirs in zip(
        spectrum._planes, spectrum._split(found), spectrum._split(wanted), strict=True
    ):
        count = int(plane.low.sum())
        torch.testing.assert_close(ours[:, :count], theirs[:, :count], rtol=0, atol=1e-4)
        # Energies, where they are not below the least one that the features know.
        energies = (ours[:, count:].exp(), theirs[:, count:].exp())
        torch.testing.assert_close(*energies, rtol=1e-3, atol=1.1e-6)


def test_composed_images_keep_the_shape_of_their_details():
    """Every ring is scaled as one: signs and proportions inside it are those of the details."""
    spectrum = Spectrum(1, 28)
    wanted, details = spectrum.features(pictures(1, 1, 28, 28)), pictures(1, 1, 28, 28, seed=4)
    given, made = (
        spectrum._coefficients(images)[0, 0]
        for images in (details, spectrum.compose(wanted, details))
    )
    for ring in spectrum._planes[0].bands:
        gain = made[ring].norm() / given[ring].norm()
        torch.testing.assert_close(made[ring], gain * given[ring], rtol=1e-3, atol=1e-5)


def test_details_without_any_energy_give_finite_images():
    spectrum = Spectrum(3, 28)
    wanted = spectrum.features(pictures(2, 3, 28, 28))
    flat = spectrum.compose(wanted, torch.zeros(2, 3, 28, 28))
    assert flat.isfinite().all()
    low = int(spectrum._planes[0].low.sum())
    torch.testing.assert_close(spectrum.features(flat)[:, :low], wanted[:, :low], rtol=0, atol=1e-4)


def test_gradients_reach_the_features():
    spectrum = Spectrum(1, 9)
    wanted = spectrum.features(pictures(1, 1, 9, 9)).requires_grad_()
    spectrum.compose(wanted, pictures(1, 1, 9, 9, seed=2)).square().sum().backward()
    assert wanted.grad is not None
    assert (wanted.grad != 0).all()
