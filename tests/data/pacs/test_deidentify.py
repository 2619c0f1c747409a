"""De-identification: nothing that was planted is left, and what renders the image is."""

import contextlib
import dataclasses
import logging
import warnings
from io import BytesIO

import numpy as np
import pytest
from dicomanonymizer.simpledicomanonymizer import initialize_actions_2024b
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom import uid as known
from pydicom.datadict import DicomDictionary, keyword_for_tag, tag_for_keyword
from pydicom.encaps import encapsulate, generate_frames

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.pacs import deidentify as room
from envoi.data.pacs.allowed import ALLOWED, CHARACTERISTICS, EMPTY, PSEUDONYMS, WRITTEN
from envoi.data.pacs.deidentify import Deidentified, Profile, Reason, deidentify
from envoi.data.pacs.extra import UNREADABLE, silence
from envoi.data.pacs.kinds import IMAGES
from envoi.data.pacs.people import person_of
from envoi.data.pacs.proof import problem_of
from envoi.errors import CheckError
from tests.data.pacs import planted

NAMES = Pseudonyms(bytes(range(32)))
PATIENT = NAMES.patient(planted.NUMBER)


def made(dataset, profile=None):
    """The result for a file that went over a wire."""
    with silence():
        sent = dcmread(BytesIO(planted.encoded(dataset)))
    return deidentify(sent, PATIENT, NAMES, profile or Profile())


def read(dataset, profile=None):
    found = made(dataset, profile)
    assert isinstance(found, Deidentified), found
    assert planted.leaks(found.content) == []
    return dcmread(BytesIO(found.content))


def test_the_planted_file_is_full_of_it():
    content = planted.encoded(planted.image())
    assert planted.leaks(content) == list(planted.WORDS)
    assert content.lower().count(b"planted") > 25


@pytest.mark.parametrize(
    "syntax",
    [
        known.ExplicitVRLittleEndian,
        known.ImplicitVRLittleEndian,
        known.DeflatedExplicitVRLittleEndian,
    ],
)
def test_nothing_planted_is_left_and_the_image_is(syntax):
    original = planted.image(3, syntax=syntax)
    found = read(original)
    np.testing.assert_array_equal(found.pixel_array, np.frombuffer(
        original.PixelData, np.uint16).reshape(6, 5))  # fmt: skip
    for keyword in ("PixelSpacing", "SliceThickness", "ImagePositionPatient", "RescaleSlope",
                    "ImageOrientationPatient", "WindowCenter", "RescaleType", "Modality",
                    "SmallestImagePixelValue", "InstanceNumber", "SOPClassUID"):  # fmt: skip
        assert found[keyword].value == original[keyword].value, keyword
    assert found.file_meta.TransferSyntaxUID == known.ExplicitVRLittleEndian
    assert found.VOILUTSequence[0].LUTData == bytes([0, 0, 255, 255])
    assert "LUTExplanation" not in found.VOILUTSequence[0]


def test_big_endian_stays_as_it_is():
    from pydicom.dataset import FileDataset

    original = planted.image(syntax=known.ExplicitVRBigEndian)
    original.PixelData = np.frombuffer(original.PixelData, "<u2").astype(">u2").tobytes()
    del original[0x60003000], original[0x50003000]
    assert isinstance(original, FileDataset)
    found = read(original)
    assert found.file_meta.TransferSyntaxUID == known.ExplicitVRBigEndian
    np.testing.assert_array_equal(
        found.pixel_array, np.frombuffer(original.PixelData, ">u2").reshape(6, 5)
    )


def test_pseudonyms_are_those_of_the_key_and_marks_say_what_was_done():
    original = planted.image(5)
    found = read(original)
    assert found.PatientID == found.PatientName == PATIENT
    assert found.AccessionNumber == NAMES.accession(planted.ACCESSION)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                    "FrameOfReferenceUID"):  # fmt: skip
        assert found[keyword].value == NAMES.uid(original[keyword].value)
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
    assert found.PatientIdentityRemoved == "YES"
    assert found.LongitudinalTemporalInformationModified == "REMOVED"
    assert found.DeidentificationMethod == room.METHOD
    assert [item.CodeValue for item in found.DeidentificationMethodCodeSequence] == ["113100"]
    for keyword in EMPTY:
        assert found[keyword].is_empty, keyword
    assert "PatientAge" not in found


def test_the_original_is_not_changed():
    original = dcmread(BytesIO(planted.encoded(planted.image())))
    before = planted.encoded(original)
    deidentify(original, PATIENT, NAMES, Profile())
    assert planted.encoded(original) == before


