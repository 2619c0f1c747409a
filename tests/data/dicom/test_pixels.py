"""From stored values to grey: every step that a header asks for, against values worked by hand."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from envoi.data.dicom import DicomReading, frame_picture
from envoi.data.dicom.pixels import opened
from envoi.errors import DataError
from tests.data.dicom.files import SECRET, dicom, item, without_extra

# 8 x 8 pixels of 100 in lossless JPEG (ITU-T T.81, process 14): the first differs by -28 from 128,
# which is `10` (5 bits follow) and 00011, and no other does from the one before it, which is `0`.
LOSSLESS_100 = bytes.fromhex(
    "ffd8 ffc3000b080008000801011100 ffc400150001010000000000000000000000000000 0005"
) + bytes.fromhex("ffda0008010100010000 86 0000000000000003 ffd9")
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def shown(file, frame=0, **reading):
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    picture = frame_picture(dcmread(stream), frame, DicomReading(**reading), "file 1")
    return np.asarray(picture)


def refused(file, **reading):
    with pytest.raises(DataError) as caught:
        shown(file, **reading)
    assert SECRET not in str(caught.value)
    return str(caught.value)


class TestGrey:
    def test_8_bits_without_a_window_are_taken_as_they_are(self):
        assert np.array_equal(shown(dicom(RAMP)), RAMP)

    def test_zero_is_white_in_monochrome1(self):
        inverted = shown(dicom(RAMP, PhotometricInterpretation="MONOCHROME1"))
        assert np.array_equal(inverted, 255 - RAMP)

    @pytest.mark.parametrize(
        ("kind", "shape", "wanted"),
        [("MONOCHROME1", "INVERSE", 255 - RAMP), ("MONOCHROME2", "IDENTITY", RAMP)],
    )
    @pytest.mark.parametrize("polarity", ["check", "photometric", "presentation"])
    def test_a_shape_that_agrees_changes_nothing(self, kind, shape, wanted, polarity):
        file = dicom(RAMP, PhotometricInterpretation=kind, PresentationLUTShape=shape)
        assert np.array_equal(shown(file, polarity=polarity), wanted)

    @pytest.mark.parametrize(
        ("kind", "shape", "inverted"),
        [("MONOCHROME1", "IDENTITY", False), ("MONOCHROME2", "INVERSE", True)],
    )
    def test_a_shape_that_contradicts_is_a_choice(self, kind, shape, inverted):
        file = dicom(RAMP, PhotometricInterpretation=kind, PresentationLUTShape=shape)
        message = refused(file)
        assert f"found {shape} with {kind}" in message
        assert "--polarity photometric or --polarity presentation" in message
        by_shape = 255 - RAMP if inverted else RAMP
        assert np.array_equal(shown(file, polarity="presentation"), by_shape)
        assert np.array_equal(shown(file, polarity="photometric"), 255 - by_shape)

    def test_a_shape_that_is_none_is_not_believed_or_quoted(self):
        file = dicom(RAMP, PresentationLUTShape=SECRET.upper())
        for polarity in ("check", "presentation"):
            message = refused(file, polarity=polarity)
            assert "found another with MONOCHROME2" in message
            assert SECRET.upper() not in message
        assert np.array_equal(shown(file, polarity="photometric"), RAMP)

    def test_a_window_is_that_of_the_standard(self):
        # PS3.3, C.11.2.1.2.1: x <= c - 0.5 - (w - 1) / 2 is black, x > c - 0.5 + (w - 1) / 2 white.
        values = np.array([[0, 1023, 1024, 2047, 3071, 3072, 4095]], np.uint16)
        file = dicom(values, BitsStored=12, WindowCenter="2048", WindowWidth="2049")
        between = [(value - 2047.5) / 2048 + 0.5 for value in (1024, 2047, 3071)]
        wanted = [0, 0, *(round(255 * share) for share in between), 255, 255]
        assert shown(file)[0].tolist() == wanted

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_a_window_applies_whatever_the_depth(self, kind):
        values = np.array([[0, 99, 100, 101, 200]], kind)
        exact = {"WindowCenter": "100", "VOILUTFunction": "LINEAR_EXACT"}
        # PS3.3, C.11.2.1.3.2: x <= c - w / 2 is black, x > c + w / 2 white.
        narrow = dicom(values, WindowWidth="0.5", **exact)
        assert shown(narrow).tolist() == [[0, 0, 128, 255, 255]]
        wide = dicom(values, WindowWidth="4", **exact)
        assert shown(wide).tolist() == [[0, 64, 128, 191, 255]]
        # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))
        sigmoid = dicom(values, WindowCenter="100", WindowWidth="0.1", VOILUTFunction="SIGMOID")
        assert shown(sigmoid).tolist() == [[0, 0, 128, 255, 255]]
        linear = dicom(values, WindowCenter="100.5", WindowWidth="1")
        assert shown(linear).tolist() == [[0, 0, 0, 255, 255]]

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    @pytest.mark.parametrize(
        "window",
        [
            {"WindowCenter": "100", "WindowWidth": "0.5"},
            {"WindowCenter": "100", "WindowWidth": "0", "VOILUTFunction": "LINEAR_EXACT"},
            {"WindowCenter": "100", "WindowWidth": "-1", "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": "100", "WindowWidth": "9", "VOILUTFunction": "CUBIC"},
            {"WindowCenter": "100"},
            {"WindowWidth": "9"},
            {"WindowCenter": "100", "WindowWidth": ["9", "10"]},
        ],
    )
    def test_a_window_that_makes_no_sense_is_told(self, kind, window):
        file = dicom(RAMP.astype(kind), **window)
        message = refused(file)
        assert "found a window that makes no sense" in message
        assert shown(file, window="content").max() == 255

    def test_windows_are_in_units_after_rescaling(self):
        # Hounsfield units -1024..; the window of lungs from -1350 to 150.
        values = np.array([[0, 174, 424, 1174, 2000]], np.int16)
        scale = {"RescaleSlope": "1", "RescaleIntercept": "-1024"}
        told = shown(dicom(values, BitsStored=12, **scale), window="-600,1500")
        assert np.abs(told[0] - 255 * np.array([326, 500, 750, 1500, 1500]) / 1500).max() < 1.2
        by_file = dicom(values, BitsStored=12, WindowCenter="-600", WindowWidth="1500", **scale)
        assert np.array_equal(shown(by_file), told)

    def test_a_negative_slope_turns_dark_and_bright(self):
        scale = {"RescaleSlope": "-1", "RescaleIntercept": "255"}
        window = {"WindowCenter": "128", "WindowWidth": "256"}
        assert np.array_equal(shown(dicom(RAMP, **scale, **window)), 255 - RAMP)
        assert np.array_equal(shown(dicom(RAMP, **scale)), 255 - RAMP)

    def test_stored_and_content_are_ranges_of_bits_and_of_the_image(self):
        values = np.array([[1000, 1500, 2000]], np.uint16)
        file = dicom(values, BitsStored=12)
        assert shown(file, window="stored")[0].tolist() == [62, 93, 125]
        assert shown(file, window="content")[0].tolist() == [0, 128, 255]
        flat = dicom(np.full((2, 2), 7, np.uint16), BitsStored=12)
        assert not shown(flat, window="content").any()

    def test_signed_values_start_below_zero(self):
        values = np.array([[-2048, 0, 2047]], np.int16)
        assert shown(dicom(values, BitsStored=12), window="stored")[0].tolist() == [0, 128, 255]

    def test_tables_of_modality_and_voi(self):
        table = item(
            LUTDescriptor=[4, 0, 16], LUTData=np.array([0, 100, 200, 300], np.uint16).tobytes()
        )
        table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
        values = np.array([[0, 1, 2, 3]], np.uint8)
        modality = dicom(values, ModalityLUTSequence=[table])
        assert shown(modality, window="0,200").tolist() == [[128, 255, 255, 255]]
        data = np.array([0, 64, 200, 255], np.uint16)
        voi = item(LUTDescriptor=[4, 0, 8], LUTData=data.tobytes())
        voi["LUTDescriptor"].VR, voi["LUTData"].VR = "US", "OW"
        assert shown(dicom(values, VOILUTSequence=[voi])).tolist() == [[0, 64, 200, 255]]

    @pytest.mark.parametrize(
        "windows",
        [{}, {"WindowCenter": ["100", "200"], "WindowWidth": ["50", "60"]}],
    )
    def test_more_than_8_bits_need_one_window(self, windows):
        message = refused(dicom(RAMP.astype(np.uint16), BitsStored=12, **windows))
        assert "expected one window or VOI table" in message
        assert "--window" in message


class TestPadding:
    # Of CT: outside the circle of reconstruction, far below air.
    SIGNED = np.array([[-2000, -1000, 0, 1000, -2000]], np.int16)

    @pytest.mark.parametrize("told", [-2000, 63536])
    def test_content_is_what_is_beside_it(self, told):
        file = dicom(self.SIGNED)
        file.add_new("PixelPaddingValue", "SS" if told < 0 else "US", told)
        assert shown(file, window="content").tolist() == [[0, 0, 128, 255, 0]]

    def test_unsigned_values_told_with_a_sign(self):
        file = dicom(np.array([[65535, 10, 30]], np.uint16))
        file.add_new("PixelPaddingValue", "SS", -1)
        assert shown(file, window="content").tolist() == [[0, 0, 255]]

    @pytest.mark.parametrize("ends", [(0, 9), (9, 0)])
    def test_a_range_counts_both_ends(self, ends):
        file = dicom(np.array([[0, 5, 9, 10, 20, 30]], np.uint16))
        file.add_new("PixelPaddingValue", "US", ends[0])
        file.add_new("PixelPaddingRangeLimit", "US", ends[1])
        assert shown(file, window="content").tolist() == [[0, 0, 0, 0, 128, 255]]

    @pytest.mark.parametrize("window", ["file", "stored", "content", "50,100"])
    def test_it_is_black_where_low_values_are_white(self, window):
        values = np.array([[0, 100, 255, 255]], np.uint8)
        file = dicom(values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
        assert shown(file, window=window)[0, 0] == 0
        file = dicom(values, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=255)
        made = shown(file, window=window)[0]
        assert made[0] == 255
        assert made[1] < 255
        assert made[2:].tolist() == [0, 0]

    def test_it_is_that_of_stored_values(self):
        scale = {"RescaleSlope": "1", "RescaleIntercept": "-1024"}
        values = np.array([[0, 1024, 2024]], np.uint16)
        file = dicom(values, BitsStored=12, PixelPaddingValue=0, **scale)
        assert shown(file, window="content").tolist() == [[0, 0, 255]]
        assert shown(file, window="500,1001").tolist() == [[0, 0, 255]]

    def test_an_image_of_nothing_else_has_no_content(self):
        file = dicom(np.full((2, 2), 7, np.uint8), PixelPaddingValue=7)
        assert "expected pixels beside the padding" in refused(file, window="content")
        assert not shown(file).any()

    def test_words_in_place_of_it_are_told(self):
        file = dicom(RAMP)
        file.add_new("PixelPaddingValue", "LO", SECRET)
        assert "a header that says how to show its pixels" in refused(file)


class TestFrames:
    def test_each_frame_is_an_image(self):
        frames = np.stack([RAMP, 255 - RAMP])
        for number, wanted in enumerate(frames):
            assert np.array_equal(shown(dicom(frames), number), wanted)

    def test_enhanced_files_keep_the_window_with_the_frame(self):
        def group(centre):
            voi = item(WindowCenter=centre, WindowWidth="256")
            scale = item(RescaleSlope="1", RescaleIntercept="-1000", RescaleType="HU")
            return item(FrameVOILUTSequence=[voi], PixelValueTransformationSequence=[scale])

        frames = np.stack([RAMP, RAMP]).astype(np.uint16) + 1000
        file = dicom(
            frames, PerFrameFunctionalGroupsSequence=[group("128"), group("0")], BitsStored=12
        )
        assert np.array_equal(shown(file, 0), RAMP)
        assert np.abs(shown(file, 1)[0].astype(int) - (RAMP[0].astype(int) + 128)).max() <= 1


class TestColour:
    COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)

    def test_rgb_is_taken_as_it_is(self):
        assert np.array_equal(shown(dicom(self.COLOURS)), self.COLOURS)

    def test_ybr_becomes_rgb(self):
        red = np.zeros((2, 2, 3), np.uint8)
        red[..., 0] = 255
        ybr = np.asarray(Image.fromarray(red).convert("YCbCr"))
        found = shown(dicom(ybr, PhotometricInterpretation="YBR_FULL")).astype(int)
        assert np.abs(found - red).max() <= 2

    def test_palettes_are_looked_up(self):
        table = np.array([0, 65535, 32768], np.uint16)
        palette = {
            f"{colour}PaletteColorLookupTableDescriptor": [3, 0, 16]
            for colour in ("Red", "Green", "Blue")
        }
        palette["RedPaletteColorLookupTableData"] = table.tobytes()
        palette["GreenPaletteColorLookupTableData"] = table[::-1].tobytes()
        palette["BluePaletteColorLookupTableData"] = np.zeros(3, np.uint16).tobytes()
        values = np.array([[0, 1, 2]], np.uint8)
        file = dicom(values, PhotometricInterpretation="PALETTE COLOR")
        for keyword, value in palette.items():
            setattr(file, keyword, value)
            if isinstance(value, list):
                file[keyword].VR = "US"
        assert shown(file).tolist() == [[[0, 128, 0], [255, 255, 0], [128, 0, 0]]]


class TestCompressed:
    def compressed(self, syntax, kind):
        stream = io.BytesIO()
        Image.fromarray(RAMP).save(stream, kind)
        file = dicom(RAMP)
        file.file_meta.TransferSyntaxUID = syntax
        file.PixelData = encapsulate([stream.getvalue()])
        file["PixelData"].VR = "OB"
        file["PixelData"].is_undefined_length = True
        return file

    def test_jpeg_2000_and_jpeg_are_decoded(self):
        assert np.array_equal(shown(self.compressed(JPEG2000Lossless, "JPEG2000")), RAMP)
        lossy = shown(self.compressed(JPEGBaseline8Bit, "JPEG"))
        assert np.abs(lossy.astype(int) - RAMP).mean() < 8

    def test_damaged_jpeg_2000_lacks_no_decoder(self):
        file = self.compressed(JPEG2000Lossless, "JPEG2000")
        file.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        message = refused(file)
        assert "expected whole pixels" in message
        assert "decoder" not in message

    @pytest.mark.parametrize(("bits", "told"), [(8, "whole pixels"), (12, "JPEG Extended")])
    def test_pillow_decodes_extended_jpeg_of_8_bits_alone(self, bits, told, monkeypatch):
        without_extra(monkeypatch, JPEGExtended12Bit)
        file = self.compressed(JPEGExtended12Bit, "JPEG")
        file.PixelData, file.BitsStored = encapsulate([bytes(60)]), bits
        assert told in refused(file)

    def test_what_has_no_decoder_is_refused_by_name(self, monkeypatch):
        without_extra(monkeypatch, JPEGLSLossless)
        message = refused(self.compressed(JPEGLSLossless, "JPEG"))
        assert "the transfer syntax JPEG-LS Lossless" in message
        assert "pip install '.[decoders]'" in message

    @pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLossless])
    def test_the_extra_decodes_lossless_jpeg(self, syntax):
        for module in ("pylibjpeg", "libjpeg"):
            pytest.importorskip(module)
        file = dicom(np.full((8, 8), 100, np.uint8))
        file.file_meta.TransferSyntaxUID = syntax
        file.PixelData = encapsulate([LOSSLESS_100])
        file["PixelData"].VR, file["PixelData"].is_undefined_length = "OB", True
        assert (shown(file) == 100).all()

    def test_the_extra_brings_decoders_of_all_that_lack_one(self):
        for module in ("libjpeg", "openjpeg"):
            pytest.importorskip(module)
        for syntax in (JPEGExtended12Bit, JPEGLossless, JPEGLSLossless, HTJ2KLossless):
            assert "pylibjpeg" in get_decoder(syntax).available_plugins

    def test_a_cut_file_is_refused(self):
        file = dicom(RAMP)
        file.PixelData = file.PixelData[:100]
        assert "expected whole pixels" in refused(file)


class TestOrientation:
    # Patient's left at the right of the image, feet below; each of 8 ways to lie is turned to it.
    IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)

    @pytest.mark.parametrize(
        ("told", "lying"),
        [
            (["L", "F"], lambda x: x),
            (["R", "F"], lambda x: x[:, ::-1]),
            (["L", "H"], lambda x: x[::-1]),
            (["R", "H"], lambda x: x[::-1, ::-1]),
            (["F", "L"], lambda x: x.T),
            (["F", "R"], lambda x: x[:, ::-1].T),
            (["H", "L"], lambda x: x[::-1].T),
            (["HL", "RF"], lambda x: x[::-1, ::-1].T),
        ],
    )
    def test_all_ways_are_turned_to_the_usual_one(self, told, lying):
        file = dicom(np.ascontiguousarray(lying(self.IMAGE)), PatientOrientation=told)
        assert np.array_equal(shown(file, orientation="standard"), self.IMAGE)
        assert np.array_equal(shown(file, orientation="stored"), lying(self.IMAGE))

    def test_slices_say_it_by_cosines(self):
        axial = dicom(self.IMAGE, ImageOrientationPatient=["-1", "0", "0", "0", "1", "0"])
        assert np.array_equal(shown(axial, orientation="standard"), self.IMAGE[:, ::-1])

    @pytest.mark.parametrize("told", [["A", "F"], ["P", "F"]])
    def test_lateral_views_face_either_way(self, told):
        file = dicom(self.IMAGE, PatientOrientation=told)
        assert np.array_equal(shown(file, orientation="standard"), self.IMAGE)

    def test_what_says_nothing_or_lies_askew_is_left(self):
        oblique = ["0.7", "0.7", "0", "0", "0", "-1"]
        for values in (
            {},
            {"ImageOrientationPatient": oblique},
            {"PatientOrientation": ["X", "F"]},
        ):
            file = dicom(self.IMAGE, **values)
            assert np.array_equal(shown(file, orientation="standard"), self.IMAGE)


def test_another_file_is_refused(tmp_path):
    (tmp_path / f"{SECRET}.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match="expected a DICOM file") as caught:
        opened(tmp_path / f"{SECRET}.dcm", "file 1")
    assert SECRET not in str(caught.value)
