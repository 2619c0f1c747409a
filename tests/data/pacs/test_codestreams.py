"""Compressed frames: what is no picture goes, coded bits stay, damage is told."""

import re
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset
from pydicom import uid as known
from pydicom.encaps import encapsulate, generate_frames

from envoi.data.pacs.codestreams import frames_of
from tests.data.pacs import planted

SCAN = b"\xff\xda\x00\x04\x01\x02" + b"coded\xff\x00bits\xff\xd0more"
TABLE = b"\xff\xdb\x00\x05\x01\x02\x03"
ADOBE = b"\xff\xee\x00\x0eAdobe\x00d\x00\x00\x00\x00\x01"
END = b"\xff\xd9"
J2K = b"\xff\x4f" + b"\xff\x51\x00\x04\x00\x00"
TILE = b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\xff\x93coded\xff\x91\xff\xd9"
THUMBNAIL = b"\xff\xd8" + TABLE + b"\xff\xda\x00\x04\x01\x02planted" + END
BLOCKS = st.tuples(st.sampled_from([0xFE, 0xE0, 0xE1, 0xE8, 0xED, 0xEE]), st.binary(max_size=40))


def segment(marker, content):
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2) + content


def image(frames, **values):
    dataset = Dataset()
    dataset.PixelData, dataset.NumberOfFrames = encapsulate(frames), len(frames)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def bare(frame, syntax, **values):
    (found,) = frames_of(image([frame], **values), syntax)
    assert frames_of(image([found], **values), syntax) == [found]
    assert b"planted" not in found.lower()
    return found


def saved(pixels, kind, **words):
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **words)
    return file.getvalue()


def pixels_of(frame):
    return np.asarray(Image.open(BytesIO(frame)))


def noise(*size):
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


@settings(deadline=None, max_examples=50)
@given(st.lists(BLOCKS))
def test_jpeg_segments_that_are_no_picture_go(blocks):
    cut = b"".join(segment(*one) for one in blocks)
    frame = b"\xff\xd8" + cut + TABLE + ADOBE + cut + SCAN + cut + SCAN + END + b"planted"
    kept = b"\xff\xd8" + TABLE + ADOBE + SCAN + SCAN + END
    assert bare(frame, known.JPEGLosslessSV1) == kept


def test_what_blocks_say_of_colours_stays_and_nothing_more():
    jfif = segment(0xE0, b"JFIF\0\1\2\1\0\x48\0\x48\1\1planted")
    blocks = jfif + segment(0xEE, ADOBE[4:] + b"planted") + segment(0xE8, b"mrfx\2")
    found = bare(b"\xff\xd8" + blocks + SCAN + END, known.JPEGBaseline8Bit)
    plain = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + ADOBE + segment(0xE8, b"mrfx\2")
    assert found == b"\xff\xd8" + plain + SCAN + END
    spiff = segment(0xE8, b"SPIFF\0planted")
    assert bare(b"\xff\xd8" + spiff + SCAN + END, known.JPEGLSLossless) == b"\xff\xd8" + SCAN + END


def test_filling_bytes_before_a_marker_are_none():
    frame = b"\xff\xd8\xff\xff" + segment(0xFE, b"planted")[1:] + TABLE + SCAN + b"\xff" + END
    assert bare(frame, known.JPEGBaseline8Bit) == b"\xff\xd8" + TABLE + SCAN + END


def test_what_is_hung_on_behind_the_end_goes_even_if_it_ends_as_a_picture():
    frame = b"\xff\xd8" + TABLE + SCAN + END
    for more in (b"planted", b"planted" + END, THUMBNAIL, b"\0" + THUMBNAIL + b"planted" + END):
        assert bare(frame + more, known.JPEGBaseline8Bit) == frame


@pytest.mark.parametrize("size", [(40, 48), (40, 48, 3)])
def test_words_between_the_scans_of_a_progressive_jpeg_go_and_its_pixels_stay(size):
    frame = saved(noise(*size), "JPEG", progressive=True, quality=90)
    words = segment(0xFE, b"Planted^Name") + segment(0xE1, b"Exif\0\0planted")
    places = [found.start() for found in re.finditer(rb"\xff[\xc4\xda]", frame)]
    filled = frame
    for place in reversed(places):
        filled = filled[:place] + words + filled[place:]
    assert filled.count(b"Planted") == len(places) > 8
    found = bare(filled + THUMBNAIL, known.JPEGExtended12Bit)
    np.testing.assert_array_equal(pixels_of(found), pixels_of(frame))