@pytest.mark.parametrize(
    ("age", "kept"), [("042Y", "042Y"), ("093Y", "090Y"), ("006M", "006M"), ("PLAN", None)]
)
def test_sex_and_age_stay_only_if_that_was_asked_for(age, kept):
    original = planted.image()
    with silence():
        original.add_new("PatientAge", "AS", age)
    assert read(original).PatientSex == ""
    found = read(original, Profile(keep_characteristics=True))
    assert (found.PatientSex, found.get("PatientAge")) == ("F", kept)
    codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113108"]


def test_words_that_are_not_in_the_list_go():
    found = read(planted.image())
    assert list(found.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL", "OTHER"]
    assert "BodyPartExamined" not in found
    original = planted.image()
    original.BodyPartExamined, original.Laterality = "CHEST", "L"
    original.RescaleType = "planted type"
    original.PatientOrientation = ["L", "PH"]
    found = read(original)
    assert (found.BodyPartExamined, found.Laterality) == ("CHEST", "L")
    assert list(found.PatientOrientation) == ["L", "PH"]
    assert "RescaleType" not in found


def test_an_element_of_another_type_than_the_dictionary_says_goes():
    original = planted.image()
    original.add_new("SliceThickness", "LO", "planted")
    original.add_new("EchoTime", "LT", "planted")
    found = read(original)
    assert "SliceThickness" not in found
    assert "EchoTime" not in found


def test_frames_of_enhanced_images_keep_their_geometry_and_nothing_else():
    original = planted.image(sop_class=known.EnhancedMRImageStorage, modality="MR", size=(2, 3))
    original.NumberOfFrames = 2
    original.PixelData *= 2
    groups = []
    for number in range(2):
        place, content, group = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, number]
        content.InStackPositionNumber, content.StackID = number + 1, "planted stack"
        content.FrameAcquisitionDateTime = "19420229101112"
        content.FrameComments = "planted"
        anatomy = Dataset()
        anatomy.FrameLaterality = "R"
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        group.FrameAnatomySequence = [anatomy]
        groups.append(group)
    original.PerFrameFunctionalGroupsSequence = groups
    found = read(original)
    assert found.pixel_array.shape == (2, 2, 3)
    frames = found.PerFrameFunctionalGroupsSequence
    assert [frame.PlanePositionSequence[0].ImagePositionPatient[2] for frame in frames] == [0, 1]
    (inner,) = frames[1].FrameContentSequence
    assert [element.keyword for element in inner] == ["InStackPositionNumber"]


def test_a_picture_inside_a_sequence_goes():
    original = planted.image()
    original.VOILUTSequence[0].add_new("PixelData", "OW", b"planted!")
    assert "PixelData" not in read(original).VOILUTSequence[0]


def test_what_follows_the_pixels_goes_and_too_few_pixels_are_damage():
    original = planted.image()
    pixels = original.PixelData
    original.PixelData = pixels + b"planted behind the pixels!"
    assert read(original).PixelData == pixels
    original.PixelData = pixels[:-2]
    assert made(original) is Reason.DAMAGED
    original.PixelData, original.Rows = pixels, 0
    assert made(original) is Reason.DAMAGED


WORDS = st.lists(st.integers(0, 2**16 - 1), min_size=6, max_size=6)


def with_words(words, *, allocated, stored, high, signed, syntax, frames):
    """An image of 2 x 3 words for each frame, whatever stands in their bits."""
    order = ">" if syntax == known.ExplicitVRBigEndian else "<"
    dataset = planted.image(syntax=syntax, size=(2, 3))
    if order == ">":
        del dataset[0x60003000], dataset[0x50003000]
    pixels = np.array(words * frames).astype(f"{order}u{allocated // 8}").tobytes()
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OW"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, high
    dataset.PixelRepresentation, dataset.NumberOfFrames = int(signed), frames
    del dataset.SmallestImagePixelValue
    return dataset


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    words=WORDS,
    bits=st.sampled_from([(8, 8, 7), (8, 5, 4), (8, 6, 7), (16, 16, 15), (16, 12, 11),
                          (16, 12, 13), (16, 8, 7), (16, 10, 15), (32, 20, 23)]),
    signed=st.booleans(),
    syntax=st.sampled_from([known.ExplicitVRLittleEndian, known.ImplicitVRLittleEndian,
                            known.ExplicitVRBigEndian]),
    frames=st.integers(1, 3),
)  # fmt: skip
def test_bits_beside_the_samples_say_nothing(words, bits, signed, syntax, frames):
    allocated, stored, high = bits
    if allocated == 32 and syntax == known.ExplicitVRBigEndian:
        syntax = known.ExplicitVRLittleEndian
    kinds = {"allocated": allocated, "stored": stored, "high": high, "signed": signed}
    found = read(with_words(words, **kinds, syntax=syntax, frames=frames))
    below = high - stored + 1
    samples = [word % 2**allocated >> below & (2**stored - 1) for word in words] * frames
    if signed:
        samples = [one - 2**stored if one >> (stored - 1) else one for one in samples]
    order = ">" if found.file_meta.TransferSyntaxUID == known.ExplicitVRBigEndian else "<"
    kept = np.frombuffer(found.PixelData, f"{order}{'i' if signed else 'u'}{allocated // 8}")
    assert kept.tolist() == [sample * 2**below for sample in samples]


