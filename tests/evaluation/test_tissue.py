import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from envoi.errors import DataError
from envoi.evaluation.tissue import evened, fit_mixture


@pytest.fixture
def intensities():
    """Three tissues of known shares."""
    generator = np.random.default_rng(0)
    parts = [generator.normal(m, 0.06, n) for m, n in ((0.2, 2000), (0.5, 5000), (0.8, 3000))]
    return np.concatenate(parts).clip(0, 1).astype(np.float32)


def test_known_tissues_are_recovered(intensities):
    mixture = fit_mixture(intensities)
    np.testing.assert_allclose(mixture.means, [0.2, 0.5, 0.8], atol=0.01)
    np.testing.assert_allclose(mixture.weights, [0.2, 0.5, 0.3], atol=0.01)
    assert mixture.deviation == pytest.approx(0.06, abs=0.003)


def test_the_mixture_agrees_with_scikit_learn(intensities):
    ours = fit_mixture(intensities)
    theirs = GaussianMixture(3, covariance_type="tied", random_state=0, tol=1e-6, max_iter=500)
    theirs.fit(intensities[:, None])
    order = np.argsort(theirs.means_.ravel())
    np.testing.assert_allclose(ours.means, theirs.means_.ravel()[order], atol=2e-3)
    np.testing.assert_allclose(ours.weights, theirs.weights_[order], atol=2e-3)
    some = np.linspace(0.05, 0.95, 50)
    np.testing.assert_allclose(
        ours.shares(some), theirs.predict_proba(some[:, None])[:, order], atol=0.03
    )


def test_shares_sum_to_one_however_unlikely_the_intensity(intensities):
    shares = fit_mixture(intensities).shares(np.array([0.0, 0.35, 1.0]))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.argmax(axis=1)[[0, 2]].tolist() == [0, 2]


def test_a_drift_of_brightness_is_taken_out():
    voxels = np.zeros((24, 24, 40), np.float32)
    generator = np.random.default_rng(0)
    tissue = generator.choice([0.4, 0.8], (20, 20, 36))
    voxels[2:22, 2:22, 2:38] = tissue
    drifting = (voxels * np.linspace(0.7, 1.2, 40, dtype=np.float32)).clip(0, 1)
    inside = voxels > 0
    before = np.std(drifting[inside] / voxels[inside])
    after = evened(drifting, (4.0, 4.0, 4.0))[inside] / voxels[inside]
    assert np.std(after) / np.mean(after) < before / 2
    assert not evened(drifting, (4.0, 4.0, 4.0))[~inside].any()
    assert not evened(np.zeros_like(voxels), (4.0, 4.0, 4.0)).any()


def test_too_few_intensities_are_refused():
    with pytest.raises(DataError, match="three different intensities, found 2"):
        fit_mixture(np.array([0.2, 0.2, 0.7], np.float32))