def test_jpeg_ls_scans_are_walked_by_their_own_rule():
    start = b"\xff\xd8" + segment(0xF7, bytes(9))
    scan = segment(0xDA, bytes(6)) + b"coded\xff\x7f\xff\x01bits"
    frame = start + scan + segment(0xF8, bytes(11)) + scan + END
    filled = start + scan + segment(0xFE, b"planted") + segment(0xF8, bytes(11)) + scan + END
    assert bare(filled + b"planted" + END, known.JPEGLSLossless) == frame
    with pytest.raises(ValueError, match="frame"):
        bare(frame, known.JPEGLossless)


def test_a_long_run_of_filling_bytes_is_walked_at_once():
    frame = b"\xff\xd8" + SCAN + b"\xff" * 300_000 + b"\0bits" + END
    assert bare(frame, known.JPEGBaseline8Bit) == frame


@pytest.mark.parametrize("syntax", [known.JPEG2000Lossless, known.JPEG2000, known.HTJ2K])
def test_jpeg_2000_comments_go(syntax):
    frame = J2K + segment(0x64, b"\x00\x01planted") + TILE
    assert bare(frame, syntax) == J2K + TILE
    assert bare(frame + b"planted" + END, syntax) == J2K + TILE


@pytest.mark.parametrize("is_last_open", [False, True])
def test_words_in_the_headers_of_tile_parts_go_and_the_pixels_stay(is_last_open):
    frame = saved(noise(40, 48), "JPEG2000", no_jp2=True, tile_size=(16, 16))
    words = segment(0x64, b"\0\1Planted^Name")
    filled, place = b"", 0
    starts = [found.start() for found in re.finditer(rb"\xff\x90\0\x0a", frame)]
    for number, start in enumerate(starts):
        length = int.from_bytes(frame[start + 6 : start + 10])
        is_open = is_last_open and number == len(starts) - 1
        told = (0 if is_open else length + len(words)).to_bytes(4)
        filled += frame[place : start + 6] + told + frame[start + 10 : start + 12] + words
        place = start + 12
    filled += frame[place:]
    assert filled.count(b"Planted") == len(starts) == 9
    found = bare(filled + b"planted" + END, known.JPEG2000Lossless)
    assert found.count(b"\xff\x64" + len(words[2:]).to_bytes(2) + bytes(len(words) - 4)) == 9
    np.testing.assert_array_equal(pixels_of(found), noise(40, 48))


RUNS = {
    "Rows": 6,
    "Columns": 5,
    "SamplesPerPixel": 1,
    "BitsAllocated": 16,
    "PixelRepresentation": 0,
}
PLAIN = {**RUNS, "BitsStored": 16, "HighBit": 15}


def run_lengths(words):
    """One frame, as pydicom codes it."""
    original = planted.image()
    samples = 3 if words.ndim == 3 else 1
    original.SamplesPerPixel, original.PhotometricInterpretation = samples, "MONOCHROME2"
    if samples == 3:
        original.PhotometricInterpretation, original.PlanarConfiguration = "RGB", 0
    original.BitsAllocated = original.BitsStored = 8 * words.itemsize
    original.HighBit = original.BitsStored - 1
    original.compress(known.RLELossless, words, encoding_plugin="pydicom")
    (frame,) = generate_frames(original.PixelData, number_of_frames=1)
    return frame


def test_run_lengths_stay_and_what_stands_between_them_goes():
    pixels = np.random.default_rng(1).integers(0, 9, (6, 5), np.uint16)
    frame = run_lengths(pixels)
    assert bare(frame, known.RLELossless, **PLAIN) == frame
    count, first, second = np.frombuffer(frame[:12], "<u4")
    words = b"planted!"
    header = np.array([count, first + 8, second + 16], "<u4").tobytes() + frame[12:56] + words
    planes = words + frame[first:second] + words + frame[second:] + words
    assert bare(header + planes, known.RLELossless, **PLAIN) == frame


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(("stored", "high"), [(12, 11), (10, 15), (9, 8)])
def test_bits_beside_samples_go_out_of_run_lengths(is_signed, stored, high):
    words = np.random.default_rng(2).integers(0, 2**16, (6, 5), np.uint16)
    kind = {**RUNS, "BitsStored": stored, "HighBit": high, "PixelRepresentation": int(is_signed)}
    frame = bare(run_lengths(words), known.RLELossless, **kind)
    original = planted.image()
    original.file_meta.TransferSyntaxUID = known.RLELossless
    original.BitsStored, original.HighBit = 16, 15
    original.PixelData = encapsulate([frame])
    found = original.pixel_array.ravel()
    samples = (words.ravel().astype(int) >> (high - stored + 1)) & (2**stored - 1)
    if is_signed:
        samples = np.where(samples >> (stored - 1), samples - 2**stored, samples)
    wanted = (samples << (high - stored + 1)).astype(np.uint16)
    np.testing.assert_array_equal(found, wanted)


