"""A list of accession numbers, and which of its lines an archive has nothing of.

An accession number names a patient's examination, so messages name lines of the list, never what
is written there.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from envoi.data.findings import together
from envoi.errors import DataError, Problem
from envoi.files import read_text
from envoi.wording import counted

_MOST = 16
# In a query these stand for any text, or for a list: a number with one would match others.
WILD = re.compile(r"[*?\\]|[\x00-\x1f\x7f]")
_SEPARATORS = re.compile(r"[,;]")
_REMEDY = (
    "Give a text file with one accession number in each line and nothing else: no header, no "
    "other columns."
)


@dataclass(frozen=True, slots=True)
class Accessions:
    """A list of accession numbers; a repr shows none.

    Attributes:
        numbers: Each once, in the order of the list.
        lines: Where each stands first.
    """

    numbers: tuple[str, ...] = field(default=(), repr=False)
    lines: tuple[int, ...] = ()

    def told(self, missing: Collection[int]) -> Iterator[str]:
        """How many numbers were found, where the others stand, and what may be wrong with these.

        Args:
            missing: Places in `numbers`, from 0, of those that no study has.
        """
        count = len(self.numbers)
        yield f"{count - len(missing)} of {counted(count, 'accession number')} found."
        if not missing:
            return
        lines = together([f"line {self.lines[place]}" for place in missing])
        yield f"Not found: what stands in {lines} of the list."
        numbers = [self.numbers[place] for place in missing]
        if any(_SEPARATORS.search(number) for number in numbers):
            yield f"Some of these lines have commas or semicolons. {_REMEDY}"
        if 0 in missing and not any(sign.isdecimal() for sign in self.numbers[0]):
            yield f"The first line of the list is like the header of a table. {_REMEDY}"
        if any(number.isdecimal() for number in numbers):
            yield (
                "Zeros at the beginning count: a spreadsheet takes them away unless the column is "
                "text."
            )


def read_accessions(path: Path) -> Accessions:
    """Read accession numbers, one in a line; blank lines are skipped.

    Raises:
        StorageError: The file cannot be read.
        DataError: A line is no accession number, or there is none. Lines are named by their number.
    """
    text = read_text(path, what="a list of accession numbers", remedy=_REMEDY, is_written=True)
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    numbers = {line: number for line, number in lines if number}
    wrong = [f"line {line}" for line, number in numbers.items() if not _is_accession(number)]
    if wrong or not numbers:
        where = f"accession numbers, {together(wrong)}" if wrong else "accession numbers"
        expected = "1 to 16 characters without * ? or backslash"
        raise DataError(Problem(expected, "something else" if wrong else "none", where, _REMEDY))
    first = {number: line for line, number in reversed(numbers.items())}
    once = sorted(first.items(), key=lambda item: item[1])
    return Accessions(tuple(number for number, _ in once), tuple(line for _, line in once))


def _is_accession(number: str) -> bool:
    return len(number) <= _MOST and not WILD.search(number)
