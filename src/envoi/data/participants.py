"""`participants.tsv` of BIDS: who the subjects of a folder are, by pseudonym, age and sex."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoi.data.findings import refuse
from envoi.errors import DataError, Problem
from envoi.files import read_text, write_text
from envoi.volumes import Sex
from envoi.wording import counted

TABLE = "participants.tsv"

_OLDEST_YEARS = 120
_UNKNOWN = {"", "n/a"}
_SEXES: dict[str, Sex | None] = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": None,
    "other": None,
}


@dataclass(frozen=True, slots=True)
class Participant:
    """One row of the table.

    Attributes:
        line: Of the file, from 1, for messages: an id may tell who the patient is.
        age_years: None where it is not known.
        sex: None where it is not known, or neither female nor male.
    """

    line: int
    age_years: float | None
    sex: Sex | None


def read_participants(folder: Path) -> dict[str, Participant]:
    """Rows of the folder's `participants.tsv` by `participant_id`.

    Columns, in any case, are `participant_id` and `age` (years, or n/a), and perhaps `sex` or
    `gender` (f, m, female, male, other, n/a, in any case; `sex` counts where both are there).

    Raises:
        StorageError: There is no table, or it is no text.
        DataError: Columns are missing or there twice, or rows are wrong; all of them at once.
    """
    rows: dict[str, Participant] = {}
    problems: list[Problem] = []
    for line, cells in _lines(folder / TABLE):
        name = (cells["participant_id"] or "").strip()
        problems += _problems_of_name(name, line, rows)
        if _is_too_long(cells):
            found, remedy = "more of them", "Take out what is too much: names may have moved."
            problems.append(
                Problem("a cell for each column", found, f"{TABLE}, line {line}", remedy)
            )
        age, sex = _age(cells), _sex(cells)
        problems += [
            Problem(value.expected, "another value", f"{TABLE}, line {line}", value.remedy)
            for value in (age, sex)
            if isinstance(value, _Wrong)
        ]
        if not isinstance(age, _Wrong) and not isinstance(sex, _Wrong):
            rows.setdefault(name, Participant(line, age, sex))
    refuse(problems)
    return rows


def write_participants(
    folder: Path,
    persons: Mapping[str, tuple[float | None, Sex | None]],
    more: Mapping[str, Sequence[str]],
) -> None:
    """Write the table of persons, in the form that `read_participants` reads.

    Args:
        folder: Where `participants.tsv` appears.
        persons: Age in years and sex by participant_id; None is not known.
        more: Further columns by name, a cell for each person.

    Raises:
        StorageError: The table cannot be written.
    """
    rows = ["\t".join(["participant_id", "age", "sex", *more])]
    for (name, (age_years, sex)), *cells in zip(persons.items(), *more.values(), strict=True):
        age = "n/a" if age_years is None else f"{age_years:g}"
        rows.append("\t".join([name, age, sex or "n/a", *cells]))
    write_text(folder / TABLE, "\n".join(rows) + "\n")


@dataclass(frozen=True, slots=True)
class _Wrong:
    expected: str
    remedy: str


def _is_too_long(cells: Mapping[Any, Any]) -> bool:
    """Whether a row has more cells than columns that are not empty: `csv` keeps them under None."""
    return any(cell.strip() for cell in cells.get(None, ()))


def _lines(file: Path) -> list[tuple[int, dict[str, str | None]]]:
    """Line numbers and cells by column."""
    remedy = "Put a table with the columns participant_id and age beside the scans."
    text = read_text(file, what="a table of participants", remedy=remedy, is_written=True)
    reader = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = columns
        cells = [(reader.line_num, row) for row in reader]
    except csv.Error:
        remedy = "Save the table as plain text with tabs between its columns."
        raise DataError(Problem("a table", "broken lines", file.name, remedy)) from None
    _check_columns(columns, file.name)
    return cells


def _check_columns(columns: list[str], where: str) -> None:
    needed = ("participant_id", "age")
    missing = [name for name in needed if name not in columns]
    if missing:
        remedy = "Name the columns so in the first line, with tabs between them."
        expected = f"columns called {' and '.join(missing)}"
        others = counted(len(set(columns) - set(needed)), "other")
        found = "commas in place of tabs" if len(columns) == 1 and "," in columns[0] else others
        raise DataError(Problem(expected, found, where, remedy))
    for name in (*needed, "sex", "gender"):
        if columns.count(name) > 1:
            remedy = "Take out or rename what is not meant."
            raise DataError(Problem(f"one column {name}", f"{columns.count(name)}", where, remedy))


def _age(cells: dict[str, str | None]) -> float | _Wrong | None:
    text = (cells["age"] or "").strip()
    if text.lower() in _UNKNOWN:
        return None
    expected = f"an age from 0 to {_OLDEST_YEARS} years, or n/a"
    wrong = _Wrong(expected, "Write the age as a number with a point.")
    try:
        age = float(text)
    except ValueError:
        return wrong
    return age if 0 <= age <= _OLDEST_YEARS else wrong


def _sex(cells: dict[str, str | None]) -> Sex | _Wrong | None:
    column = "sex" if "sex" in cells else "gender"
    text = (cells.get(column) or "").strip().lower()
    if text in _UNKNOWN:
        return None
    if text not in _SEXES:
        return _Wrong("a sex among f, m, female, male, other and n/a", "Write it as one of them.")
    return _SEXES[text]


def _problems_of_name(name: str, line: int, rows: dict[str, Participant]) -> Iterator[Problem]:
    where = f"{TABLE}, line {line}"
    if not name or "_" in name:
        remedy = "Name it as BIDS does, such as sub-01."
        found = "one with '_'" if name else "none"
        yield Problem("a participant_id without '_'", found, where, remedy)
    elif name in rows:
        remedy = "Keep one row for each person; sessions stand in the names of files."
        found = f"that of line {rows[name].line}"
        yield Problem("each participant_id once", found, where, remedy)
