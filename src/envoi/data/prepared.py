"""Sets as every reader of Envoi takes them: PNG pictures of one size, and a table beside them.

    OUT/images/0000001.png, ...      numbered in the order of the set; no name of a file survives
    OUT/labels.csv                   path, label and, where they are known, patient, split, site
    OUT/prepared.json                what was asked for, and a digest of what it was made of

The table comes last, so a set that was not finished is none. `patient` is the number of a group.
"""

import csv
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from PIL import Image

from envoi.data.findings import refuse
from envoi.data.pictures import Fit, fitted
from envoi.errors import DataError, Problem, SettingsError, StorageError
from envoi.files import canonical_json, digest, read_text, write_json, write_text, writing
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo

TABLE, REQUEST = "labels.csv", "prepared.json"
_COUNT, _SOURCES = "images", "sources"
_OPTIONAL = ("patient", "split", "site")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A picture that is to be in a set.

    Attributes:
        picture: Reads it, 8-bit grey or RGB; raises `DataError` if it cannot be.
        label: Its class.
        origin: What tells its file and frame from any other, in any state of the file. Only a
            digest of all of them is kept.
        patient: Number of its patient's group, or None.
        split: `train`, `val` or `test`, or None.
        site: Hospital, or None.
    """

    picture: Callable[[], Image.Image]
    label: str
    origin: str = field(repr=False)
    patient: int | None = None
    split: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What pictures of a prepared set look like.

    Attributes:
        size_px: Height and width; None keeps what each has.
        fit: `crop` or `resize` (`envoi.data.Reading`).
        channels: 1 or 3; None keeps grey grey and colour colour, of which there must be one kind.

    Raises:
        SettingsError: A choice is none of these.
    """

    size_px: int | None = None
    fit: str = "crop"
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.channels not in {None, 1, 3}:
            remedy = "Choose 1 or 3."
            raise SettingsError(Problem("1 or 3", f"{self.channels}", "channels", remedy))
        if self.fit not in {"crop", "resize"}:
            found = repr(self.fit)[:40]
            raise SettingsError(Problem("crop or resize", found, "fit", "Choose one of them."))
        if self.size_px is not None and self.size_px < 1:
            remedy = "Choose for instance 224."
            raise SettingsError(Problem("1 or more", f"{self.size_px}", "size_px", remedy))


def write_prepared(
    out: Path,
    sources: Sequence[Source],
    *,
    pictures: Pictures,
    request: Mapping[str, Any],
    leave_out: bool = False,
    on_step: OnStep = ignore_step,
) -> int:
    """Write a set; one that was interrupted goes on where it was.

    It goes on only with the same sources: a picture that is there is known by its number alone.

    Memory: one picture.

    Args:
        out: Its folder.
        sources: In the order of the set.
        pictures: What they are to look like.
        request: Anything else that decides the result, for `prepared.json`.
        leave_out: Leave pictures that cannot be read out of the set, in place of refusing it.
        on_step: Told of each picture.

    Returns:
        How many pictures the set has.

    Raises:
        StorageError: The folder holds another set, or one of other sources, or cannot be written.
        DataError: Pictures cannot be read; all problems at once, and no table is written.
    """
    permitted = {"leave_out": True} if leave_out else {}
    made_of = {_COUNT: len(sources), _SOURCES: _digest_of(sources)}
    _begin(out, {**request, **asdict(pictures), **permitted, **made_of})
    lines: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for number, source in enumerate(sources, start=1):
        path = f"images/{number:07}.png"
        found = list(_written(out / path, source, pictures))
        if not found or not leave_out:
            problems += found
            lines.append({"path": path, "label": source.label, **_known(source)})
        on_step(StepInfo("pictures", number, len(sources), {}))
    if not lines:
        remedy = "Look at what the table of labels names."
        raise DataError(Problem("at least one picture", "none", "set", remedy))
    refuse(problems)
    _check_kinds(out, lines)
    with _going_on():
        write_text(out / TABLE, _as_csv(lines))
    return len(lines)


