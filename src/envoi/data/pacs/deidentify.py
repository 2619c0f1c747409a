"""De-identification on arrival, before anything touches the disk.

1. A new data set is made of what the allow-list permits, in all depths (`allowed`). What is not
   copied cannot leak, whatever it is called: private elements, overlays, curves, texts, dates.
2. The basic profile of DICOM PS3.15, table E.1-1, acts on what is left (`dicom-anonymizer`). Today
   it finds nothing to do there; it holds the list to the standard's.
3. Pseudonyms are written, and marks that say what was done.
4. The file is read back and held to the allow-list again, element by element, header included.

What this does not do: it does not look at pixels. Text that is burned into them stays (files that
say so, and captures that do not deny it, are left out), and the head of a brain scan has a face.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from io import BytesIO
from typing import Any

from pydicom import DataElement, Dataset, FileDataset
from pydicom import uid as known
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.pacs.allowed import ALLOWED, EMPTY, INSIDE, WRITTEN, Rule, is_allowed, permitted
from envoi.data.pacs.codestreams import frames_of
from envoi.data.pacs.extra import UNREADABLE, extra, silence
from envoi.data.pacs.kinds import CAPTURES, IMAGES, SYNTAXES
from envoi.data.pacs.proof import problem_of
from envoi.data.pacs.stored_bits import sample_of, without_unused_bits
from envoi.errors import CheckError

METHOD = "Envoi: basic profile of PS3.15, then an allow-list"
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_REWRITTEN = {known.ImplicitVRLittleEndian, known.DeflatedExplicitVRLittleEndian}
_BASIC = ("113100", "Basic Application Confidentiality Profile")
_CHARACTERISTICS = ("113108", "Retain Patient Characteristics Option")


class Reason(StrEnum):
    """Why an image is left out; the value is how `pull.json` calls it."""

    NO_PIXELS = "no-pixels"
    OTHER_KIND = "other-kind"
    TEXT_IN_PIXELS = "text-in-pixels"
    DOUBTFUL_PIXELS = "doubtful-pixels"
    NO_PATIENT = "no-patient"
    SHARED_ID = "shared-id"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What may stay in a file beyond the least.

    Attributes:
        keep_characteristics: Keep sex and age; ages above 90 become 90.
        allow_doubtful_pixels: Take captures, ultrasound and endoscopy that do not say whether text
            is burned into their pixels, and compressed images that say that overlays lie in theirs.
            Files that say that text is burned in are never taken.
    """

    keep_characteristics: bool = False
    allow_doubtful_pixels: bool = False


@dataclass(frozen=True, slots=True)
class Deidentified:
    """A file that names nobody.

    Attributes:
        instance: Pseudonym of its SOP Instance UID.
        content: The bytes of the file.
    """

    instance: str
    content: bytes = field(repr=False)


def deidentify(
    dataset: FileDataset, patient: str, pseudonyms: Pseudonyms, profile: Profile
) -> Deidentified | Reason:
    """A file without all that identifies anybody, or why it is left out.

    Memory: three times the file.

    Args:
        dataset: As it came from the archive; it is not changed.
        patient: Pseudonym of the patient.
        pseudonyms: Of the site.
        profile: What may stay.

    Raises:
        CheckError: Something was left that is not on the allow-list; nothing may be written.
    """
    try:
        with silence():
            reason = _objection(dataset, profile)
            if reason is not None:
                return reason
            content, instance = _rewritten(dataset, patient, pseudonyms, profile)
            left = problem_of(content)
    except UNREADABLE:
        return Reason.DAMAGED
    if left is not None:
        raise CheckError(left)
    return Deidentified(instance, content)


def _objection(dataset: FileDataset, profile: Profile) -> Reason | None:
    """Why a file is not taken at all."""
    if "PixelData" not in dataset:
        return Reason.NO_PIXELS
    meta = getattr(dataset, "file_meta", Dataset())
    if dataset.get("SOPClassUID") not in IMAGES or meta.get("TransferSyntaxUID") not in SYNTAXES:
        return Reason.OTHER_KIND
    burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if burned == "YES":
        return Reason.TEXT_IN_PIXELS
    is_capture = dataset.SOPClassUID in CAPTURES or "SCREEN SAVE" in str(dataset.get("ImageType"))
    if _has_coded_overlay(dataset) and not profile.allow_doubtful_pixels:
        return Reason.DOUBTFUL_PIXELS
    if is_capture and burned != "NO" and not profile.allow_doubtful_pixels:
        return Reason.DOUBTFUL_PIXELS
    return None


