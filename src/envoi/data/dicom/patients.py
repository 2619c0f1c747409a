"""Whose image a DICOM file is: numbers of groups, and what tells that a number is of two people.

A patient is a PatientID and its issuer. Names, birth dates and sexes under one number are compared,
as `envoi data pull` compares them. What they are goes no further than this module.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom import Dataset

from envoi.data.findings import together
from envoi.errors import Problem

_EXPECTED = "one person under a patient's number"
_PERMIT = "permit it with --allow-shared-ids (in Python: allow_shared_ids)"


@dataclass(slots=True)
class Patients:
    """Who was met so far; a repr shows nobody.

    Attributes:
        allow_shared_ids: All that bear one PatientID are one patient, whatever issuer, name, birth
            date or sex they have. Parts of a set that are disjoint by patient stay so.
    """

    allow_shared_ids: bool = field(default=False, kw_only=True)
    _groups: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    # Each with the place of the first file that told it.
    _issuers: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _persons: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict, repr=False)

    def group(self, header: Dataset) -> int:
        """Number of the group of this patient's images, from 0 by first appearance."""
        number, issuer = _number_and_issuer(header)
        known = (number, "" if self.allow_shared_ids else issuer)
        return self._groups.setdefault(known, len(self._groups))

    def meet(self, header: Dataset, where: str) -> Iterator[Problem]:
        """What tells that this patient's number is of two people, or may be.

        Args:
            header: Of the next file.
            where: What messages call it.
        """
        if not self.allow_shared_ids:
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
                f"patient must not train and test at once. Or {_PERMIT}."
            )
            found = "a number with an issuer in some files and without one in others"
            first = met[""] if issuer else next(iter(met.values()))
            yield Problem(_EXPECTED, found, together([first, where]), remedy)

    def _other_person(self, header: Dataset, where: str) -> Iterator[Problem]:
        """Two people under one number, as far as names, birth dates and sexes tell."""
        group = self.group(header)
        for what, told in _signs(header).items():
            if not told:
                continue
            first, place = self._persons.setdefault((group, what), (told, where))
            if first != told:
                remedy = (
                    "Give each patient a number of his own (PatientID, IssuerOfPatientID), correct "
                    f"what is wrong, or, if it is one patient, {_PERMIT}."
                )
                found = f"two people, by {what}"
                yield Problem(_EXPECTED, found, together([place, where]), remedy)
                return


def plain_name(name: str) -> str:
    """A name without what two systems write differently: case, accents, signs, empty parts."""
    first = name.partition("=")[0]
    letters = (
        letter
        for letter in unicodedata.normalize("NFKD", first.casefold())
        if not unicodedata.combining(letter)
    )
    words = "".join(letter if letter.isalnum() else " " for letter in letters)
    return " ".join(words.split())


def plain_sex(sex: str) -> str:
    """A sex without what two systems write differently."""
    return sex.strip().upper()


def _signs(header: Dataset) -> dict[str, str]:
    """What tells people apart, by what messages call it; empty where a file does not say."""
    return {
        "birth date": _text(header, "PatientBirthDate"),
        "sex": plain_sex(_text(header, "PatientSex")),
        "name": plain_name(_text(header, "PatientName")),
    }


def _number_and_issuer(header: Dataset) -> tuple[str, str]:
    return _text(header, "PatientID"), _text(header, "IssuerOfPatientID")


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "").strip()
