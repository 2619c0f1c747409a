"""Images drawn from moments: that they have them, and are shared out as counts say."""

import dataclasses

import numpy as np
import pytest
import torch

from envoi.errors import MethodError
from envoi.networks.spectrum import Spectrum
from envoi.server.pooled import site_covariances
from envoi.server.synthesis.moment_images import MomentImages, _factor, pair_shares
from envoi.site.moments import feature_moments
from tests.conftest import make_teachers

COUNTS = ((300, 100, 0), (0, 200, 400))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def soft_pictures(labels, size, channels, seed):
    """Smooth images well inside the range of pixels, each class of its own look."""
    generator = seeded(seed)
    coarse = torch.randn(len(labels), channels, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    grain = torch.randn(len(labels), channels, size, size, generator=generator)
    level = 0.15 * (labels[:, None, None, None] - 1)
    return level + 0.08 * smooth + 0.03 * (1 + labels[:, None, None, None]) * grain


def soft_teachers(size=12, channels=3):
    """Two sites whose moments are those of spectral features alone (the rest plays no part)."""
    teachers = make_teachers(COUNTS, moments=False, size_px=size, channels=channels)
    members, spectrum = [], Spectrum(channels, size)
    for number, member in enumerate(teachers.members):
        labels = torch.arange(3).repeat_interleave(torch.tensor(member.class_counts))
        features = spectrum.features(soft_pictures(labels, size, channels, number))
        moments = feature_moments(
            features.numpy(), labels.numpy(), classes=3, minimum=1, minimum_covariance=2
        )
        members.append(dataclasses.replace(member, moments=moments))
    return dataclasses.replace(teachers, members=tuple(members))


@pytest.fixture(scope="module")
def drawn():
    """Many images of one source, the moments behind it, and their own features."""
    teachers = soft_teachers()
    made = MomentImages(teachers).draw(3000, seeded())
    return teachers, made, Spectrum(3, 12).features(made.images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 61])
def test_images_are_those_of_their_seed_and_inside_the_range(channels, size):
    teachers = make_teachers(((6, 4, 0), (0, 9, 15)), channels=channels, size_px=size)
    source = MomentImages(teachers)
    made = source.draw(7, seeded())
    assert made.images.shape == (7, channels, size, size)
    assert made.images.isfinite().all()
    assert made.images.abs().max() <= 1
    again = MomentImages(teachers).draw(7, seeded())
    assert made.images.equal(again.images)
    assert made.sites.equal(again.sites)
    assert made.classes.equal(again.classes)
    assert not made.images.equal(source.draw(7, seeded(1)).images)
    assert (made.images[0] - made.images[1]).abs().max() > 0.01
    assert source.draw(1, seeded()).images.shape == (1, channels, size, size)


def test_images_are_of_classes_that_their_site_has(drawn):
    teachers, made, _ = drawn
    assert (teachers.class_counts[made.sites, made.classes] > 0).all()


def test_pairs_are_drawn_as_often_as_their_shares_say(drawn):
    teachers, made, _ = drawn
    shares = pair_shares(teachers.class_counts, 0.5)
    found = torch.bincount(3 * made.sites + made.classes, minlength=6) / len(made.sites)
    error = (shares * (1 - shares) / len(made.sites)).sqrt().flatten()
    assert ((found - shares.flatten()).abs() <= 4 * error).all()


@pytest.mark.parametrize(("site", "label"), [(0, 0), (0, 1), (1, 1), (1, 2)])
def test_their_means_are_those_of_the_site_and_class(drawn, site, label):
    """Coarse picture and logarithms of ring energies alike, within the error of the mean."""
    teachers, made, features = drawn
    own = features[(made.sites == site) & (made.classes == label)]
    moments = teachers.members[site].moments
    error = moments.deviations / len(own) ** 0.5
    z = (own.mean(dim=0) - moments.means[label]) / error.clamp_min(1e-6)
    # Few pixels are clamped, which moves means by a small part of a deviation.
    assert z.abs().max() < 5
    assert z.square().mean().sqrt() < 1.4


