"""A JPEG (ISO 10918-1, annex B) or JPEG-LS (ISO 14495-1, annex C) from its start to its end.

Kept are frame headers, tables and scans, and of blocks of applications the few numbers that decide
what the pixels mean. Comments, EXIF and thumbnails go wherever they stand, between the scans too.
What a coder has written into a scan behind its last pixel cannot be told from pixels, and stays.
"""

import re

_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_KEPT = {
    *(0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7),  # frames
    *(0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xF8, _SCAN),  # tables, lines, restarts, scans
}
_BLOCKS = {0xE0 + number for number in range(16)}
# A zero after FF, or a restart, is a part of a scan; of JPEG-LS any byte below 80 is.
_SCAN_END = re.compile(rb"(?<!\xff)\xff++[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_SCAN_END_LS = re.compile(rb"(?<!\xff)\xff++[\x80-\xcf\xd8-\xfe]", re.DOTALL)

# JFIF says that colours are YCbCr; its version, density and thumbnail say nothing of pixels.
_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE, _ADOBE_LENGTH = b"Adobe", 12
_LS_COLOURS = re.compile(rb"mrfx.", re.DOTALL)


def picture_of(frame: bytes, *, is_ls: bool = False) -> bytes:
    """What makes the picture of a frame.

    Args:
        frame: From its first marker; anything may stand behind its last.
        is_ls: Whether it is a JPEG-LS.

    Raises:
        ValueError: It cannot be walked to its end.
    """
    if not frame.startswith(_marker(_START)):
        raise ValueError("not a frame of this syntax")
    kept, place = [_marker(_START)], 2
    while True:
        code, place = _next_marker(frame, place)
        if code == _END:
            break
        end = place + int.from_bytes(frame[place : place + 2])
        if not place + 2 <= end <= len(frame):
            raise ValueError("a frame that is cut off")
        kept.append(_segment(code, frame[place + 2 : end]))
        place = end
        if code == _SCAN:
            end = _scan_end(frame, place, is_ls=is_ls)
            kept.append(frame[place:end])
            place = end
    if not any(part.startswith(_marker(_SCAN)) for part in kept):
        raise ValueError("a frame without pixels")
    return b"".join([*kept, _marker(_END)])


def _marker(code: int) -> bytes:
    return bytes([0xFF, code])


def _next_marker(frame: bytes, place: int) -> tuple[int, int]:
    """The marker that stands at a place, behind any number of filling bytes, and what follows."""
    first = place
    while frame[place : place + 1] == b"\xff":
        place += 1
    if place == first or place == len(frame):
        raise ValueError("a frame that is cut off, or other bytes between its segments")
    return frame[place], place + 1


def _scan_end(frame: bytes, start: int, *, is_ls: bool) -> int:
    """Where the coded pixels end that start at a place."""
    found = (_SCAN_END_LS if is_ls else _SCAN_END).search(frame, start)
    # No scan header ends in FF; behind one the first marker would not be seen.
    if found is None or frame[start - 1] == 0xFF:
        raise ValueError("a frame that is cut off")
    return found.start()


def _segment(code: int, content: bytes) -> bytes:
    """A segment as it is kept; nothing if it is no part of the picture.

    Raises:
        ValueError: No such segment may stand in a frame.
    """
    if code in _BLOCKS:
        content = _block(code, content)
        if not content:
            return b""
    elif code == _COMMENT:
        return b""
    elif code not in _KEPT:
        raise ValueError("a segment that is unknown in a frame")
    return _marker(code) + (len(content) + 2).to_bytes(2) + content


def _block(code: int, content: bytes) -> bytes:
    """The part of an application's block that decides what the pixels mean."""
    if code == 0xE0 and content.startswith(_JFIF[:5]):
        return _JFIF
    if code == 0xE8 and _LS_COLOURS.fullmatch(content):
        return content
    if code == 0xEE and content.startswith(_ADOBE) and len(content) >= _ADOBE_LENGTH:
        return content[:_ADOBE_LENGTH]
    return b""
