import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoi.errors import ReplayError
from envoi.submission.refusal import refused, shown, shown_name

anything = st.text() | st.binary() | st.integers() | st.floats() | st.lists(st.text())


@given(value=anything)
def test_what_is_shown_is_short_and_harmless(value):
    text = shown(value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 60


@given(name=st.text())
def test_names_are_shown_short_and_harmless(name):
    text = shown_name(name)
    assert text.isascii()
    assert text.isprintable()
    assert 0 < len(text) <= 80


def test_plain_names_are_shown_as_they_are():
    assert shown_name("north-clinic_2.safetensors") == "north-clinic_2.safetensors"
    assert shown_name("-rf") == "'-rf'"
    assert shown_name("") == "''"


def test_megabytes_are_not_escaped_to_show_sixty_characters():
    start = time.perf_counter()
    for _ in range(100):
        shown("\x1b" * 10**7)
    assert time.perf_counter() - start < 1


def test_a_refusal_has_four_parts_in_one_line():
    error = refused("file", "this", "that", "Do something.", kind=ReplayError)
    assert isinstance(error, ReplayError)
    assert str(error) == "file: expected this, found that. Do something."


@pytest.mark.parametrize("value", ["a\nb", "\x1b[0m", "\u202e", "\ud800", "\0"])
def test_control_characters_are_escaped(value):
    assert "\\" in shown(value)
