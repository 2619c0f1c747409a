"""Compressed frames: comments go, coded bits stay, damage is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid as known
from pydicom.encaps import encapsulate, generate_frames

from envoi.data.pacs.codestreams import without_comments

SCAN = b"\xff\xda\x00\x04\x01\x02" + b"coded\xff\x00bits" + b"\xff\xd9"
TABLE = b"\xff\xdb\x00\x05\x01\x02\x03"
ADOBE = b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x01"
J2K = b"\xff\x4f" + b"\xff\x51\x00\x04\x00\x00"
TILE = b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\xff\x93coded\xff\xd9"


def segment(marker, content):
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2) + content


def frames_of(frames, syntax):
    found = without_comments(encapsulate(frames), syntax, len(frames))
    return [frame.rstrip(b"\0") for frame in generate_frames(found, number_of_frames=len(frames))]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([0xFE, 0xE0, 0xE1, 0xED]), st.binary(max_size=40))))
def test_jpeg_segments_that_are_no_picture_go(segments):
    cut = b"".join(segment(*one) for one in segments)
    frame = b"\xff\xd8" + cut + TABLE + ADOBE + cut + SCAN + b"planted"
    assert frames_of([frame], known.JPEGLosslessSV1) == [b"\xff\xd8" + TABLE + ADOBE + SCAN]


def test_filling_bytes_before_a_marker_are_none():
    frame = b"\xff\xd8\xff\xff" + segment(0xFE, b"planted")[1:] + TABLE + SCAN
    assert frames_of([frame], known.JPEGBaseline8Bit) == [b"\xff\xd8" + TABLE + SCAN]


@pytest.mark.parametrize("syntax", [known.JPEG2000Lossless, known.JPEG2000, known.HTJ2K])
def test_jpeg_2000_comments_go(syntax):
    frame = J2K + segment(0x64, b"\x00\x01planted") + TILE
    assert frames_of([frame, J2K + TILE], syntax) == [J2K + TILE, J2K + TILE]


def test_run_lengths_stay():
    frame = (b"\x01" + b"\x00" * 63 + b"\x05coded!").ljust(72, b"\1")
    assert frames_of([frame], known.RLELossless) == [frame]


@pytest.mark.parametrize(
    "frame", [b"planted text", b"\xff\xd8" + TABLE, b"\xff\xd8" + b"\xff\xfe\xff"]
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match="frame"):
        without_comments(encapsulate([frame]), known.JPEGBaseline8Bit, 1)