@pytest.mark.parametrize("site", [0, 1])
def test_their_covariance_is_that_of_the_site(drawn, site):
    teachers, made, features = drawn
    moments = [member.moments for member in teachers.members]
    chosen = made.sites == site
    centred = features[chosen] - moments[site].means[made.classes[chosen]]
    deviations = moments[site].deviations
    torch.testing.assert_close(
        centred.square().mean(dim=0).sqrt() / deviations,
        torch.ones(len(deviations)),
        atol=0.12,
        rtol=0,
    )
    standard = centred / deviations
    found = standard.T @ standard / len(standard)
    difference = found - moments[site].correlations
    assert difference.abs().max() < 0.17
    assert difference.square().mean().sqrt() < 1.5 / len(standard) ** 0.5


def test_sites_differ_in_what_is_drawn_from_them(drawn):
    _, made, features = drawn
    middle = made.classes == 1
    first, second = (features[middle & (made.sites == k)].mean(dim=0) for k in (0, 1))
    assert (first - second).abs().max() > 0.01


def test_detail_does_not_depend_on_which_procedural_image_it_is_from(drawn):
    """Ring energies of every image are as wide as the site's, not as the procedural family's."""
    teachers, made, features = drawn
    spectrum = Spectrum(3, 12)
    low = int(spectrum._planes[0].low.sum())
    rings = slice(low, spectrum._planes[0].dimension)
    moments = teachers.members[1].moments
    own = features[(made.sites == 1) & (made.classes == 2)][:, rings]
    spread = own.std(dim=0) / moments.deviations[rings]
    torch.testing.assert_close(spread, torch.ones(len(spread)), atol=0.15, rtol=0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_pair_shares_are_classes_by_a_power_and_sites_by_their_counts(power):
    counts = torch.tensor([[30.0, 10.0, 0.0, 0.0], [10.0, 0.0, 160.0, 0.0]])
    shares = pair_shares(counts, power)
    assert shares.sum().item() == pytest.approx(1)
    assert ((shares == 0) == (counts == 0)).all()
    wanted = torch.tensor([40.0, 10.0, 160.0]) ** power
    torch.testing.assert_close(shares.sum(dim=0)[:3], wanted / wanted.sum())
    assert (shares[0, 0] / shares[1, 0]).item() == pytest.approx(3)


def test_without_any_image_no_pair_has_a_share():
    assert not pair_shares(torch.zeros(2, 3), 0.5).any()


def test_a_factor_gives_its_covariance_back():
    rng = np.random.default_rng(0)
    mixing = torch.from_numpy(rng.normal(size=(6, 6)) * np.logspace(-2, 2, 6)[:, None])
    covariance = mixing @ mixing.T
    root = _factor(covariance).double()
    scale = covariance.diagonal().sqrt()
    found = root @ root.T / torch.outer(scale, scale)
    torch.testing.assert_close(found, covariance / torch.outer(scale, scale), atol=1e-4, rtol=0)


def test_a_factor_of_what_rounding_made_indefinite_is_finite():
    correlations = torch.tensor([[1.0, 1.001, 0.0], [1.001, 1.0, 0.0], [0.0, 0.0, 0.0]])
    root = _factor(correlations.double())
    assert root.isfinite().all()
    torch.testing.assert_close(root @ root.T, correlations, atol=2e-3, rtol=0)


def test_a_site_with_few_images_is_drawn_with_the_others_correlations():
    teachers = make_teachers(((300, 100, 50), (4, 4, 4)), size_px=8)
    few = teachers.members[1].moments
    assert not few.has_correlations
    moments = [member.moments for member in teachers.members]
    wanted = site_covariances(moments, teachers.class_counts.sum(dim=1))[1]
    source = MomentImages(teachers)
    size = Spectrum(3, 8).dimension
    scale = wanted.diagonal()[:size].clamp_min(1e-12).sqrt()
    found = source._factors[1].double() @ source._factors[1].double().T
    torch.testing.assert_close(
        found / torch.outer(scale, scale),
        wanted[:size, :size] / torch.outer(scale, scale),
        atol=1e-3,
        rtol=0,
    )


def test_sites_without_moments_or_counts_are_refused_in_one_error():
    message = "images from moments: expected moments of every site, found none from site-1, site-2"
    with pytest.raises(MethodError, match=message) as caught:
        MomentImages(make_teachers(moments=False))
    assert len(caught.value.problems) == 1
    nobody = make_teachers(((0, 0, 0), (0, 0, 0)))
    with pytest.raises(MethodError, match="found no class large enough"):
        MomentImages(nobody)
