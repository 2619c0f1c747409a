import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoi.submission.strict_json import DEPTH_LIMIT, JsonError, parse

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, dict | list)) + max((depth(item) for item in inner), default=0)


@given(value=values)
def test_it_agrees_with_json_on_plain_values(value):
    text = json.dumps(value, ensure_ascii=False)
    if depth(value) <= DEPTH_LIMIT and "\\ud" not in text:
        assert parse(text) == parse(text.encode()) == json.loads(text)


@given(levels=st.integers(1, 40), opening=st.sampled_from(["[", '{"a":']))
def test_depth_is_bounded(levels, opening):
    text = opening * levels + "1" + ("]" if opening == "[" else "}") * levels
    if levels <= DEPTH_LIMIT:
        assert depth(parse(text)) == levels
    else:
        with pytest.raises(JsonError, match="nested deeper than 8"):
            parse(text)


@given(text=st.text(alphabet='[]{}",:\\u d80a1.e-', max_size=60))
def test_any_text_ends_in_a_value_or_a_json_error(text):
    try:
        value = parse(text)
    except JsonError:
        return
    assert json.loads(text) == value


@given(content=st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_a_json_error(content):
    try:
        value = parse(content)
    except JsonError:
        return
    assert json.loads(content) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1,"a":1}', "stands twice"),
        ('[{"b":{"a":1,"\\u0061":2}}]', "stands twice"),
        ("[NaN]", "NaN, which is not JSON"),
        ("[-Infinity]", "-Infinity, which"),
        ("1e400", "out of range"),
        ("-1e400", "out of range"),
        ("1" * 25, "a number of 25 digits"),
        ("1" * 10_000, "a number of 10000 digits"),
        ("0." + "1" * 10_000, "out of range"),
        ('"\\uD800"', "an escaped surrogate"),
        ('"\\ud83d\\ude00"', "an escaped surrogate"),
        ("", "not JSON at character 0"),
        ("\ufeff1", "not JSON at character 0"),
        ("1 1", "not JSON at character 2"),
        ('"\x00"', "not JSON at character 1"),
        ("[" * 100_000, "nested deeper"),
        ('"' + "\\" * 99_999, "not JSON"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(JsonError, match=message):
        parse(text)


def test_brackets_in_strings_do_not_count():
    text = json.dumps(["[" * 50, '"' + "{" * 50, "\\"])
    assert parse(text)[0] == "[" * 50
