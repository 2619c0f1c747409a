"""JSON from strangers: one meaning or none, bounded in depth and in the size of numbers."""

import json
import math
import re
from typing import Any

DEPTH_LIMIT = 8
_DIGITS_LIMIT = 24
_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """The text is not JSON, or not of one meaning; the message never quotes it."""


def parse(content: bytes | str) -> Any:  # noqa: ANN401  (any JSON value)
    """The value of a JSON text in UTF-8.

    Time and memory are linear in the text; the caller bounds its length.

    Raises:
        JsonError: It is not JSON, is nested too deeply, repeats a key of an object, or holds a
            half surrogate, a number that is not finite or one of absurd length.
    """
    text = _decoded(content) if isinstance(content, bytes) else content
    if _depth(text) > DEPTH_LIMIT:
        raise JsonError(f"JSON nested deeper than {DEPTH_LIMIT} levels")
    if _SURROGATE.search(text):
        raise JsonError("an escaped surrogate")
    try:
        return json.loads(
            text,
            object_pairs_hook=_unrepeated,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as err:
        raise JsonError(f"text that is not JSON at character {err.pos}") from err


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as err:
        raise JsonError(f"bytes that are not UTF-8 at {err.start}") from err


def _depth(text: str) -> int:
    """Deepest nesting; counted before parsing, which would exhaust the stack."""
    level = deepest = 0
    inside_string = False
    for token in _TOKEN.finditer(text):
        first = token.group()[0]
        if first == '"':
            inside_string = not inside_string
        elif not inside_string and first != "\\":
            level += 1 if first in "[{" else -1
            deepest = max(deepest, level)
    return deepest


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonError("a key that stands twice in one object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_LIMIT:
        raise JsonError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits) if len(digits) <= 2 * _DIGITS_LIMIT else math.inf
    if not math.isfinite(number):
        raise JsonError("a number out of range")
    return number


def _no_constant(name: str) -> float:
    raise JsonError(f"{name}, which is not JSON")
