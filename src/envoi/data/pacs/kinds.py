"""Which DICOM objects are taken: images of known classes, in transfer syntaxes that are pictures.

Not taken are reports, presentation states, segmentations, raw data, waveforms, documents and
video, whose text cannot be told from their content, and whole-slide microscopy, whose label images
show the name of the patient.
"""

from pydicom import uid as known

_OF_MODALITY = {
    "CT": (
        known.CTImageStorage,
        known.EnhancedCTImageStorage,
        known.LegacyConvertedEnhancedCTImageStorage,
    ),
    "MR": (
        known.MRImageStorage,
        known.EnhancedMRImageStorage,
        known.EnhancedMRColorImageStorage,
        known.LegacyConvertedEnhancedMRImageStorage,
    ),
    "PT": (
        known.PositronEmissionTomographyImageStorage,
        known.EnhancedPETImageStorage,
        known.LegacyConvertedEnhancedPETImageStorage,
    ),
    "NM": (known.NuclearMedicineImageStorage,),
    "CR": (known.ComputedRadiographyImageStorage,),
    "DX": (
        known.DigitalXRayImageStorageForPresentation,
        known.DigitalXRayImageStorageForProcessing,
        known.ComputedRadiographyImageStorage,
    ),
    "MG": (
        known.DigitalMammographyXRayImageStorageForPresentation,
        known.DigitalMammographyXRayImageStorageForProcessing,
        known.BreastTomosynthesisImageStorage,
        known.ComputedRadiographyImageStorage,
    ),
    "IO": (
        known.DigitalIntraOralXRayImageStorageForPresentation,
        known.DigitalIntraOralXRayImageStorageForProcessing,
    ),
    "PX": (
        known.DigitalXRayImageStorageForPresentation,
        known.ComputedRadiographyImageStorage,
    ),
    "XA": (known.XRayAngiographicImageStorage, known.EnhancedXAImageStorage),
    "RF": (known.XRayRadiofluoroscopicImageStorage, known.EnhancedXRFImageStorage),
    "US": (known.UltrasoundImageStorage, known.UltrasoundMultiFrameImageStorage),
    "OP": (
        known.OphthalmicPhotography8BitImageStorage,
        known.OphthalmicPhotography16BitImageStorage,
    ),
    "OPT": (known.OphthalmicTomographyImageStorage,),
    "ES": (known.VLEndoscopicImageStorage,),
    "GM": (known.VLMicroscopicImageStorage,),
    "SM": (known.VLSlideCoordinatesMicroscopicImageStorage, known.VLMicroscopicImageStorage),
    "XC": (known.VLPhotographicImageStorage,),
    "DMS": (known.DermoscopicPhotographyImageStorage, known.VLPhotographicImageStorage),
    "OT": (
        known.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        known.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        known.MultiFrameTrueColorSecondaryCaptureImageStorage,
    ),
}  # fmt: skip

CAPTURES = frozenset(
    {
        known.SecondaryCaptureImageStorage,
        *_OF_MODALITY["OT"],
        *_OF_MODALITY["US"],
        *_OF_MODALITY["ES"],
    }
)
"""Classes whose pixels often show the name of the patient."""

IMAGES = frozenset(uid for uids in _OF_MODALITY.values() for uid in uids) | CAPTURES
MODALITIES = frozenset(_OF_MODALITY) | {"BI", "DG", "LS", "OAM", "SC", "TG"}

SYNTAXES = (
    known.ExplicitVRLittleEndian,
    known.ImplicitVRLittleEndian,
    known.JPEGBaseline8Bit,
    known.JPEGExtended12Bit,
    known.JPEGLossless,
    known.JPEGLosslessSV1,
    known.JPEGLSLossless,
    known.JPEGLSNearLossless,
    known.JPEG2000Lossless,
    known.JPEG2000,
    known.RLELossless,
    known.HTJ2KLossless,
    known.HTJ2KLosslessRPCL,
    known.HTJ2K,
    known.DeflatedExplicitVRLittleEndian,
    known.ExplicitVRBigEndian,
)


def classes_of(modality: str) -> tuple[str, ...]:
    """Classes that images of a modality may be of, where the archive does not tell the class."""
    return (*_OF_MODALITY.get(modality, ()), known.SecondaryCaptureImageStorage)
