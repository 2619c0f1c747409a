"""cDPM's windows: the law's own figures, and the order of sampling."""

from functools import partial

import pytest
import torch

from envoi.errors import SettingsError
from envoi.mri.joint_plan import JointPlan
from envoi.mri.paper import PaperPlan
from envoi.mri.windows import SLOTS, comb, random_window, sampling_borders, sampling_windows


@pytest.fixture(scope="module")
def windows():
    generator = torch.Generator().manual_seed(1)
    return [random_window(128, generator) for _ in range(6000)]


def test_seven_windows_in_ten_have_no_known_slice(windows):
    assert sum(not window.known for window in windows) / len(windows) == pytest.approx(
        0.7, abs=0.02
    )


@pytest.mark.parametrize(("share", "known"), [(0.0, 0), (1.0, 1500)])
def test_the_share_of_known_combs_decides_what_is_known(share, known, generator):
    windows = [random_window(128, generator, known_share=share) for _ in range(500)]
    assert sum(len(window.known) for window in windows) >= known
    assert share or not any(window.known for window in windows)


@pytest.mark.parametrize(
    "plan", [partial(PaperPlan, known_share=1.1), partial(JointPlan, nothing_given=-0.1)]
)
def test_shares_are_from_0_to_1(plan):
    with pytest.raises(SettingsError, match="a value from 0 to 1"):
        plan(shape=(32, 32, 32))


def test_one_window_in_ten_is_compact(windows):
    spans = [max(window.slices) - min(window.slices) + 1 for window in windows]
    assert sum(span <= SLOTS for span in spans) / len(windows) == pytest.approx(0.1, abs=0.02)


def test_a_window_holds_different_slices_of_the_volume_within_its_slots(windows):
    for window in windows:
        assert len(set(window.slices)) == len(window.slices) <= SLOTS
        assert window.wanted
        assert 0 <= min(window.slices) <= max(window.slices) < 128


@pytest.mark.parametrize("slices", [1, 7, 20])
def test_a_volume_of_few_slices_is_one_window(slices, generator):
    for _ in range(20):
        window = random_window(slices, generator)
        assert set(window.slices) <= set(range(slices))


def test_a_comb_has_equal_gaps_but_for_rounding(generator):
    for _ in range(300):
        numbers = comb(128, generator)
        gaps = torch.tensor(numbers).diff()
        assert len(gaps) == 0 or int(gaps.max() - gaps.min()) <= 1


@pytest.mark.parametrize(("slices", "stages"), [(128, 12), (48, 4), (20, 1), (7, 1)])
def test_sampling_finds_every_slice_once_and_knows_only_what_was_found(slices, stages):
    found = []
    windows = list(sampling_windows(slices))
    for window in windows:
        assert set(window.known) <= set(found)
        assert not set(window.wanted) & set(found)
        found += window.wanted
    assert found == list(range(slices))
    assert len(windows) == stages
    assert all(len(window.known) == SLOTS // 2 for window in windows[1:])


@pytest.mark.parametrize(
    ("slices", "slots", "borders"),
    [(48, 20, (20, 30, 40)), (20, 20, ()), (21, 20, (20,)), (12, 6, (6, 9))],
)
def test_windows_meet_where_new_slices_begin(slices, slots, borders):
    assert sampling_borders(slices, slots=slots) == borders
