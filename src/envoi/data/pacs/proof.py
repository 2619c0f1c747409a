"""The proof: a file that was de-identified holds what the allow-list permits, and nothing else.

It reads the finished bytes, not the data set that they were made of, and shares with the making
the list itself and the walk through compressed frames. Header, data set, all items of sequences,
bits beside the samples, compressed frames and the end of the file are looked at; what the pixels
show is not.
"""

from io import BytesIO

import numpy as np
from pydicom import DataElement, FileDataset, dcmread
from pydicom import uid as known
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import encapsulate

from envoi.data.pacs.allowed import (
    ALLOWED,
    INSIDE,
    METHOD_CODES,
    PSEUDONYMS,
    WRITTEN,
    Rule,
    is_allowed,
)
from envoi.data.pacs.codestreams import frames_of
from envoi.data.pacs.extra import UNREADABLE
from envoi.data.pacs.kinds import SYNTAXES
from envoi.errors import Problem

_META = {"FileMetaInformationGroupLength", "FileMetaInformationVersion", "MediaStorageSOPClassUID",
         "MediaStorageSOPInstanceUID", "TransferSyntaxUID", "ImplementationClassUID",
         "ImplementationVersionName"}  # fmt: skip


def problem_of(content: bytes) -> Problem | None:
    """What stands in a file that is not on the allow-list; None if nothing does.

    Args:
        content: A whole DICOM file. Any may be given, so that files of other origin can be checked.
    """
    dataset = dcmread(BytesIO(content))
    found = {
        "preamble": any(content[:128]),
        "header": any(element.keyword not in _META for element in dataset.file_meta),
        "header, values": not _meta_is_plain(dataset),
        "data set": not all(_is_permitted(element) for element in dataset),
        "bits beside the pixels": not _fills_samples_only(dataset),
        "compressed pixels": not _is_bare(dataset),
        "end of the file": not _ends_with(dataset, content),
    }
    for where, is_wrong in found.items():
        if is_wrong:
            remedy = "Nothing was written; report this: it is a fault of Envoi."
            return Problem("what the allow-list permits", "more", f"file, {where}", remedy)
    return None


def _is_permitted(element: DataElement) -> bool:
    """Whether an element of a finished file may stand there, with all that is inside."""
    tag = int(element.tag)
    rule = WRITTEN.get(tag) or ALLOWED.get(tag)
    if rule is None or not is_allowed(element, rule):
        return False
    if element.VR != "SQ":
        return True
    inside = _METHOD_RULES if element.keyword == "DeidentificationMethodCodeSequence" else INSIDE
    return all(
        inner.tag in inside and _is_inside(inner, inside[inner.tag])
        for item in element.value
        for inner in item
    )


def _is_inside(element: DataElement, rule: Rule) -> bool:
    return _is_permitted(element) if element.VR == "SQ" else is_allowed(element, rule)


_METHOD_RULES = {
    tag: Rule(frozenset({"SH", "LO"}), 1, values) for tag, values in METHOD_CODES.items()
}


def _meta_is_plain(dataset: FileDataset) -> bool:
    """Whether the header's values say nothing that the data set does not say."""
    meta = dataset.file_meta
    return (
        meta.get("MediaStorageSOPInstanceUID") == dataset.get("SOPInstanceUID")
        and meta.get("MediaStorageSOPClassUID") == dataset.get("SOPClassUID")
        and meta.get("TransferSyntaxUID") in SYNTAXES
        and meta.get("ImplementationClassUID") == known.PYDICOM_IMPLEMENTATION_UID
        and str(meta.get("ImplementationVersionName")).startswith("PYDICOM ")
        and PSEUDONYMS["SOPInstanceUID"].fullmatch(str(dataset.get("SOPInstanceUID"))) is not None
    )


def _fills_samples_only(dataset: FileDataset) -> bool:
    """Whether words of native pixels hold values that their samples can have, and no more."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if "PixelData" not in dataset or syntax.is_encapsulated:
        return True
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if stored == allocated:
        return True
    top = int(dataset.HighBit) + 1
    is_signed = int(dataset.PixelRepresentation) == 1
    order = ">" if syntax == known.ExplicitVRBigEndian else "<"
    kind = f"{order}{'i' if is_signed else 'u'}{allocated // 8}"
    values = np.frombuffer(dataset.PixelData, kind)
    least, most = (-(1 << (top - 1)), (1 << (top - 1)) - 1) if is_signed else (0, (1 << top) - 1)
    below = (1 << (top - stored)) - 1
    return (
        bool(values.size)
        and least <= int(values.min())
        and int(values.max()) <= most
        and not int(np.bitwise_or.reduce(values)) & below
    )


def _is_bare(dataset: FileDataset) -> bool:
    """Whether a walk through compressed frames finds nothing that it would cut out."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if "PixelData" not in dataset or not syntax.is_encapsulated:
        return True
    try:
        bare = encapsulate(frames_of(dataset, syntax))
    except UNREADABLE:
        return False
    return bool(bare == dataset.PixelData)


def _ends_with(dataset: FileDataset, content: bytes) -> bool:
    """Whether pixel data are the last of a file."""
    last = max(dataset.keys(), default=0)
    if last != tag_for_keyword("PixelData"):
        return False
    element = dataset["PixelData"]
    value = bytes(element.value)
    end = b"\xfe\xff\xdd\xe0\0\0\0\0" if element.is_undefined_length else b""
    return content.endswith(value + end)
