"""CSV tables to checked columns of text: the header, the cells, and nothing guessed.

Messages name lines of the table, never what is written there: any cell may hold the name of a
patient, and so may the header of a table that has none.
"""

import csv
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envoi.data.findings import merged
from envoi.errors import DataError, EnvoiWarning, Problem
from envoi.files import read_text
from envoi.wording import counted

_LIKE_PATIENT = {"case", "case_id", "lesion_id", "patient_id", "patientid", "subject", "subject_id"}
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_DEFAULTS = {"patient": "patient", "split": "split", "site": "site"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns. An optional one that is None is read if it bears its default name.

    Attributes:
        path: File of the picture, from the table's folder.
        label: Class, by name or by number.
        patient: Anything that is equal for pictures of one patient; default name `patient`.
        split: `train`, `val`, `validation` or `test`; default name `split`.
        site: Hospital the picture comes from; default name `site`.
    """

    path: str = "path"
    label: str = "label"
    patient: str | None = None
    split: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The used columns of a table; `lines` are where its rows end, for messages."""

    lines: list[int]
    paths: list[str]
    labels: list[str]
    patients: list[str] | None
    splits: list[str] | None
    sites: list[str] | None

    def __len__(self) -> int:
        return len(self.lines)


def read_table(path: Path, columns: Columns, *, patients_elsewhere: bool = False) -> Table:
    """Read the used columns of a CSV file.

    Args:
        path: UTF-8, commas, a first line of column names.
        columns: Names of the columns.
        patients_elsewhere: Patients are known from elsewhere, so nothing is said of columns that
            are like `patient`.

    Raises:
        StorageError: The file cannot be read.
        DataError: A column is missing or twice there, or a line has other cells than the header.
    """
    remedy = "Give a CSV file with the columns path and label."
    text = read_text(path, what="a table of images", remedy=remedy, is_written=True)
    lines, rows = _cells(text)
    if len(rows) < 2:
        raise DataError(
            Problem("a header and at least one row", counted(len(rows), "line"), "table", remedy)
        )
    header, rows, lines = rows[0], rows[1:], lines[1:]
    used = _used(header, columns)
    problems = [*_problems_of_header(header, used), *_problems_of_cells(header, used, lines, rows)]
    if problems:
        raise DataError(*merged(problems))
    if not patients_elsewhere:
        _warn_of_patients(header, used)
    values = {key: [row[header.index(name)] for row in rows] for key, name in used.items()}
    return Table(
        lines,
        values["path"],
        values["label"],
        values.get("patient"),
        values.get("split"),
        values.get("site"),
    )


def header_of(path: Path) -> list[str]:
    """The names in the first line of a CSV file.

    Raises:
        StorageError: The file cannot be read.
        DataError: It is empty, or its quotes are wrong.
    """
    remedy = "Give a CSV file whose first line names its columns."
    text = read_text(path, what="a table", remedy=remedy, is_written=True)
    _, rows = _cells(text)
    if not rows:
        raise DataError(Problem("a line of column names", "nothing", "table", remedy))
    return rows[0]


def read_columns(
    path: Path, names: Sequence[str], *, what: str, remedy: str
) -> list[tuple[int, tuple[str, ...]]]:
    """Some columns of a CSV file of any kind: line and cells of each row; a cell may be empty.

    Args:
        path: UTF-8, commas, a first line of column names.
        names: Of the columns, in the order wanted.
        what: What messages call the table.
        remedy: What to do if it is not there, or another table.

    Raises:
        StorageError: The file cannot be read.
        DataError: A column is missing or twice there, or a line has other cells than the header.
    """
    text = read_text(path, what=f"the table {what}", remedy=remedy, is_written=True)
    lines, rows = _cells(text, what)
    header = rows[0] if rows else []
    problems = [
        Problem(f"one column called {name!r}", f"{header.count(name) or 'none'}", what, remedy)
        for name in names
        if header.count(name) != 1
    ]
    problems += [
        Problem(f"{len(header)} cells", f"{len(row)}", f"{what}, line {line}", remedy)
        for line, row in zip(lines, rows, strict=True)
        if len(row) != len(header)
    ]
    if problems:
        raise DataError(*merged(problems))
    places = [header.index(name) for name in names]
    return [
        (line, tuple(row[place] for place in places))
        for line, row in zip(lines[1:], rows[1:], strict=True)
    ]


def _cells(text: str, what: str = "table") -> tuple[list[int], list[list[str]]]:
    """All rows that are not blank, and the line that each ends on."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    lines, rows = [], []
    try:
        for row in reader:
            if row:
                lines.append(reader.line_num)
                rows.append(row)
    except csv.Error as err:
        where = f"{what}, line {reader.line_num}"
        remedy = "Mend the quotes of the line, or save the table again as CSV."
        raise DataError(Problem("cells as RFC 4180 has them", f"{err}", where, remedy)) from None
    _check_separator(rows, what)
    return lines, rows


def _check_separator(rows: list[list[str]], what: str) -> None:
    """A header of one cell that holds other separators is of another kind of table."""
    if rows and len(rows[0]) == 1:
        for separator, name in _OTHER_SEPARATORS.items():
            if separator in rows[0][0]:
                remedy = (
                    f"Save the table as CSV with commas between cells. Where {name} separate them, "
                    "a spreadsheet writes what its language is used to."
                )
                expected = "names of columns with commas between them"
                raise DataError(Problem(expected, name, f"{what}, line 1", remedy))


def _used(header: list[str], columns: Columns) -> dict[str, str]:
    """Header names of the columns to be read, by what they mean."""
    used = {"path": columns.path, "label": columns.label}
    for key, default in _DEFAULTS.items():
        name = getattr(columns, key)
        if name is not None or default in header:
            used[key] = name or default
    return used


def _problems_of_header(header: list[str], used: dict[str, str]) -> Iterator[Problem]:
    for key, name in used.items():
        count = header.count(name)
        if count != 1:
            found = f"{count or 'none'} among {len(header)}"
            remedy = (
                f"Name it in the header, or give its name with --column {key}=NAME (in Python: "
                f"Columns({key}=...)); cells end with commas."
            )
            yield Problem(f"one column called {name!r}", found, "table, line 1", remedy)


def _problems_of_cells(
    header: list[str], used: dict[str, str], lines: list[int], rows: list[list[str]]
) -> Iterator[Problem]:
    places = {name: header.index(name) for name in used.values() if name in header}
    for line, row in zip(lines, rows, strict=True):
        where = f"table, line {line}"
        if len(row) != len(header):
            remedy = "Give each line as many cells as the header has."
            yield Problem(f"{len(header)} cells", f"{len(row)}", where, remedy)
            continue
        for name, place in places.items():
            if not row[place] or row[place] != row[place].strip():
                found = "spaces around it" if row[place].strip() else "nothing"
                remedy = f"Fill in column {name!r}, without spaces around it."
                yield Problem("a value", found, where, remedy)


def _warn_of_patients(header: list[str], used: dict[str, str]) -> None:
    """A patient column under another name would let a patient into two parts unseen."""
    if "patient" in used:
        return
    for name in header:
        if name.lower() in {*_LIKE_PATIENT, "patient"}:
            warnings.warn(
                f"The table's column {name!r} is not used, so one patient may be in training "
                f"and test at once. If it names patients, give --column patient={name} (in Python: "
                f"Columns(patient={name!r})).",
                EnvoiWarning,
                stacklevel=5,
            )
