"""Compressed pictures without what was written between their pixels.

A JPEG may carry comments, EXIF blocks and thumbnails (ISO 10918-1, B.2.4), a JPEG 2000 codestream
comments (ISO 15444-1, A.9.2), and either may be followed by anything. Programs have put names
there. They are cut out; no bit of the coded pixels is touched.
"""

from pydicom import uid as known
from pydicom.encaps import encapsulate, generate_frames

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
_COMMENT = 0xFE
# Colour transforms of Adobe (14) and of JPEG-LS (8) decide what the pixels mean.
_BLOCKS_CUT = {0xE0 + number for number in range(16)} - {0xE8, 0xEE}
_J2K_START, _J2K_TILE, _J2K_COMMENT = b"\xff\x4f", 0x90, 0x64

_JPEG = {
    known.JPEGBaseline8Bit,
    known.JPEGExtended12Bit,
    known.JPEGLossless,
    known.JPEGLosslessSV1,
    known.JPEGLSLossless,
    known.JPEGLSNearLossless,
}


def without_comments(pixel_data: bytes, syntax: str, frames: int) -> bytes:
    """Encapsulated pixel data with all that is no picture cut out of its frames.

    Args:
        pixel_data: The value of Pixel Data in a compressed transfer syntax.
        syntax: UID of that transfer syntax.
        frames: How many frames it holds.

    Raises:
        ValueError: A frame is no picture of that syntax.
    """
    found = list(generate_frames(pixel_data, number_of_frames=frames))
    if syntax == known.RLELossless:
        return encapsulate(found)
    cut = _jpeg_without_comments if syntax in _JPEG else _j2k_without_comments
    return encapsulate([cut(frame) for frame in found])


def _jpeg_without_comments(frame: bytes) -> bytes:
    return _ended(_cut(frame, _START, _SCAN, _BLOCKS_CUT | {_COMMENT}))


def _j2k_without_comments(frame: bytes) -> bytes:
    return _ended(_cut(frame, _J2K_START, _J2K_TILE, {_J2K_COMMENT}))


def _cut(frame: bytes, start: bytes, pixels: int, unwanted: set[int]) -> bytes:
    """A frame without the marker segments that are `unwanted` and stand before its pixels."""
    if not frame.startswith(start):
        raise ValueError("not a frame of this syntax")
    kept, place = [start], len(start)
    while place + 4 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == pixels:
            return b"".join([*kept, frame[place:]])
        if marker == 0xFF:  # any number of these may stand before a marker
            place += 1
            continue
        end = place + 2 + int.from_bytes(frame[place + 2 : place + 4])
        if marker not in unwanted:
            kept.append(frame[place:end])
        place = end
    raise ValueError("a frame without pixels")


def _ended(frame: bytes) -> bytes:
    """A frame up to its last end marker."""
    end = frame.rfind(_END)
    return frame if end < 0 else frame[: end + len(_END)]
