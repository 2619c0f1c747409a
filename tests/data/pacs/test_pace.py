"""The rate is kept, and an archive that goes away is waited for."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.data.pacs.pace import Pace, Patience
from envoi.data.pacs.source import PacsGoneError
from envoi.errors import Problem, SettingsError

PROBLEM = Problem("an answer", "none", "PACS", "Wait.")


class Clock:
    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def pace(clock, told=None, **patience):
    listener = (lambda _: None) if told is None else told.append
    return Pace(Patience(**patience), listener, clock=clock, sleep=clock.sleep)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=2, max_size=20))
def test_no_second_has_more_requests_than_allowed(per_second, durations):
    clock, starts = Clock(), []
    made = pace(clock, per_second=per_second)
    for duration in durations:
        made.make(lambda: starts.append(clock.now))
        clock.now += duration
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert min(gaps) >= 1 / per_second - 1e-9


def gone(times, after_seconds=0.0):
    left = [times]

    def request():
        left[0] -= 1
        if left[0] >= 0:
            err = PacsGoneError(PROBLEM)
            err.after_seconds = after_seconds
            raise err
        return "answer"

    return request


def test_waits_double_and_end_in_an_answer():
    clock, told = Clock(), []
    made = pace(clock, told, per_second=1000, tries=5, first_wait_seconds=1)
    assert made.make(gone(3)) == "answer"
    assert told == [1, 2, 4]


def test_the_last_try_is_the_last():
    clock, told = Clock(), []
    with pytest.raises(PacsGoneError, match="expected an answer"):
        pace(clock, told, tries=3).make(gone(9))
    assert len(told) == 2


def test_an_archive_may_ask_for_more_time_but_not_for_ever():
    clock, told = Clock(), []
    pace(clock, told, longest_wait_seconds=60).make(gone(1, after_seconds=20))
    pace(clock, told, longest_wait_seconds=60).make(gone(1, after_seconds=10_000))
    assert told == [20, 60]


def test_other_errors_are_not_tried_again():
    calls = []

    def request():
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pace(Clock()).make(request)
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "value"), [("per_second", 0), ("per_second", 1e9), ("tries", 0)])
def test_settings_are_checked(name, value):
    with pytest.raises(SettingsError, match=name.replace("_", "-")):
        Patience(**{name: value})
    with pytest.raises(SettingsError):
        Patience(per_second=float("nan"))
