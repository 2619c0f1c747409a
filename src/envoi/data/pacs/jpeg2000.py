"""A JPEG 2000 codestream (ISO 15444-1, annex A; high throughput: 15444-15) from start to end.

Comments go out of the main header. In the header of a tile-part they are made zeros and keep their
length, which other segments have added up. What a coder has written into a tile-part behind its
last packet cannot be told from pixels, and stays.
"""

import re

_START, _TILE, _DATA, _END = b"\xff\x4f", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_COMMENT = 0x64
_IN_TILES = {0x52, 0x53, 0x58, 0x5C, 0x5D, 0x5E, 0x5F, 0x61}
"""Coding, quantisation, regions, order and lengths of packets, and their headers."""
_IN_MAIN = (_IN_TILES - {0x58, 0x61}) | {0x50, 0x51, 0x55, 0x56, 0x57, 0x59, 0x60, 0x63}
"""The same for all tiles; sizes, capabilities, profiles, lengths of tile-parts, and offsets."""
_TILE_LENGTH = 12
_BEHIND_DATA = re.compile(rb"\xff[\x93-\xff]", re.DOTALL)


def picture_of(frame: bytes) -> bytes:
    """What makes the picture of a frame.

    Args:
        frame: From its first marker; anything may stand behind its last.

    Raises:
        ValueError: It cannot be walked to its end.
    """
    if not frame.startswith(_START):
        raise ValueError("not a frame of this syntax")
    kept, place = [_START], len(_START)
    while frame[place : place + 2] != _TILE:
        end = _segment_end(frame, place, _IN_MAIN)
        if frame[place + 1] != _COMMENT:
            kept.append(frame[place:end])
        place = end
    while frame[place : place + 2] == _TILE:
        part, place = _tile_part(frame, place)
        kept += part
    if frame[place : place + 2] != _END:
        raise ValueError("a frame that is cut off, or other bytes between its tiles")
    return b"".join([*kept, _END])


def _segment_end(frame: bytes, place: int, known: set[int]) -> int:
    """Where the segment ends that starts at a place."""
    code = (
        frame[place + 1] if frame[place : place + 1] == b"\xff" and place + 4 <= len(frame) else 0
    )
    end = place + 2 + int.from_bytes(frame[place + 2 : place + 4])
    if code not in known | {_COMMENT} or not place + 4 <= end <= len(frame):
        raise ValueError("a frame that is cut off, or a segment that is unknown in it")
    return end


def _tile_part(frame: bytes, start: int) -> tuple[list[bytes], int]:
    """A tile-part without the text of its comments, and where it ends."""
    place = start + _TILE_LENGTH
    kept = [frame[start:place]]
    while frame[place : place + 2] != _DATA:
        end = _segment_end(frame, place, _IN_TILES)
        is_comment = frame[place + 1] == _COMMENT
        zeros = frame[place : place + 4] + b"\0" * (end - place - 4)
        kept.append(zeros if is_comment else frame[place:end])
        place = end
    end = _end_of_data(frame, start, place + len(_DATA))
    return [*kept, frame[place:end]], end


def _end_of_data(frame: bytes, start: int, data: int) -> int:
    """Where a tile-part ends: after the length that it tells, or, if it is the last, it may not.

    No two bytes of coded data are a marker behind those of packets (B.10.1).
    """
    length = int.from_bytes(frame[start + 6 : start + 10])
    if length:
        end = start + length
    else:
        found = _BEHIND_DATA.search(frame, data)
        end = -1 if found is None else found.start()
    if not data <= end <= len(frame):
        raise ValueError("a frame that is cut off")
    return end