def test_a_sign_that_would_have_to_be_carried_between_planes_is_refused():
    kind = {**RUNS, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 1}
    with pytest.raises(ValueError, match="sign"):
        bare(run_lengths(np.zeros((6, 5), np.uint16)), known.RLELossless, **kind)


def test_run_lengths_of_colours_stay():
    pixels = np.random.default_rng(3).integers(0, 256, (6, 5, 3), np.uint8)
    frame = run_lengths(pixels)
    kind = {**RUNS, "SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8}
    assert bare(frame, known.RLELossless, **kind) == frame


def whole_frames():
    return [
        (b"\xff\xd8" + TABLE + SCAN + segment(0xFE, b"x") + SCAN + END, known.JPEGBaseline8Bit),
        (saved(noise(8, 8), "JPEG", progressive=True), known.JPEGExtended12Bit),
        (saved(noise(16, 16), "JPEG2000", no_jp2=True, tile_size=(8, 8)), known.JPEG2000),
        (J2K + TILE, known.HTJ2KLossless),
        (run_lengths(noise(6, 5).astype(np.uint16)), known.RLELossless),
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_frame_that_is_cut_off_anywhere_is_refused(number):
    frame, syntax = whole_frames()[number]
    frames_of(image([frame], **PLAIN), syntax)
    # The last byte of run lengths may be a filling one.
    for end in range(len(frame) - (syntax == known.RLELossless)):
        with pytest.raises(ValueError, match=r"frame|plane"):
            frames_of(image([frame[:end] or b"\0"], **PLAIN), syntax)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 4), st.binary(min_size=1, max_size=30), st.integers(0, 200))
def test_noise_in_a_frame_ends_in_a_refusal_or_in_a_frame_that_is_walked_again(
    number, noise_bytes, place
):
    frame, syntax = whole_frames()[number]
    broken = frame[:place] + noise_bytes + frame[place + len(noise_bytes) :]
    try:
        found = frames_of(image([broken], **PLAIN), syntax)
    except ValueError:
        return
    assert frames_of(image(found, **PLAIN), syntax) == found


@pytest.mark.parametrize(
    "frame",
    [
        b"planted text",
        b"\xff\xd8" + TABLE,
        b"\xff\xd8" + b"\xff\xfe\xff",
        b"\xff\xd8" + TABLE + END,
        b"\xff\xd8" + TABLE + b"planted" + SCAN + END,
        b"\xff\xd8" + TABLE + segment(0xF0, b"planted") + SCAN + END,
        b"\xff\xd8" + THUMBNAIL + SCAN + END,
        b"\xff\xd8" + SCAN + segment(0xFE, b"planted"),
        b"\xff\xd8" + segment(0xDA, b"\1\xff") + segment(0xFE, b"planted") + SCAN + END,
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match="frame"):
        frames_of(image([frame]), known.JPEGBaseline8Bit)


@pytest.mark.parametrize(
    "frame",
    [
        J2K + END,
        J2K + b"planted" + TILE,
        J2K + segment(0x70, b"planted") + TILE,
        J2K + TILE[:6] + b"\0\0\0\x14" + TILE[10:],
        J2K + TILE[:6] + b"\0\0\0\x40" + TILE[10:],
        J2K + TILE[:6] + b"\0\0\0\x0d" + TILE[10:],
        J2K + TILE[:6] + b"\0\0\0\x15" + TILE[10:-2] + b"planted" + END,
    ],
)
def test_what_is_no_codestream_is_refused(frame):
    with pytest.raises(ValueError, match="frame"):
        frames_of(image([frame]), known.JPEG2000)


def test_frames_behind_the_last_go_and_missing_ones_are_damage():
    frame = b"\xff\xd8" + TABLE + SCAN + END
    two = image([frame, frame])
    two.NumberOfFrames = 1
    assert frames_of(two, known.JPEGBaseline8Bit) == [frame]
    two.NumberOfFrames = 3
    with pytest.raises(ValueError, match=r"picture|fewer"):
        frames_of(two, known.JPEGBaseline8Bit)


def test_a_syntax_that_nobody_walks_is_refused():
    with pytest.raises(ValueError, match="not walked"):
        frames_of(image([b"planted"]), known.MPEG2MPML)
