"""The allow-list: all that may stand in a file that was pulled, and what its values may be.

An attribute is here if a reader needs it to render an image, to place it, or to group it with
others. There are no dates, no descriptions, no names of devices or people, and no free text: each
value is a number, a word out of a closed list, or a pseudonym. A hospital's own words in an
attribute that is allowed (a name as the second word of Image Type, say) go with the attribute.

Attributes inside sequences are held to the same list.
"""

import re
from dataclasses import dataclass

from pydicom import DataElement
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from envoi.data.pacs.kinds import IMAGES, MODALITIES

_NUMBERS = """
    SamplesPerPixel PlanarConfiguration NumberOfFrames Rows Columns PixelAspectRatio BitsAllocated
    BitsStored HighBit PixelRepresentation SmallestImagePixelValue LargestImagePixelValue
    PixelPaddingValue PixelPaddingRangeLimit WindowCenter WindowWidth RescaleIntercept RescaleSlope
    LossyImageCompressionRatio RedPaletteColorLookupTableDescriptor
    GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
    RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData LUTDescriptor LUTData PixelData

    PixelSpacing ImagerPixelSpacing NominalScannedPixelSpacing SliceThickness SpacingBetweenSlices
    ImagePositionPatient ImageOrientationPatient SliceLocation InstanceNumber AcquisitionNumber
    TemporalPositionIdentifier NumberOfTemporalPositions TemporalPositionIndex
    InStackPositionNumber DimensionIndexValues FrameAcquisitionNumber EchoNumbers TriggerTime
    FrameTime ReconstructionDiameter GantryDetectorTilt EstimatedRadiographicMagnificationFactor

    RepetitionTime EchoTime InversionTime FlipAngle EchoTrainLength MagneticFieldStrength
    EffectiveEchoTime DiffusionBValue KVP
"""
_SEQUENCES = """
    ModalityLUTSequence VOILUTSequence SharedFunctionalGroupsSequence
    PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence
    PlaneOrientationSequence FrameContentSequence PixelValueTransformationSequence
    FrameVOILUTSequence MRTimingAndRelatedParametersSequence MREchoSequence MRDiffusionSequence
"""
_WORDS = {
    "Modality": " ".join(sorted(MODALITIES)),
    "ImageType": """
        ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER OTHER M P R I MAGNITUDE PHASE PHASE_MAP
        REAL IMAGINARY MIXED NONE ND NORM DIS2D DIS3D MPR MIP REFORMATTED PROJECTION IMAGE FFE SE
        IR GR T1 T2 WATER FAT IN_PHASE OUT_PHASE DIFFUSION ADC TRACEW FA VOLUME RESAMPLED
        REPROCESSED STATIC DYNAMIC EMISSION TRANSMISSION SINGLE BIPLANE MONOCHROME SPIRAL""",
    "PhotometricInterpretation": """
        MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_422 YBR_PARTIAL_420 YBR_ICT
        YBR_RCT""",
    "RescaleType": "OD HU US MGML Z_EFF ED EDW HU_MOD PCT",
    "PixelIntensityRelationship": "LIN LOG DISP",
    "VOILUTFunction": "LINEAR LINEAR_EXACT SIGMOID",
    "PresentationLUTShape": "IDENTITY INVERSE",
    "LossyImageCompression": "00 01",
    "LossyImageCompressionMethod": "ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15",
    "BurnedInAnnotation": "NO",
    "PatientPosition": "HFP HFS HFDR HFDL FFP FFS FFDR FFDL LFP LFS RFP RFS",
    "Laterality": "R L",
    "ImageLaterality": "R L U B",
    "FrameLaterality": "R L U B",
    "ViewPosition": "AP PA LL RL RLD LLD RLO LLO CC ML LM MLO LMO XCC XCCL XCCM AT FB",
    "BodyPartExamined": """
        ABDOMEN ABDOMENPELVIS ANKLE ARM BRAIN BREAST CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS
        CLAVICLE COCCYX COLON CSPINE ELBOW EXTREMITY EYE FEMUR FINGER FOOT FOREARM HAND HEAD
        HEADNECK HEART HIP HUMERUS JAW KIDNEY KNEE LEG LIVER LSPINE LUNG NECK PANCREAS PELVIS
        PROSTATE RIB SCAPULA SHOULDER SKIN SKULL SPINE SSPINE STERNUM STOMACH TESTIS THIGH
        THUMB THYROID TOE TSPINE UTERUS WHOLEBODY WRIST""",
    "ScanningSequence": "SE IR GR EP RM",
    "SequenceVariant": "SK MTC SS TRSS SP MP OSP NONE",
    "MRAcquisitionType": "2D 3D",
    "DiffusionDirectionality": "DIRECTIONAL BMATRIX ISOTROPIC NONE",
}
_SPACED_WORDS = {
    "PhotometricInterpretation": {"PALETTE COLOR"},
    "ImageType": {"WHOLE BODY", "GATED", "TOMO", "RECON TOMO"},
}
_ORIENTATION = re.compile(r"[ALPRHF]{1,3}")
_UIDS = "StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID"

