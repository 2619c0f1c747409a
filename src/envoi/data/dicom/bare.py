"""Data sets that were written without a file around them: no preamble, often no meta information.

Old machines and some exports write them so, under any name. Each begins with an element of group
0002 or 0008, whose number, kind of value and length are looked at (PS3.5, 7.1): a file of another
kind hardly ever begins with bytes that pass.
"""

from pathlib import Path
from typing import Literal

from pydicom.datadict import dictionary_has_tag
from pydicom.valuerep import VR

_HEAD = 8
_KINDS = {kind.value.encode() for kind in VR if len(kind.value) == 2}
# Kinds of values whose length has four bytes, behind two that are reserved.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}


def begins_as_data_set(path: Path) -> bool:
    """Whether a file begins with the first element of a bare data set, in any byte order."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    room = path.stat().st_size - _HEAD
    return len(head) == _HEAD and (
        _is_element(head, room, "little") or _is_element(head, room, "big")
    )


def _is_element(head: bytes, room: int, order: Literal["little", "big"]) -> bool:
    """Whether eight bytes are tag, kind and length of an element that may be the first one.

    Args:
        head: The bytes.
        room: How many follow.
        order: `little` or `big`.
    """
    group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    is_length = element == 0  # of the group, in four bytes
    if group not in {0x0002, 0x0008} or not (is_length or dictionary_has_tag((group, element))):
        return False
    kind = head[4:6]
    if kind in _LONG:
        return head[6:8] == bytes(2)
    length = int.from_bytes(head[6:8] if kind in _KINDS else head[4:8], order)
    return length == 4 if is_length else length % 2 == 0 and length <= room
