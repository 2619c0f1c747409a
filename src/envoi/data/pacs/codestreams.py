"""Compressed pictures without what was written around and between their pixels.

Comments, blocks of cameras, thumbnails, and whatever stands behind a picture: programs have put
names there. Each frame is walked from its first marker to its last (`jpeg`, `jpeg2000`,
`run_lengths`), only what makes the picture is kept, and a frame that cannot be walked is none. No
bit of the coded pixels is touched, and nothing is decoded.
"""

from pydicom import Dataset
from pydicom import uid as known
from pydicom.encaps import generate_frames

from envoi.data.pacs import jpeg, jpeg2000, run_lengths
from envoi.data.pacs.stored_bits import sample_of

_JPEG = {
    known.JPEGBaseline8Bit,
    known.JPEGExtended12Bit,
    known.JPEGLossless,
    known.JPEGLosslessSV1,
}
_JPEG_LS = {known.JPEGLSLossless, known.JPEGLSNearLossless}
_JPEG_2000 = {
    known.JPEG2000Lossless,
    known.JPEG2000,
    known.HTJ2KLossless,
    known.HTJ2KLosslessRPCL,
    known.HTJ2K,
}


def frames_of(image: Dataset, syntax: str) -> list[bytes]:
    """The frames of an image as they are coded, with all that is no picture cut out of them.

    Args:
        image: Pixel Data in a compressed transfer syntax, and what says how large they are.
        syntax: UID of that transfer syntax.

    Raises:
        ValueError: A frame is missing, is no picture of that syntax, or is cut off.
    """
    count = int(image.get("NumberOfFrames") or 1)
    found = list(generate_frames(image.PixelData, number_of_frames=count))[:count]
    if len(found) < count:
        raise ValueError("less than a picture")
    if syntax in _JPEG:
        return [jpeg.picture_of(frame) for frame in found]
    if syntax in _JPEG_LS:
        return [jpeg.picture_of(frame, is_ls=True) for frame in found]
    if syntax in _JPEG_2000:
        return [jpeg2000.picture_of(frame) for frame in found]
    if syntax != known.RLELossless:
        raise ValueError("a syntax that is not walked")
    sample, size = sample_of(image), image.Rows * image.Columns
    tables = run_lengths.tables_of(sample) * image.SamplesPerPixel
    return [run_lengths.picture_of(frame, size, tables) for frame in found]
