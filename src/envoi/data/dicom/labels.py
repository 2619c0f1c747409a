"""Labels of DICOM images from a CSV table that names studies, series, images or accessions.

The table has one column called as DICOM calls it (`StudyInstanceUID`, `SeriesInstanceUID`,
`SOPInstanceUID` or `AccessionNumber`), a column `label`, and where there are such, `split` and
`site`. Messages name its lines, never what is written there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.findings import refuse
from envoi.data.rows import Columns, Table, header_of, read_table
from envoi.errors import DataError, Problem

KEYS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber")
_LONGEST_ACCESSION = 16

Hidden = Callable[[str, str], str]
"""From a keyword and a value as the hospital knows it to the pseudonym that files bear."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a line says of all that it names; `name` is what it calls that, and in no repr."""

    line: int
    label: str
    split: str | None
    site: str | None
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A table of labels.

    Attributes:
        key: The DICOM keyword by which it names images.
        rows: What it says, by the value of that in files.
        hidden: How values of the table became those of files, if these are pseudonyms.
    """

    key: str
    rows: dict[str, Labelled] = field(repr=False)
    hidden: Hidden | None = None

    def with_other_zeros(self, said: Labelled) -> Iterator[str]:
        """What files may bear if zeros at the beginning of an accession number got lost.

        Spreadsheets take them away: `00123` becomes `123`.
        """
        if self.key == "AccessionNumber" and said.name.isdecimal():
            bare = said.name.lstrip("0")
            for length in range(len(bare), _LONGEST_ACCESSION + 1):
                number = bare.rjust(length, "0")
                if number not in {"", said.name}:
                    yield self.hidden(self.key, number) if self.hidden else number


def read_labels(
    path: Path,
    *,
    label: str = "label",
    hidden: Hidden | None = None,
) -> Labels:
    """Read a table.

    Args:
        path: UTF-8, commas, a first line of column names.
        label: Name of the column of labels.
        hidden: For files that bear pseudonyms; None where they bear what the table has.

    Raises:
        StorageError: The table cannot be read.
        DataError: Its header or its cells are wrong, or it names something twice.
    """
    header = header_of(path)
    keys = [key for key in KEYS if key in header]
    if len(keys) != 1:
        remedy = f"Call the column that names the images one of {', '.join(KEYS)}."
        found = f"{len(keys) or 'none'}"
        raise DataError(Problem("one column that names images", found, "table, line 1", remedy))
    if header.count(label) != 1:
        found = f"{header.count(label) or 'none'} among {len(header)}"
        remedy = (
            "Name it in the header, or give its name with --label-column NAME (in Python: "
            "label=...)."
        )
        raise DataError(Problem(f"one column called {label!r}", found, "table, line 1", remedy))
    table = read_table(path, Columns(path=keys[0], label=label), patients_elsewhere=True)
    refuse(_repeated(table))
    nobody: list[str | None] = [None] * len(table)
    rows = {}
    for name, line, said, split, site in zip(
        table.paths,
        table.lines,
        table.labels,
        table.splits or nobody,
        table.sites or nobody,
        strict=True,
    ):
        rows[hidden(keys[0], name) if hidden else name] = Labelled(line, said, split, site, name)
    return Labels(keys[0], rows, hidden)


def hidden_by(pseudonyms: Pseudonyms) -> Hidden:
    """What stands in pseudonymous files for what a table calls them, for `read_labels`."""

    def hidden(key: str, name: str) -> str:
        return pseudonyms.accession(name) if key == "AccessionNumber" else pseudonyms.uid(name)

    return hidden


def _repeated(table: Table) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for line, name in zip(table.lines, table.paths, strict=True):
        if name in first:
            found = f"one also in line {first[name]}"
            remedy = "Remove one of the lines."
            problems.append(Problem("each name once", found, f"table, line {line}", remedy))
        first.setdefault(name, line)
    return problems
