"""DICOM files of a folder, their labels from a table, as pictures: nothing identifying comes out.

Names, numbers and UIDs of patients are compared here and go no further: a patient becomes the
number of a group, a file its number in the folder.
"""

from envoi.data.dicom.folder import DicomRow, DicomSet, scan_dicom
from envoi.data.dicom.pixels import frame_picture
from envoi.data.dicom.reading import DicomReading

__all__ = ["DicomReading", "DicomRow", "DicomSet", "frame_picture", "scan_dicom"]
