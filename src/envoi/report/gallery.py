"""Pictures of a run's gallery, embedded; only PNG files inside the folder are ever read."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from envoi.results import Picture

GALLERY = "gallery"
SMALL_PX = 64
ROW_ASPECT = 2.5


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture that the page carries in itself.

    Attributes:
        uri: `data:image/png;base64,...`
        caption: What it shows.
        width_px: Of the stored picture.
        height_px: Of the stored picture.
    """

    uri: str
    caption: str
    width_px: int
    height_px: int

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width_px / self.height_px

    @property
    def is_row(self) -> bool:
        """Whether it is a row of images side by side, which takes the page's width."""
        return self.aspect > ROW_ASPECT

    @property
    def is_small(self) -> bool:
        """Whether it is enlarged pixel by pixel."""
        return self.height_px <= SMALL_PX


def embed(folder: Path, pictures: tuple[Picture, ...]) -> tuple[EmbeddedPicture, ...]:
    """The pictures that are there, in order; what is missing or no PNG is left out.

    Args:
        folder: The run's folder.
        pictures: Named by the run's result, relative to the folder or to its gallery.
    """
    read = [(picture, _content(folder, picture.file)) for picture in pictures]
    return tuple(_embedded(picture, content) for picture, content in read if content)


def _content(folder: Path, name: str) -> bytes:
    """The PNG file of that name in the gallery, or nothing."""
    try:
        gallery = (folder / GALLERY).resolve()
        file = (gallery / name.removeprefix(f"{GALLERY}/")).resolve()
        content = file.read_bytes() if file.is_relative_to(gallery) else b""
    except (OSError, ValueError):  # a name that no file can have
        return b""
    return content if _is_png(content) else b""


def _is_png(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError):
        return False
    return True


def _embedded(picture: Picture, content: bytes) -> EmbeddedPicture:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        width, height = image.size
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return EmbeddedPicture(uri, picture.caption, width, height)
