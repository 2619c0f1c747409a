import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import DataError, SettingsError
from envoi.simulation.partition import (
    Dirichlet,
    Iid,
    Natural,
    OneClass,
    parse_partition,
    partition,
)
from envoi.types import ImageSet


def images(labels, *, classes=None, patients=None, sites=None):
    labels = np.asarray(labels, np.int64)
    classes = classes or int(labels.max()) + 1
    return ImageSet(
        np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels,
        tuple("abcdefghij"[:classes]),
        patients=None if patients is None else np.asarray(patients, np.int64),
        sites=None if sites is None else np.asarray(sites),
    )


def assert_covers_disjointly(parts, count):
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    for part in parts:
        assert part.dtype == np.int64
        assert part.tolist() == sorted(part.tolist())


schemes = st.one_of(
    st.just(Iid()), st.just(OneClass()), st.builds(Dirichlet, st.sampled_from([0.3, 0.6, 5.0]))
)


@settings(deadline=None, max_examples=60)
@given(schemes, st.integers(1, 4), st.integers(0, 1000), st.data())
def test_every_image_goes_to_exactly_one_site(scheme, sites, seed, data):
    length = data.draw(st.integers(200, 400))
    labels = np.random.default_rng(seed).integers(0, 5, length)
    parts = partition(images(labels), scheme=scheme, sites=sites, seed=seed)
    assert len(parts) == sites
    assert_covers_disjointly(parts, length)
    again = partition(images(labels), scheme=str(scheme), sites=sites, seed=seed)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("scheme", [Iid(), Dirichlet(0.6)])
def test_other_seeds_give_other_parts(scheme):
    data = images(np.arange(300) % 4)
    first, other = (partition(data, scheme=scheme, sites=3, seed=seed)[0] for seed in (0, 1))
    assert first.tolist() != other.tolist()


@given(st.integers(10, 200), st.integers(1, 10))
def test_iid_sites_are_equal_up_to_one_image(count, sites):
    parts = partition(images(np.zeros(count), classes=2), scheme=Iid(), sites=sites, seed=0)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_iid_sites_have_the_mix_of_all():
    labels = np.random.default_rng(0).choice(3, size=6000, p=[0.6, 0.3, 0.1])
    for part in partition(images(labels), scheme=Iid(), sites=4, seed=0):
        np.testing.assert_allclose(
            np.bincount(labels[part]) / len(part), [0.6, 0.3, 0.1], atol=0.04
        )


@given(st.integers(2, 5), st.integers(0, 100))
def test_iid_keeps_patients_at_one_site(sites, seed):
    patients = np.random.default_rng(seed).integers(0, 40, 200)
    data = images(np.arange(200) % 3, patients=patients)
    parts = partition(data, scheme=Iid(), sites=sites, seed=seed)
    assert_covers_disjointly(parts, 200)
    homes = [set(patients[part].tolist()) for part in parts]
    assert sum(len(home) for home in homes) == len(set.union(*homes))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= np.bincount(patients).max()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([0.05, 0.1, 0.3, 0.6]), st.integers(2, 6), st.integers(0, 1000))
def test_dirichlet_sites_hold_ten_images_at_least(alpha, sites, seed):
    labels = np.arange(1200) % 8
    parts = partition(images(labels), scheme=Dirichlet(alpha), sites=sites, seed=seed)
    assert_covers_disjointly(parts, 1200)
    assert min(len(part) for part in parts) >= 10


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([0.1, 0.3, 0.6]), st.integers(2, 6), st.integers(0, 1000))
def test_a_site_that_holds_its_share_gets_nothing_of_later_classes(alpha, sites, seed):
    """METHODS section 2: the share of a site with N/K images or more is zero."""
    labels = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(6), [300, 40, 200, 9, 90, 61])
    )
    parts = partition(images(labels), scheme=Dirichlet(alpha), sites=sites, seed=seed)
    counts = np.stack([np.bincount(labels[part], minlength=6) for part in parts])
    before = counts.cumsum(axis=1) - counts
    full = before >= len(labels) / sites
    assert (counts[full] == 0).all()
    assert full.any() or counts.sum() == 700


def test_a_small_alpha_is_more_skewed():
    labels = np.arange(4000) % 8

    def purity(alpha):
        parts = partition(images(labels), scheme=Dirichlet(alpha), sites=5, seed=0)
        counts = np.stack([np.bincount(labels[part], minlength=8) for part in parts])
        return (counts.max(axis=1) / counts.sum(axis=1)).mean()

    assert purity(0.05) > purity(0.6) > purity(100.0)
    assert purity(100.0) < 0.25


