import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from envoi.data.pictures import PictureFile, Reading, read_pictures, whole_picture
from envoi.errors import DataError, SettingsError
from envoi.types import ImageSpec

ANY = Reading(fit="resize", allow_channel_conversion=True)


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


@pytest.fixture
def read(tmp_path):
    """Reads one picture: its pixels, or what is wrong with it."""

    def read(picture, *, channels=3, size=8, name="a.png", reading=None, **options):
        path = tmp_path / name
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, **options)
        images, problems = read_pictures(
            [PictureFile(path, "row 1")],
            spec=ImageSpec.of(channels, size),
            reading=reading or Reading(),
        )
        return [str(problem) for problem in problems] or images[0]

    return read


@pytest.mark.parametrize(("name", "exact"), [("a.png", True), ("a.bmp", True), ("a.tif", True)])
def test_lossless_colour_pictures_arrive_unchanged(read, name, exact):
    pixels = noise(8, 8, 3)
    found = read(Image.fromarray(pixels), name=name)
    np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1), strict=True)


def test_grey_pictures_and_jpeg_arrive(read):
    pixels = noise(8, 8)
    np.testing.assert_array_equal(read(Image.fromarray(pixels), channels=1)[0], pixels)
    smooth = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 8
    found = read(Image.fromarray(smooth), channels=1, name="a.jpg", quality=95)
    assert np.abs(found[0].astype(int) - smooth).max() < 6


def test_other_sizes_are_refused_unless_permitted(read):
    picture = Image.fromarray(noise(12, 20, 3))
    (message,) = read(picture)
    assert message.startswith("row 1: expected 8 x 8 pixels, found 20 x 12. ")
    assert "fit='resize' or fit='crop'" in message
    assert read(picture, reading=Reading(fit="resize")).shape == (3, 8, 8)
    assert read(picture, reading=Reading(fit="crop")).shape == (3, 8, 8)


def test_crop_keeps_proportions_and_resize_keeps_the_edges(read):
    pixels = np.zeros((16, 48), np.uint8)
    pixels[:, 16:32] = 200
    picture = Image.fromarray(pixels)
    cropped = read(picture, channels=1, reading=Reading(fit="crop"))
    assert cropped.min() > 150
    squeezed = read(picture, channels=1, reading=Reading(fit="resize"))
    assert squeezed[0, :, 0].max() == 0
    assert squeezed[0, 4, 4] > 150


def test_a_picture_of_the_right_size_is_not_resampled(read):
    pixels = noise(8, 8, 3)
    for fit in ("resize", "crop"):
        found = read(Image.fromarray(pixels), reading=Reading(fit=fit))
        np.testing.assert_array_equal(found, pixels.transpose(2, 0, 1))


def palette():
    return Image.fromarray(noise(8, 8, 3)).quantize(16)


