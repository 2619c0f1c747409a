"""Made DICOM files with names, numbers and dates planted wherever a hospital might have them."""

from io import BytesIO

import numpy as np
from pydicom import Dataset, FileDataset, dcmwrite
from pydicom import uid as known
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

ROOT = "1.2.826.0.1.3680043.8.498.77"
NAME, NUMBER, ACCESSION = "Plantedname^Plantedgiven", "PLANTEDID4711", "PLANTEDACC01"
WORDS = ("planted", "19420229", ROOT, "777123456")
"""None of these may be left, in any case, in ASCII or UTF-16."""


def image(
    instance=1,
    *,
    study=1,
    number=NUMBER,
    name=NAME,
    born="19420229",
    issuer="",
    accession=ACCESSION,
    day="20200115",
    modality="CT",
    sop_class=known.CTImageStorage,
    syntax=known.ExplicitVRLittleEndian,
    size=(6, 5),
):
    """A whole image with something planted everywhere."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.{study}.1.{instance}"
    meta.SourceApplicationEntityTitle = "PLANTEDAET"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"planted".ljust(128, b"\0"))
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = f"{ROOT}.{study}"
    dataset.SeriesInstanceUID = f"{ROOT}.{study}.1"
    dataset.FrameOfReferenceUID = f"{ROOT}.{study}.9"
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = number, name, born
    dataset.PatientSex, dataset.PatientAge = "F", "093Y"
    if issuer:
        dataset.IssuerOfPatientID = issuer
    dataset.AccessionNumber, dataset.StudyDate, dataset.StudyTime = accession, day, "101112"
    dataset.Modality = modality
    dataset.InstanceNumber, dataset.SeriesNumber = instance, 777123456
    dataset.StudyID = "777123456"
    _plant(dataset)
    _add_pixels(dataset, instance, size)
    return dataset


def _plant(dataset):
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ReferringPhysicianName = "Planted^Doctor"
    dataset.InstitutionName = "Planted Hospital"
    dataset.StationName = "PLANTEDCT"
    dataset.StudyDescription = "Brain of Plantedname"
    dataset.SeriesDescription = "planted series"
    dataset.ProtocolName = "planted protocol"
    dataset.PatientComments = dataset.ImageComments = "planted comment"
    dataset.DerivationDescription = "planted derivation"
    dataset.BodyPartExamined = "PLANTED"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "PLANTED SPI"]
    dataset.OtherPatientIDs = ["PLANTED2", "PLANTED3"]
    person = Dataset()
    person.PatientID, person.PatientName = "PLANTED5", "Planted^Other"
    dataset.OtherPatientIDsSequence = [person]
    deep, item = Dataset(), Dataset()
    deep.CodeValue, deep.CodingSchemeDesignator, deep.CodeMeaning = "1", "99PLANT", "planted"
    item.PurposeOfReferenceCodeSequence = [deep]
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = known.MRImageStorage, f"{ROOT}.88"
    dataset.ReferencedImageSequence = [item]
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [2, 0, 16], bytes([0, 0, 255, 255])
    table.LUTExplanation = "planted explanation"
    table.add_new(0x00091010, "LO", "planted nested private")
    dataset.VOILUTSequence = [table]
    block = dataset.private_block(0x0009, "PLANTED CREATOR", create=True)
    block.add_new(0x10, "LO", "planted private")
    block.add_new(0x11, "SQ", [person])
    dataset.add_new(0x60000010, "US", 2)
    dataset.add_new(0x60000011, "US", 8)
    dataset.add_new(0x60000022, "LO", "planted overlay")
    dataset.add_new(0x60003000, "OW", b"planted!")
    dataset.add_new(0x50003000, "OW", b"planted!")
    dataset.add_new(0xFFFCFFFC, "OB", b"planted padding!")
    dataset.FrameOfReferenceUID = f"{ROOT}.9"


def _add_pixels(dataset, instance, size):
    pixels = np.random.default_rng(instance).integers(0, 4096, size, np.uint16)
    dataset.Rows, dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 1.25
    dataset.ImagePositionPatient = [0, 0, float(instance)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.WindowCenter, dataset.WindowWidth = [40, 600], [400, 1500]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.SmallestImagePixelValue = 0
    dataset.PixelData = pixels.tobytes()


def compressed(instance=1, **changes):
    """An image in JPEG baseline, with planted text between its segments and behind it."""
    from PIL import Image

    dataset = image(instance, syntax=known.JPEGBaseline8Bit, **changes)
    pixels = np.random.default_rng(instance).integers(0, 256, (16, 16), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", comment=b"planted comment")
    frame = file.getvalue()
    block = b"Exif\0\0planted exif"
    frame = frame[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block + frame[2:]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([frame + b"planted end\xff\xd9"])
    dataset["PixelData"].VR = "OB"
    return dataset


def report(instance=1, **changes):
    """A structured report: no pixels at all."""
    dataset = image(instance, modality="SR", sop_class=known.BasicTextSRStorage, **changes)
    del dataset.PixelData
    return dataset


def encoded(dataset):
    """The bytes of its file."""
    file = BytesIO()
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def leaks(content):
    """Planted words that stand in some bytes."""
    text = content.lower()
    return [word for word in WORDS if word.encode() in text or word.encode("utf-16-le") in text]