def test_dirichlet_ignores_classes_without_images():
    labels = np.repeat([0, 3], 100)
    parts = partition(images(labels, classes=6), scheme=Dirichlet(0.6), sites=3, seed=0)
    assert_covers_disjointly(parts, 200)


def test_dirichlet_gives_up_with_a_message():
    data = images(np.zeros(40), classes=2)
    with pytest.raises(DataError, match="dirichlet-1e-09: expected 4 sites of at least 10 images"):
        partition(data, scheme=Dirichlet(1e-9), sites=4, seed=0)


def test_one_class_at_each_site():
    labels = np.array([2, 0, 1, 1, 0, 2, 2])
    parts = partition(images(labels), scheme=OneClass(), sites=3, seed=0)
    assert [labels[part].tolist() for part in parts] == [[0, 0], [1, 1], [2, 2, 2]]


def test_classes_are_dealt_in_turn_to_fewer_sites():
    labels = np.arange(70) % 7
    parts = partition(images(labels), scheme=OneClass(), sites=3, seed=0)
    assert [sorted(set(labels[part].tolist())) for part in parts] == [[0, 3, 6], [1, 4], [2, 5]]


def test_absent_classes_are_not_dealt():
    labels = np.array([0, 0, 2, 2])
    parts = partition(images(labels, classes=3), scheme=OneClass(), sites=2, seed=0)
    assert [labels[part].tolist() for part in parts] == [[0, 0], [2, 2]]


def test_natural_sites_come_in_order_of_their_names():
    names = ["nih", "kermany", "nih", "kermany", "nih"]
    data = images([0, 1, 0, 1, 1], sites=names)
    parts = partition(data, scheme=Natural(), sites=2, seed=0)
    assert [part.tolist() for part in parts] == [[1, 3], [0, 2, 4]]


@pytest.mark.parametrize(
    "scheme", [Iid(), OneClass(), Natural(), Dirichlet(0.3), Dirichlet(1.0), Dirichlet(0.12345678)]
)
def test_names_round_trip(scheme):
    assert parse_partition(str(scheme)) == scheme


@given(st.floats(1e-6, 1e6))
def test_names_of_any_alpha_round_trip(alpha):
    assert parse_partition(str(Dirichlet(alpha))).alpha == alpha


def test_names_are_those_of_the_result_files():
    names = [str(scheme) for scheme in (Iid(), Dirichlet(0.3), Dirichlet(1.0), OneClass())]
    assert names == ["iid", "dirichlet-0.3", "dirichlet-1", "one-class"]
    assert str(Natural()) == "natural"


@pytest.mark.parametrize(
    "text", ["", "IID", "dirichlet", "dirichlet-", "dirichlet-x", "dirichlet--1", "dirichlet-nan"]
)
def test_unknown_names_are_refused(text):
    with pytest.raises(SettingsError, match="partition: expected iid, dirichlet-ALPHA, one-class"):
        parse_partition(text)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_alphas_are_refused(alpha):
    with pytest.raises(SettingsError, match="alpha: expected a positive number"):
        Dirichlet(alpha)


def test_no_sites_are_refused():
    with pytest.raises(SettingsError, match="sites: expected at least 1, found 0"):
        partition(images([0, 1]), scheme=Iid(), sites=0, seed=0)


@pytest.mark.parametrize(("scheme", "count"), [(Iid(), 3), (Dirichlet(0.6), 39)])
def test_more_sites_than_images_are_refused(scheme, count):
    with pytest.raises(DataError, match="expected enough images for 4 sites"):
        partition(images(np.arange(count) % 2), scheme=scheme, sites=4, seed=0)


def test_fewer_patients_than_sites_are_refused():
    data = images(np.arange(30) % 2, patients=np.arange(30) % 2)
    with pytest.raises(DataError, match="expected enough images for 3 sites"):
        partition(data, scheme=Iid(), sites=3, seed=0)


def test_more_sites_than_classes_are_refused():
    with pytest.raises(DataError, match="one-class: expected at least 4 classes for 4 sites"):
        partition(images(np.arange(30) % 3), scheme=OneClass(), sites=4, seed=0)


def test_natural_needs_the_column():
    with pytest.raises(DataError, match="a column that names each image's site"):
        partition(images([0, 1]), scheme=Natural(), sites=2, seed=0)