def _has_coded_overlay(dataset: FileDataset) -> bool:
    """Whether overlay planes lie among compressed pixels, where only a decoder could take them."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax in {*_REWRITTEN, known.RLELossless}:
        return False
    bits = (dataset.get((group, 0x0100)) for group in range(0x6000, 0x6020, 2))
    return any(one is not None and str(one.value) not in {"", "1", "None"} for one in bits)


def _rewritten(
    dataset: FileDataset, patient: str, pseudonyms: Pseudonyms, profile: Profile
) -> tuple[bytes, str]:
    kept = _permitted_part(dataset, ALLOWED)
    _fit_pixels(kept, dataset)
    _apply_profile(kept)
    _write_pseudonyms(kept, dataset, patient, pseudonyms)
    if profile.keep_characteristics:
        _write_characteristics(kept, dataset)
    _write_marks(kept, characteristics=profile.keep_characteristics)
    syntax = dataset.file_meta.TransferSyntaxUID
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = (
        known.ExplicitVRLittleEndian if syntax in _REWRITTEN else syntax
    )
    file = BytesIO()
    dcmwrite(file, kept, enforce_file_format=True)
    return file.getvalue(), kept.SOPInstanceUID


def _permitted_part(dataset: Dataset, rules: Mapping[int, Rule]) -> Dataset:
    """A new data set of what the allow-list permits."""
    kept = Dataset()
    for tag in dataset.keys() & rules.keys():
        element = permitted(dataset[tag], rules[tag])
        if element is not None and element.VR == "SQ":
            items = Sequence([_permitted_part(item, INSIDE) for item in element.value])
            element = DataElement(tag, "SQ", items)
        if element is not None:
            kept.add(element)
    return kept


def _fit_pixels(kept: Dataset, dataset: FileDataset) -> None:
    """Pixel data that hold the picture and nothing before, between, beside or after.

    Raises:
        ValueError: They hold less than the picture.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        kept.PixelData = encapsulate(frames_of(kept, syntax))
        kept["PixelData"].VR = "OB"
        kept["PixelData"].is_undefined_length = True
        return
    frames = int(kept.get("NumberOfFrames") or 1)
    bits = kept.Rows * kept.Columns * kept.SamplesPerPixel * kept.BitsAllocated * frames
    if kept.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits * 2 // 3
    expected = -(-bits // 8)
    if not 0 < expected <= len(kept.PixelData):
        raise ValueError("less than a picture")
    is_big_endian = syntax == known.ExplicitVRBigEndian
    pixels = bytes(kept.PixelData[:expected])
    pixels = without_unused_bits(pixels, sample_of(kept), is_big_endian=is_big_endian)
    kept.PixelData = pixels + b"\0" * (expected % 2)


@cache
def _rules() -> dict[tuple[int, ...], Any]:
    """The standard's table, as `dicom-anonymizer` has it."""
    actions: dict[tuple[int, ...], Any] = extra("dicomanonymizer").initialize_actions_2024b()
    return actions


def _apply_profile(kept: Dataset) -> None:
    """The basic profile, on a data set that has no pseudonyms yet."""
    extra("dicomanonymizer").anonymize_dataset(kept, base_rules_gen=lambda: dict(_rules()))


def _write_pseudonyms(
    kept: Dataset, dataset: Dataset, patient: str, pseudonyms: Pseudonyms
) -> None:
    kept.PatientID = kept.PatientName = patient
    for keyword in _UIDS:
        original = str(dataset.get(keyword) or "")
        if original:
            setattr(kept, keyword, pseudonyms.uid(original))
    number = str(dataset.get("AccessionNumber") or "").strip()
    kept.AccessionNumber = pseudonyms.accession(number) if number else ""


def _write_characteristics(kept: Dataset, dataset: Dataset) -> None:
    kept.PatientSex = str(dataset.get("PatientSex") or "")
    age = str(dataset.get("PatientAge") or "")
    if age.endswith("Y") and age[:3].isdecimal():
        age = f"{min(int(age[:3]), 90):03d}Y"
    kept.PatientAge = age
    for keyword in ("PatientSex", "PatientAge"):
        if not is_allowed(kept[keyword], WRITTEN[kept[keyword].tag]):
            del kept[keyword]


def _write_marks(kept: Dataset, *, characteristics: bool) -> None:
    for keyword in EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, None)
    kept.PatientIdentityRemoved = "YES"
    kept.LongitudinalTemporalInformationModified = "REMOVED"
    kept.DeidentificationMethod = METHOD
    codes = [_BASIC, _CHARACTERISTICS] if characteristics else [_BASIC]
    kept.DeidentificationMethodCodeSequence = Sequence([_code(*code) for code in codes])


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