PSEUDONYMS = {
    "PatientID": re.compile(r"[0-9a-f]{32}"),
    "PatientName": re.compile(r"[0-9a-f]{32}"),
    "AccessionNumber": re.compile(r"([A-Z2-7]{16})?"),
    **dict.fromkeys(_UIDS.split(), re.compile(r"2\.25\.[0-9]{1,39}")),
}
"""Attributes that hold a pseudonym, and its form."""

CHARACTERISTICS = {
    "PatientSex": re.compile(r"[MFO]"),
    "PatientAge": re.compile(r"(0[0-8][0-9]|090)Y|[0-9]{3}[MWD]"),
}
"""Kept only if that was asked for; ages above 90 years are given as 90."""

EMPTY = (
    "StudyDate",
    "StudyTime",
    "StudyID",
    "SeriesNumber",
    "ReferringPhysicianName",
    "PatientBirthDate",
    "PatientSex",
)
"""Attributes that a file of this kind has to have, and that say nothing (type 2)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the values of one attribute may be.

    Attributes:
        kinds: Value representations.
        most: How many values there may be; None for any number.
        values: A form that each value has in full, or None for numbers and sequences.
    """

    kinds: frozenset[str]
    most: int | None = None
    values: re.Pattern[str] | None = None


def is_allowed(element: DataElement, rule: Rule) -> bool:
    """Whether an attribute is as its rule says; items of sequences are not looked at."""
    if element.VR not in rule.kinds:
        return False
    if element.VR == "SQ" or isinstance(element.value, bytes) or element.is_empty:
        return True
    values = values_of(element)
    if rule.most is not None and len(values) > rule.most:
        return False
    return rule.values is None or all(rule.values.fullmatch(value) for value in values)


def permitted(element: DataElement, rule: Rule) -> DataElement | None:
    """A copy of what an attribute may say, or None.

    Words of Image Type that are not in the list become OTHER: the first three are needed and
    manufacturers add their own.
    """
    if element.keyword == "ImageType" and element.VR == "CS" and rule.values is not None:
        known = [rule.values.fullmatch(value) is not None for value in values_of(element)]
        words = zip(values_of(element), known, strict=True)
        return DataElement(element.tag, "CS", [word if ok else "OTHER" for word, ok in words])
    if not is_allowed(element, rule):
        return None
    return DataElement(element.tag, element.VR, element.value)


def values_of(element: DataElement) -> list[str]:
    """The values of an attribute as text."""
    values = element.value if element.VM > 1 else [element.value]
    return [str(value) for value in values]


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)  # not in the data dictionary: a slip of the pen above
    return tag


def _rule(keyword: str, values: re.Pattern[str] | None = None) -> Rule:
    """The rule that the data dictionary implies."""
    tag = _tag(keyword)
    multiplicity = dictionary_VM(tag).split("-")[-1]
    most = int(multiplicity) if multiplicity.isdecimal() else None
    return Rule(frozenset(dictionary_VR(tag).split(" or ")), most, values)


def _one_of(words: set[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word) for word in sorted(words)))


def _allowed() -> dict[int, Rule]:
    rules = {keyword: _rule(keyword) for keyword in f"{_NUMBERS} {_SEQUENCES}".split()}
    for keyword, words in _WORDS.items():
        known = set(words.split()) | _SPACED_WORDS.get(keyword, set())
        rules[keyword] = _rule(keyword, _one_of(known))
    rules["PixelIntensityRelationshipSign"] = _rule("PixelIntensityRelationshipSign")
    rules["PatientOrientation"] = _rule("PatientOrientation", _ORIENTATION)
    rules["SOPClassUID"] = _rule("SOPClassUID", _one_of(set(IMAGES)))
    return {_tag(keyword): rule for keyword, rule in rules.items()}


ALLOWED = _allowed()
"""What is copied from a file of the archive, by tag."""

INSIDE = {tag: rule for tag, rule in ALLOWED.items() if tag != _tag("PixelData")}
"""The same for items of sequences: pictures in there are thumbnails."""

WRITTEN = {
    _tag(keyword): _rule(keyword, values)
    for keyword, values in {
        **PSEUDONYMS,
        **dict.fromkeys(EMPTY, re.compile("")),
        **CHARACTERISTICS,
        "PatientIdentityRemoved": re.compile("YES"),
        "LongitudinalTemporalInformationModified": re.compile("REMOVED"),
        "DeidentificationMethod": re.compile(
            r"Envoi: basic profile of PS3\.15, then an allow-list"
        ),
        "DeidentificationMethodCodeSequence": None,
    }.items()
}
"""What de-identification itself writes, by tag."""

METHOD_CODES = {
    _tag("CodeValue"): re.compile(r"113100|113108"),
    _tag("CodingSchemeDesignator"): re.compile("DCM"),
    _tag("CodeMeaning"): re.compile(
        r"Basic Application Confidentiality Profile|Retain Patient Characteristics Option"
    ),
}
"""What stands in the items of De-identification Method Code Sequence, and nowhere else."""
