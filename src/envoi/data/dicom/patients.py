"""Whose image a DICOM file is: numbers of groups, and what tells that a number is of two people.

A patient is a PatientID and its issuer. What they are goes no further than this module.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom import Dataset

from envoi.data.findings import together
from envoi.errors import Problem

_EXPECTED = "one person under a patient's number"


@dataclass(slots=True)
class Patients:
    """Who was met so far; a repr shows nobody."""

    _groups: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    # Each with the place of the first file that told it.
    _issuers: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _persons: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict, repr=False)

    def group(self, header: Dataset) -> int:
        """Number of the group of this patient's images, from 0 by first appearance."""
        return self._groups.setdefault(_number_and_issuer(header), len(self._groups))

    def meet(self, header: Dataset, where: str) -> Iterator[Problem]:
        """What tells that this patient's number is of two people, or may be.

        Args:
            header: Of the next file.
            where: What messages call it.
        """
        yield from self._other_issuer(header, where)
        yield from self._other_person(header, where)

    def _other_issuer(self, header: Dataset, where: str) -> Iterator[Problem]:
        """A number with and without an issuer may be of one person or of two."""
        number, issuer = _number_and_issuer(header)
        met = self._issuers.setdefault(number, {})
        known = issuer in met
        met.setdefault(issuer, where)
        if number and not known and "" in met and len(met) > 1:
            remedy = (
                "Fill IssuerOfPatientID in wherever the number is, or nowhere: images of one "
                "patient must not train and test at once."
            )
            found = "a number with an issuer in some files and without one in others"
            first = met[""] if issuer else next(iter(met.values()))
            yield Problem(_EXPECTED, found, together([first, where]), remedy)

    def _other_person(self, header: Dataset, where: str) -> Iterator[Problem]:
        """Two people under one number, as far as birth dates and sexes tell."""
        group = self.group(header)
        for tag in ("PatientBirthDate", "PatientSex"):
            if not (told := _text(header, tag)):
                continue
            first, place = self._persons.setdefault((group, tag), (told, where))
            if first != told:
                remedy = "Give each patient a number of his own (PatientID, IssuerOfPatientID)."
                found = "two people, by birth date or sex"
                yield Problem(_EXPECTED, found, together([place, where]), remedy)
                return


def _number_and_issuer(header: Dataset) -> tuple[str, str]:
    return _text(header, "PatientID"), _text(header, "IssuerOfPatientID")


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
