"""The folder of a pull: `PATIENT/INSTANCE.dcm`, both pseudonyms, and `pull.json`.

The files are the truth: what is there is not fetched again, and what was taken away is. `pull.json`
holds what files cannot tell: under which key and settings they were pulled, which objects are no
images, and by which pseudonyms two people with one id are told apart. A kill between two files
loses at the most a part of that, which is learned again.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envoi.data.pacs.deidentify import Reason
from envoi.data.pacs.people import Signs
from envoi.data.prepared import REQUEST
from envoi.errors import DataError, Problem, SettingsError, StorageError
from envoi.files import NO_SPACE, check_folder, read_text, write_bytes, write_json
from envoi.wording import counted

STATE = "pull.json"
_LOCK = ".pull.lock"
_FORMAT = 1
_REMEDY = "Pull into a new folder, or give the key and the options of the first pull."
_FULL = "Free some space and run the same command again; what was pulled is kept."


@dataclass(frozen=True, slots=True)
class Terms:
    """What all files of one folder have in common.

    Attributes:
        key: Fingerprint of the key of their pseudonyms.
        shared_ids: Whether all that bear one id are one patient.
        characteristics: Whether sex and age are kept.
    """

    key: str
    shared_ids: bool = False
    characteristics: bool = False


@dataclass(slots=True)
class Notes:
    """What `pull.json` holds.

    Attributes:
        terms: Of the folder.
        left_out: Objects that were fetched and are not taken, by pseudonym, with the reason.
        people: Whose images are here, by pseudonym.
        shared: Pseudonyms of ids of more than one person.
    """

    terms: Terms
    left_out: dict[str, Reason] = field(default_factory=dict)
    people: Mapping[str, Signs] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()


class Shelf:
    """A folder that is being filled, by one process at a time.

    Args:
        folder: Where; made if need be.
        terms: What its files have in common.

    Raises:
        StorageError: The folder cannot be used, or its notes cannot be read.
        SettingsError: It was filled under other terms.
        DataError: Its notes are damaged.
    """

    def __init__(self, folder: Path, terms: Terms) -> None:
        check_folder(folder)
        self._folder = folder
        self.notes = _read_notes(folder / STATE, terms)
        self._instances = _instances_in(folder)

    def __contains__(self, instance: str) -> bool:
        return instance in self._instances

    def __len__(self) -> int:
        return len(self._instances)

    def put(self, patient: str, instance: str, content: bytes) -> None:
        """Write one file, whole or not at all.

        Raises:
            StorageError: The disk is full, or the folder cannot be written.
        """
        path = self._folder / patient / f"{instance}.dcm"
        try:
            write_bytes(path, content, mode=0o600)
        except StorageError as err:
            raise self._full(err) from err
        self._instances.add(instance)

    def write_notes(self) -> None:
        """Write `pull.json`.

        Raises:
            StorageError: The disk is full, or the folder cannot be written.
        """
        notes = self.notes
        value = {
            "format": _FORMAT,
            "terms": asdict(notes.terms),
            "left_out": {uid: str(reason) for uid, reason in sorted(notes.left_out.items())},
            "people": {name: asdict(signs) for name, signs in sorted(notes.people.items())},
            "shared": sorted(notes.shared),
        }
        try:
            write_json(self._folder / STATE, value)
        except StorageError as err:
            raise self._full(err) from err

    def _full(self, err: StorageError) -> StorageError:
        cause = err.__cause__
        if not isinstance(cause, OSError) or cause.errno not in NO_SPACE:
            return err
        found = f"none after {counted(len(self), 'image')}"
        return StorageError(Problem("space for the next image", found, "disk", _FULL))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, no other process fills the folder, and files that a kill left half written are gone.

    Raises:
        StorageError: Another process fills it, it is a prepared set, or it cannot be written.
    """
    check_folder(folder)
    _check_ours(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / _LOCK).open("w")
    except OSError as err:
        found, remedy = err.strerror or "an error", "Choose another folder."
        raise StorageError(Problem("a writable folder", found, folder.name, remedy)) from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            remedy = "Wait until it is done, or choose another folder."
            found = "another pull that runs"
            raise StorageError(Problem("a folder of its own", found, folder.name, remedy)) from err
        for half in (*folder.glob(f".{STATE}.*"), *folder.glob("*/.*.dcm.*")):
            half.unlink(missing_ok=True)
        yield


def _check_ours(folder: Path) -> None:
    """Refuse a prepared set, finished or not: its folder is not to be filled by anything else."""
    if (folder / REQUEST).exists():
        expected, remedy = "a new folder, or that of an earlier pull", "Choose another folder."
        raise StorageError(Problem(expected, "a prepared set", folder.name, remedy))


def _instances_in(folder: Path) -> set[str]:
    """Pseudonyms of the files that are there."""
    return {file.stem for file in folder.glob("*/2.25.*.dcm")}


def _read_notes(path: Path, terms: Terms) -> Notes:
    if not path.exists():
        return Notes(terms)
    remedy = "Restore pull.json from a copy, or pull into a new folder."
    text = read_text(path, what="the notes of a pull", remedy=remedy)
    try:
        notes = _parsed(json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError):
        problem = Problem("the notes of a pull", "something else", path.name, remedy)
        raise DataError(problem) from None
    if notes.terms != terms:
        names = [
            name for name in asdict(terms) if getattr(terms, name) != getattr(notes.terms, name)
        ]
        found = f"another {' and '.join(names)}".replace("_", " ")
        expected = "the key and options of the first pull"
        raise SettingsError(Problem(expected, found, path.name, _REMEDY))
    return notes


def _parsed(value: dict[str, Any]) -> Notes:
    """Notes from JSON; raises whatever a value that is wrong happens to raise."""
    if value["format"] != _FORMAT:
        raise ValueError("another format")
    return Notes(
        Terms(**value["terms"]),
        {uid: Reason(reason) for uid, reason in value["left_out"].items()},
        {name: Signs(**signs) for name, signs in value["people"].items()},
        frozenset(value["shared"]),
    )