def class_counts(out: Path) -> dict[str, int]:
    """How many pictures of each class a finished set has, by name.

    Raises:
        StorageError: Its table cannot be read.
    """
    text = read_text(out / TABLE, what="the table of a set", remedy="Prepare the set anew.")
    counts = Counter(row["label"] for row in csv.DictReader(io.StringIO(text)))
    return dict(sorted(counts.items()))


def like_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ only in case, in spaces, or in how Unicode writes the same letters."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def check_apart(source: Path, out: Path) -> None:
    """Make sure, before long work, that a set is written neither into its source nor round it.

    Args:
        source: The folder of what it is made of.
        out: The folder of the set.

    Raises:
        SettingsError: One of the two is the other, or lies inside it.
    """
    there, wanted = source.resolve(), out.resolve()
    if wanted == there:
        found = "that folder"
    elif wanted.is_relative_to(there):
        found = "one inside it"
    elif there.is_relative_to(wanted):
        found = "one that holds it"
    else:
        return
    remedy = "Give a new folder beside it; nothing was changed."
    raise SettingsError(Problem("a folder apart from that of the files", found, "--out", remedy))


def _begin(out: Path, request: Mapping[str, Any]) -> None:
    """Keep what is asked for; a folder of another request, or a finished set, is left alone."""
    file = out / REQUEST
    if not file.exists():
        if out.is_dir() and any(out.iterdir()):
            raise _taken(out, "other files")
        write_json(file, request)
        return
    kept = json.loads(read_text(file, what="a request", remedy="Give another --out."))
    if (out / TABLE).exists():
        raise _taken(out, "a finished set")
    wanted = json.loads(canonical_json(request))
    if kept != wanted:
        made_of = {key: wanted[key] for key in (_COUNT, _SOURCES)}
        same = isinstance(kept, dict) and {**kept, **made_of} == wanted
        what = "files or labels, or of files that have changed" if same else "settings"
        raise _taken(out, f"an unfinished set of other {what}")


def _digest_of(sources: Sequence[Source]) -> str:
    """What tells these sources, in this order, from any others; it names nobody."""
    rows = [[source.origin, source.label, _known(source)] for source in sources]
    return digest(canonical_json(rows).encode())


def _taken(out: Path, found: str) -> StorageError:
    # Of other files nobody knows whether there is a copy.
    known = found != "other files"
    remedy = "Give another --out, or remove the folder." if known else "Give another --out."
    return StorageError(Problem("a folder that is new", found, out.name, remedy))


def _written(path: Path, source: Source, pictures: Pictures) -> Iterator[Problem]:
    """Write one, unless it is there; what keeps it from it."""
    if path.exists():
        return
    try:
        picture = _as_wanted(source.picture(), pictures)
    except DataError as err:
        yield from err.problems
        return
    with _going_on(), writing(path) as file:
        picture.save(file, "PNG")


@contextmanager
def _going_on() -> Iterator[None]:
    """Say of what keeps a file from being written that nothing is lost that is there already."""
    try:
        yield
    except StorageError as err:
        remedy = (
            "Free some space, or mend the folder, and give the same command again: it goes on with "
            "the pictures that are there."
        )
        raise StorageError(*(replace(problem, remedy=remedy) for problem in err.problems)) from err


def _as_wanted(picture: Image.Image, pictures: Pictures) -> Image.Image:
    if pictures.channels is not None:
        picture = picture.convert("L" if pictures.channels == 1 else "RGB")
    if pictures.size_px is None:
        return picture
    return fitted(picture, pictures.size_px, cast("Fit", pictures.fit))


def _known(source: Source) -> dict[str, Any]:
    values = {name: getattr(source, name) for name in _OPTIONAL}
    return {name: value for name, value in values.items() if value is not None}


def _check_kinds(out: Path, lines: list[dict[str, Any]]) -> None:
    """One kind of pixels throughout: a set of grey and colour pictures has no meaning."""
    kinds = set()
    for line in lines:
        with Image.open(out / line["path"]) as picture:
            kinds.add(picture.mode)
    if len(kinds) > 1:
        remedy = "Choose --channels 1 or 3 (in Python: channels=...), in a folder that is new."
        raise DataError(Problem("grey or colour pictures", "both", "set", remedy))


def _as_csv(lines: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = ["path", "label", *(name for name in _OPTIONAL if all(name in line for line in lines))]
    table = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()
