"""Stored values of a frame, and whether a decoder for them is installed."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, JPEGExtended12Bit

from envoi.data.dicom.quiet import quietly
from envoi.errors import DataError, Problem

_REMEDY = "In Envoi's repository run: pip install '.[decoders]', or export without compression."
_EXTRA = ("libjpeg", "openjpeg")
"""Plugins of pylibjpeg that the extra `decoders` brings."""


def problems_of_decoder(header: Dataset, where: str) -> Iterator[Problem]:
    """A transfer syntax that nothing installed can decode.

    Args:
        header: With the file's meta information.
        where: What messages call the file.
    """
    meta = vars(header).get("file_meta") or Dataset()
    syntax = UID(meta.get("TransferSyntaxUID") or "")
    if syntax and not _has_decoder(syntax, int(header.get("BitsStored") or 0)):
        is_unknown = syntax.name == syntax
        found = "an unknown transfer syntax" if is_unknown else f"the transfer syntax {syntax.name}"
        remedy = _REMEDY if _is_of_extra(syntax) else "Export without compression."
        yield Problem("pixels that can be decoded", found, where, remedy)


def decoded(file: Dataset, frame: int, where: str) -> NDArray[np.generic]:
    """Stored values of a frame; YBR as RGB.

    Raises:
        DataError: There is no decoder for them, or they are missing, damaged or cut off.
    """
    try:
        with quietly():  # of padding and wrong lengths, too; what is too short is an error
            return pixel_array(file, index=frame)
    except Exception:  # noqa: BLE001  (damaged files raise whatever their bytes lead to)
        raise DataError(_why_not(file, where)) from None


def _why_not(file: Dataset, where: str) -> Problem:
    try:
        with quietly():
            for problem in problems_of_decoder(file, where):
                return problem
    except Exception:  # noqa: BLE001, S110  (as above; then it is damaged)
        pass
    remedy = "Export the file again: its pixels are missing, damaged or cut off."
    return Problem("whole pixels", "others", where, remedy)


def _has_decoder(syntax: UID, bits: int) -> bool:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return False
    if syntax == JPEGExtended12Bit and bits > 8:  # Pillow decodes those of 8 bits alone
        return bool(set(decoder.available_plugins) - {"pillow"})
    return decoder.is_available


def _is_of_extra(syntax: UID) -> bool:
    """Whether the extra `decoders` would bring a decoder that is missing."""
    try:
        missing = get_decoder(syntax).missing_dependencies
    except NotImplementedError:
        return False
    return any(f"pylibjpeg-{plugin}" in words for words in missing for plugin in _EXTRA)
