"""Volumes that can be turned in the page: NiiVue, taken from the installed package `ipyniivue`.

The package's widget is one ES module without imports, which holds NiiVue's class and exports the
widget alone. The page carries the module in itself, with its export replaced by a global name; it
asks the network for nothing, and its content policy permits these two scripts by their digests.
Without the package, or with one whose module is built otherwise, the page keeps its pictures.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import numpy as np
from markupsafe import Markup

from envoi.data.nifti import nifti_bytes
from envoi.report.rendering import POLICY
from envoi.report.volumes.sets import VolumeSets
from envoi.volumes import Volume, Voxels

PACKAGE = "ipyniivue"
WIDGET = "ipyniivue/static/widget.js"
SYNTHETIC = 2

_CLASS = re.compile(r'"Creating new Niivue instance"\);.{0,400}?[\w$]+=new ([\w$]+)\(', re.DOTALL)
_EXPORT = re.compile(r"export\{[\w$]+ as default\};?\s*\Z")
_UNFIT = re.compile(r"</script|<!--|\0", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """One volume that can be looked at.

    Attributes:
        key: Its element's id in the page.
        title: What it is.
        content: A gzipped NIfTI file in base64.
    """

    key: str
    title: str
    content: Markup


@dataclass(frozen=True, slots=True)
class Viewer:
    """What the page needs to show volumes in 3D.

    Attributes:
        library: Puts NiiVue's class at `globalThis.Niivue`.
        script: Uses it.
        licence: NiiVue's.
        choices: The volumes.
    """

    library: Markup
    script: Markup
    licence: str
    choices: tuple[Choice, ...]

    @property
    def policy(self) -> str:
        """The page's content policy: the two scripts and no other."""
        allowed = " ".join(f"'sha256-{_digest(text)}'" for text in (self.library, self.script))
        return f"{POLICY}; script-src {allowed}"


def viewer(sets: VolumeSets) -> Viewer | None:
    """NiiVue with one real and two synthetic volumes; None where it is not installed."""
    found = installed()
    if found is None:
        return None
    widget, licence = found
    library = exposed(widget)
    if library is None:
        return None
    script = files("envoi.report").joinpath("templates/viewer.js").read_text(encoding="utf-8")
    return Viewer(Markup(library), Markup(script), licence, tuple(_choices(sets)))  # noqa: S704


def installed() -> tuple[str, str] | None:
    """The widget's module and its licence; None where the package is not installed."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    # Read as a file: importing the package would load all of Jupyter's widgets.
    try:
        widget = Path(str(package.locate_file(WIDGET))).read_text(encoding="utf-8")
    except OSError:
        return None
    return widget, package.read_text("licenses/LICENSE") or ""


def exposed(widget: str) -> str | None:
    """The module with NiiVue's class at `globalThis.Niivue` in place of its export.

    None where the class or the export is not found exactly once, or where the text would end the
    script element that it is put into.
    """
    module = re.sub(r"\r\n?", "\n", widget)  # as a browser reads it, so that digests agree
    names = set(_CLASS.findall(module))
    text, replaced = _EXPORT.subn("", module)
    if len(names) != 1 or replaced != 1 or _UNFIT.search(text):
        return None
    return f"{text}globalThis.Niivue={names.pop()};"


def shown(sets: VolumeSets) -> tuple[tuple[str, Voxels], ...]:
    """The volumes to look at: the first real one that was held out, the first synthetic ones."""
    made = (
        (f"Synthetic {number}", voxels)
        for number, voxels in enumerate(sets.synthetic[:SYNTHETIC], start=1)
    )
    return ((f"{sets.real_word.capitalize()}, held out", sets.held_out[0]), *made)


def _choices(sets: VolumeSets) -> Iterable[Choice]:
    for number, (title, voxels) in enumerate(shown(sets)):
        content = nifti_bytes(
            Volume(np.ascontiguousarray(voxels), sets.grid),
            stored_as="uint8",
            mark="Synthetic" if number else "",
        )
        packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
        yield Choice(f"volume-{number}", title, Markup(packed))  # noqa: S704


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