def test_an_overlay_in_unused_bits_is_not_left():
    original = planted.image(size=(8, 16))
    samples = np.frombuffer(original.PixelData, np.uint16)
    plane = np.unpackbits(np.frombuffer(b"planted overlay!", np.uint8)).astype(np.uint16)
    original.PixelData = (samples | plane << 15).tobytes()
    kept = np.frombuffer(read(original).PixelData, np.uint16)
    np.testing.assert_array_equal(kept, samples)


def test_colours_and_odd_lengths_are_untouched():
    original = planted.image(size=(3, 5))
    original.SamplesPerPixel, original.PhotometricInterpretation = 3, "RGB"
    original.PlanarConfiguration = 0
    original.BitsAllocated = original.BitsStored = 8
    original.HighBit = 7
    pixels = bytes(range(210, 255))
    original.PixelData = pixels + b"p"  # a filling byte, which is not said to be nothing
    assert read(original).PixelData == pixels + b"\0"


@pytest.mark.parametrize(
    ("keyword", "value"), [("HighBit", 10), ("HighBit", 16), ("BitsStored", 0), ("BitsStored", 17)]
)
def test_samples_that_do_not_lie_in_their_words_are_damage(keyword, value):
    assert made(changed(**{keyword: value})) is Reason.DAMAGED


def test_long_samples_in_big_endian_are_not_guessed_at():
    kinds = {"allocated": 32, "stored": 20, "high": 19, "signed": False, "frames": 1}
    dataset = with_words([1] * 6, **kinds, syntax=known.ExplicitVRBigEndian)
    assert made(dataset) is Reason.DAMAGED


def test_a_compressed_image_keeps_its_syntax_and_every_coded_bit():
    original = planted.compressed()
    found = read(original)
    assert found.file_meta.TransferSyntaxUID == known.JPEGBaseline8Bit
    (before,), (after,) = (
        list(generate_frames(dataset.PixelData, number_of_frames=1))
        for dataset in (original, found)
    )
    scan = before[before.index(b"\xff\xda") : before.index(b"\xff\xd9") + 2]
    assert after.rstrip(b"\0").endswith(scan)
    from PIL import Image

    pictures = [np.asarray(Image.open(BytesIO(frame))) for frame in (before, after)]
    np.testing.assert_array_equal(*pictures)


def test_overlays_among_compressed_pixels_are_doubtful():
    original = planted.compressed()
    original.add_new(0x60000100, "US", 1)
    assert isinstance(made(original), Deidentified)
    original.add_new(0x60020100, "US", 16)
    assert made(original) is Reason.DOUBTFUL_PIXELS
    read(original, Profile(allow_doubtful_pixels=True))
    native = planted.image()
    native.add_new(0x60020100, "US", 16)
    assert isinstance(made(native), Deidentified)


def test_a_compressed_frame_that_cannot_be_walked_is_damage():
    original = planted.compressed()
    (frame,) = generate_frames(original.PixelData, number_of_frames=1)
    original.PixelData = encapsulate([frame[: frame.index(b"\xff\xd9")]])
    assert made(original) is Reason.DAMAGED


def test_the_proof_walks_compressed_frames():
    found = read(planted.compressed())
    assert problem_of(planted.encoded(found)) is None
    (frame,) = generate_frames(found.PixelData, number_of_frames=1)
    for more in (frame + b"planted\xff\xd9", frame[:2] + b"\xff\xfe\0\4xx" + frame[2:], b"x"):
        found.PixelData = encapsulate([more])
        problem = problem_of(planted.encoded(found))
        assert problem is not None
        assert problem.where == "file, compressed pixels"


