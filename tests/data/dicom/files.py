"""DICOM files made for tests: small, valid, with whatever a test plants in them."""

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1.1"
SECRET = "Mustermann"


def dicom(pixels, *, uid=None, **values):
    """A file of a grey image `(row, column)`, or `(frame, row, column)`, or colour `(..., 3)`."""
    pixels = np.asarray(pixels)
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = values.get("SOPClassUID", RADIOGRAPH)
    meta.MediaStorageSOPInstanceUID = uid or generate_uid(entropy_srcs=[repr(values), str(pixels)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    file.PatientID, file.PatientName, file.AccessionNumber = "17", SECRET, "A1"
    file.Modality = "DX"
    shape = pixels.shape[:-1] if colour else pixels.shape
    if len(shape) == 3:
        file.NumberOfFrames = shape[0]
    file.Rows, file.Columns = shape[-2:]
    file.SamplesPerPixel = 3 if colour else 1
    file.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * pixels.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    for keyword, value in values.items():
        if value is None:
            delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    if "BitsStored" in values:
        file.HighBit = file.BitsStored - 1
    return file


def item(**values):
    """An item of a sequence."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def without_extra(monkeypatch, syntax):
    """Have pydicom decode a transfer syntax as where the extra `decoders` is not installed."""
    decoder = get_decoder(syntax)
    left = {name: made for name, made in decoder._available.items() if name == "pillow"}
    needs = {"pylibjpeg": ("pylibjpeg>=2.0", "pylibjpeg-libjpeg>=2.1")}
    monkeypatch.setattr(decoder, "_available", left)
    monkeypatch.setattr(decoder, "_unavailable", needs)