@pytest.mark.parametrize(
    ("picture", "channels", "kind"),
    [
        (Image.fromarray(noise(8, 8)), 3, "grey"),
        (Image.fromarray(noise(8, 8, 3)), 1, "colour"),
        (palette(), 3, "a palette"),
        (palette(), 1, "a palette"),
        (Image.fromarray(noise(8, 8) > 100), 1, "black and white"),
        (Image.fromarray(noise(8, 8, 3)).convert("RGBA"), 3, "an alpha channel"),
        (Image.fromarray(noise(8, 8)).convert("LA"), 1, "an alpha channel"),
    ],
)
def test_other_channels_are_refused_unless_permitted(read, picture, channels, kind):
    (message,) = read(picture, channels=channels)
    assert f"found {kind}. " in message
    assert "allow_channel_conversion=True" in message
    found = read(picture, channels=channels, reading=Reading(allow_channel_conversion=True))
    wanted = np.asarray(picture.convert("RGB").convert("L" if channels == 1 else "RGB"))
    np.testing.assert_array_equal(found, wanted.reshape(8, 8, channels).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_refused_even_when_conversion_is_permitted(read, mode):
    pixels = noise(8, 8, 4)
    picture = palette() if mode == "P" else Image.fromarray(pixels, "RGBA").convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    (message,) = read(picture, reading=ANY, **options)
    assert "expected opaque pixels, found transparent ones" in message


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def deep_colour_png(size=8):
    """16-bit RGB, which Pillow reads as 8-bit and cannot write."""
    header = struct.pack(">IIBBBBB", size, size, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(size * 6) for _ in range(size))
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + image


@pytest.mark.parametrize(
    ("picture", "name"),
    [
        (Image.fromarray(noise(8, 8, dtype=np.uint16)), "a.png"),
        (Image.fromarray(noise(8, 8, dtype=np.uint16)), "a.tif"),
        (Image.fromarray(noise(8, 8, dtype=np.int32)), "a.tif"),
        (Image.fromarray(noise(8, 8, dtype=np.float32)), "a.tif"),
        (deep_colour_png(), "a.png"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_more_than_8_bits_are_always_refused(read, picture, name, channels):
    (message,) = read(picture, name=name, channels=channels, reading=ANY)
    assert "expected 8 bits a channel, found more bits" in message


def test_print_colours_are_always_refused(read):
    picture = Image.fromarray(noise(8, 8, 3)).convert("CMYK")
    (message,) = read(picture, name="a.jpg", reading=ANY)
    assert "found the colour space CMYK" in message


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_animations_and_pages_are_always_refused(read, name):
    frames = [Image.fromarray(noise(8, 8, 3) // n) for n in (1, 2)]
    (message,) = read(frames[0], name=name, reading=ANY, save_all=True, append_images=frames[1:])
    assert "expected a single picture, found an animation or several pages" in message


def test_turned_pictures_are_always_refused(read):
    exif = Image.Exif()
    exif[0x0112] = 6
    (message,) = read(Image.fromarray(noise(8, 8, 3)), name="a.jpg", exif=exif, reading=ANY)
    assert "found a tag that turns the picture" in message
    exif[0x0112] = 1
    assert read(Image.fromarray(noise(8, 8, 3)), name="a.jpg", exif=exif).shape == (3, 8, 8)


def bomb(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + image + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_decompression_bombs_are_refused_unread(read, side):
    (message,) = read(bomb(side), channels=1, reading=ANY)
    assert "expected at most 100000000 pixels" in message


def test_all_that_is_wrong_with_a_picture_is_told(read):
    messages = read(Image.fromarray(noise(9, 9)))
    assert len(messages) == 2


@pytest.mark.parametrize("content", [b"", b"no picture", b"%!PS-Adobe\n", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_refused(read, content):
    (message,) = read(content)
    assert "expected a whole PNG, JPEG, TIFF or BMP file" in message


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_truncated_pictures_are_refused(read, form):
    buffer = io.BytesIO()
    Image.fromarray(noise(32, 32, 3)).save(buffer, form)
    whole = buffer.getvalue()
    for length in range(0, len(whole) * 3 // 4, 101):
        (message,) = read(whole[:length], size=32)
        assert "expected a whole PNG, JPEG, TIFF or BMP file" in message


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_damaged_pictures_never_end_in_an_error(read, form):
    buffer = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(buffer, form)
    whole = bytearray(buffer.getvalue())
    refused = 0
    for place in range(min(len(whole), 200)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        refused += isinstance(read(bytes(damaged), reading=ANY), list)
    assert refused > 0


def test_missing_files_and_places_are_told():
    files = [PictureFile(Path("none") / f"{n}.png", f"row {n}") for n in (1, 2)]
    _, problems = read_pictures(files, spec=ImageSpec.of(1, 8), reading=Reading())
    assert [problem.where for problem in problems] == ["row 1", "row 2"]
    assert problems[0].found == "nothing"
    assert "none" not in str(problems[0])


def test_unknown_fit_is_refused():
    reading = object.__new__(Reading)  # past the type checker of the tests
    object.__setattr__(reading, "fit", "squeeze")
    with pytest.raises(SettingsError, match="one of exact, resize, crop, found 'squeeze'"):
        reading.__post_init__()


class TestWholePictures:
    """Pictures of any size, taken as they are stored."""

    @pytest.mark.parametrize("shape", [(5, 9), (9, 5, 3)])
    def test_grey_and_colour_arrive_unchanged(self, tmp_path, shape):
        pixels = noise(*shape)
        Image.fromarray(pixels).save(tmp_path / "a.png")
        for file in (tmp_path / "a.png", io.BytesIO((tmp_path / "a.png").read_bytes())):
            np.testing.assert_array_equal(np.asarray(whole_picture(file, "file 1")), pixels)

    @pytest.mark.parametrize(
        ("picture", "words"),
        [
            (Image.new("RGBA", (4, 4)), "grey or RGB pixels, found an alpha channel"),
            (Image.new("P", (4, 4)), "grey or RGB pixels, found a palette"),
            (Image.new("1", (4, 4)), "grey or RGB pixels, found black and white"),
            (Image.fromarray(noise(4, 4, dtype=np.uint16)), "8 bits a channel, found more bits"),
        ],
    )
    def test_what_would_have_to_be_converted_is_refused(self, tmp_path, picture, words):
        picture.save(tmp_path / "a.png")
        with pytest.raises(DataError, match=words) as caught:
            whole_picture(tmp_path / "a.png", "file 1")
        assert len(caught.value.problems) == 1

    def test_turned_and_truncated_ones_are_refused_without_their_name(self, tmp_path):
        picture = Image.fromarray(noise(40, 40, 3))
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(tmp_path / "Mustermann.jpg", exif=exif)
        with pytest.raises(DataError, match="file 1: expected pixels that lie as they are meant"):
            whole_picture(tmp_path / "Mustermann.jpg", "file 1")
        picture.save(tmp_path / "Mustermann.jpg")
        content = (tmp_path / "Mustermann.jpg").read_bytes()
        for damaged in (content[:-100], content[:10], b""):
            (tmp_path / "Mustermann.jpg").write_bytes(damaged)
            with pytest.raises(DataError, match="expected a whole PNG, JPEG") as caught:
                whole_picture(tmp_path / "Mustermann.jpg", "file 1")
            assert "Mustermann" not in str(caught.value)
        with pytest.raises(DataError, match="expected a whole PNG, JPEG"):
            whole_picture(tmp_path / "nothing.jpg", "file 1")

    def test_bombs_are_refused_unread(self, tmp_path):
        for side in (10_001, 40_000):
            (tmp_path / "a.png").write_bytes(bomb(side))
            with pytest.raises(DataError, match="at most 100000000 pixels"):
                whole_picture(tmp_path / "a.png", "file 1")