def test_run_lengths_are_kept():
    original = planted.image()
    original.compress(known.RLELossless, encoding_plugin="pydicom")
    found = read(original)
    assert found.file_meta.TransferSyntaxUID == known.RLELossless
    np.testing.assert_array_equal(found.pixel_array, original.pixel_array)


def without(keyword):
    dataset = planted.image()
    del dataset[keyword]
    return dataset


def changed(**values):
    dataset = planted.image(sop_class=values.pop("sop_class", known.CTImageStorage))
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (planted.report(), Reason.NO_PIXELS),
        (without("PixelData"), Reason.NO_PIXELS),
        (planted.image(sop_class=known.SegmentationStorage), Reason.OTHER_KIND),
        (planted.image(sop_class=known.VLWholeSlideMicroscopyImageStorage), Reason.OTHER_KIND),
        (planted.image(sop_class="1.2.840.113619.4.27"), Reason.OTHER_KIND),
        (without("SOPClassUID"), Reason.OTHER_KIND),
        (changed(BurnedInAnnotation="YES"), Reason.TEXT_IN_PIXELS),
        (planted.image(sop_class=known.SecondaryCaptureImageStorage), Reason.DOUBTFUL_PIXELS),
        (planted.image(sop_class=known.UltrasoundImageStorage), Reason.DOUBTFUL_PIXELS),
        (planted.image(sop_class=known.VLEndoscopicImageStorage), Reason.DOUBTFUL_PIXELS),
        (changed(ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]), Reason.DOUBTFUL_PIXELS),
        (without("Rows"), Reason.DAMAGED),
    ],
)
def test_what_is_left_out(dataset, reason):
    assert made(dataset) is reason


def test_captures_are_taken_if_they_deny_text_or_that_is_permitted():
    capture = changed(sop_class=known.SecondaryCaptureImageStorage)
    assert read(capture, Profile(allow_doubtful_pixels=True)).SOPClassUID in IMAGES
    capture.BurnedInAnnotation = "NO"
    assert read(capture).BurnedInAnnotation == "NO"
    capture.BurnedInAnnotation = "YES"
    assert made(capture, Profile(allow_doubtful_pixels=True)) is Reason.TEXT_IN_PIXELS


TEXTS = {"AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT", "UR"}
ANY_TAGS = sorted(
    tag for tag, entry in DicomDictionary.items() if entry[0] in TEXTS and tag >> 16 > 7
)
WHERE = st.sampled_from(["top", "VOILUTSequence", "SharedFunctionalGroupsSequence", "private"])


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(ANY_TAGS), WHERE), min_size=1, max_size=8))
def test_text_in_any_element_at_any_depth_goes(places):
    original = planted.image()
    original.SharedFunctionalGroupsSequence = [Dataset()]
    block = original.private_block(0x4711, "PLANTED", create=True)
    block.add_new(1, "SQ", [Dataset()])
    homes = {
        "top": original,
        "VOILUTSequence": original.VOILUTSequence[0],
        "SharedFunctionalGroupsSequence": original.SharedFunctionalGroupsSequence[0],
        "private": original[block.get_tag(1)].value[0],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, where in places:
            if keyword_for_tag(tag) in {"PatientID", "AccessionNumber", "SpecificCharacterSet"}:
                continue
            vr = DicomDictionary[tag][0]
            homes[where].add_new(tag, vr, "19420229" if vr in {"DA", "DT"} else "PLANTED")
        found = made(original)
    assert found is Reason.TEXT_IN_PIXELS or planted.leaks(found.content) == []


@settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400), st.integers(132, 900))
def test_damage_of_any_kind_ends_in_a_reason_or_in_a_clean_file(noise, place):
    content = bytearray(planted.encoded(planted.image()))
    content[place : place + len(noise)] = noise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(BytesIO(content))
        except Exception:  # noqa: BLE001
            return  # a source tells these
        with contextlib.suppress(*UNREADABLE):  # `pull` counts these
            person_of(dataset)
        found = deidentify(dataset, PATIENT, NAMES, Profile())
    if isinstance(found, Deidentified):
        assert planted.leaks(found.content) == []
        assert problem_of(found.content) is None


@pytest.mark.parametrize("original", [planted.image(), planted.compressed()])
def test_a_file_that_was_cut_off_is_never_an_image(original):
    del original[0xFFFCFFFC]  # without padding the pixels are the end
    content = planted.encoded(original)
    assert isinstance(made(original), Deidentified)
    for end in range(len(content) - 12, 132, -7):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = dcmread(BytesIO(content[:end]))
            except Exception:  # noqa: BLE001
                continue
            assert deidentify(dataset, PATIENT, NAMES, Profile()) in set(Reason)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("data set", lambda d: setattr(d, "InstitutionName", "x")),
        ("data set", lambda d: setattr(d, "ImageType", ["ORIGINAL", "X"])),
        ("data set", lambda d: setattr(d, "StudyDate", "20200101")),
        ("data set", lambda d: setattr(d, "PatientID", "4711")),
        ("data set", lambda d: setattr(d.VOILUTSequence[0], "LUTExplanation", "x")),
        ("data set", lambda d: setattr(d.VOILUTSequence[0], "PatientID", "0" * 32)),
        ("data set", lambda d: d.VOILUTSequence[0].add_new("PixelData", "OW", b"xx")),
        ("data set", lambda d: d.add_new(0x00090010, "LO", "x")),
        ("data set", lambda d: d.add_new(0x60003000, "OW", b"xx")),
        ("data set", lambda d: setattr(d.DeidentificationMethodCodeSequence[0], "CodeValue", "x")),
        ("bits beside the pixels", lambda d: setattr(d, "PixelData", b"\0\x10" + d.PixelData[2:])),
        (
            "bits beside the pixels",
            lambda d: (
                setattr(d, "PixelRepresentation", 1),
                setattr(d, "PixelData", b"\0\x08" * 30),
            ),
        ),
        ("bits beside the pixels", lambda d: setattr(d, "HighBit", 15)),
        ("end of the file", lambda d: d.add_new(0x7FE10010, "LO", "x")),
        ("header", lambda d: setattr(d.file_meta, "SourceApplicationEntityTitle", "x")),
        ("header, values", lambda d: setattr(d.file_meta, "ImplementationVersionName", "x")),
        ("header, values", lambda d: setattr(d, "SOPInstanceUID", "1.2.3")),
        ("preamble", lambda d: setattr(d, "preamble", b"x" * 128)),
    ],
)
def test_the_proof_sees_whatever_is_left(where, change):
    dataset = read(planted.image())
    assert problem_of(planted.encoded(dataset)) is None
    change(dataset)
    problem = problem_of(planted.encoded(dataset))
    assert problem is not None
    assert problem.where in {f"file, {where}", "file, data set"}


def test_the_proof_sees_what_is_hung_on():
    content = made(planted.image()).content
    assert problem_of(content) is None
    assert problem_of(content + b"planted") is not None


def test_a_fault_of_the_making_is_caught_and_nothing_is_given_back(monkeypatch):
    monkeypatch.setattr(room, "METHOD", "planted method")
    with pytest.raises(CheckError, match="expected what the allow-list permits, found more"):
        made(planted.image())


def test_the_list_and_the_standards_table_have_only_pseudonyms_in_common():
    table = {(tag[0] << 16) | tag[1] for tag in initialize_actions_2024b() if len(tag) == 2}
    assert len(table) > 400
    assert {keyword_for_tag(tag) for tag in table & ALLOWED.keys()} == set()
    written = {keyword_for_tag(tag) for tag in table & WRITTEN.keys()}
    assert written <= {*PSEUDONYMS, *EMPTY, *CHARACTERISTICS}
    assert {"PatientID", "SOPInstanceUID", "StudyDate", "PatientAge"} <= written


def test_the_standards_table_acts_on_what_the_list_would_let_pass(monkeypatch):
    from envoi.data.pacs.allowed import Rule

    more = {**ALLOWED, tag_for_keyword("InstitutionName"): Rule(frozenset({"LO"}))}
    monkeypatch.setattr(room, "ALLOWED", more)
    with pytest.raises(CheckError, match="data set"):
        made(planted.image())
    monkeypatch.setattr(room, "problem_of", lambda _: None)
    assert b"Planted Hospital" not in made(planted.image()).content


def test_nothing_is_logged_or_warned(caplog, capfd, recwarn):
    with silence():
        original = planted.image()
        original.add_new("PatientAge", "AS", "PLANTED")
        sent = dcmread(BytesIO(planted.encoded(original)))
    caplog.set_level(logging.DEBUG)
    profile = Profile(keep_characteristics=True)
    assert isinstance(deidentify(sent, PATIENT, NAMES, profile), Deidentified)
    assert not planted.leaks(caplog.text.encode())
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
    assert [str(warning.message) for warning in recwarn if "PLANTED" in str(warning.message)] == []


def test_a_repr_shows_no_content():
    found = made(planted.image())
    assert repr(found) == f"Deidentified(instance='{found.instance}')"
    assert dataclasses.asdict(Profile()) == {
        "keep_characteristics": False,
        "allow_doubtful_pixels": False,
    }
