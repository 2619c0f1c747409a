"""Who a file is of, and whether one id stands for more than one person.

Archives that were merged have ids that two people share, and a wrong id is easily typed. Files of
two people under one pseudonym would be one patient ever after. So birth date, name and sex are
compared, as pseudonyms: the originals are kept nowhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydicom import Dataset

from envoi.data.dicom.patients import plain_name, plain_sex
from envoi.data.dicom.pseudonyms import Pseudonyms


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What a file or an answer of the archive says of a patient; a repr shows nothing of it.

    Attributes:
        number: Patient ID.
        issuer: Issuer of Patient ID.
        name: Patient's Name.
        born: Patient's Birth Date.
        sex: Patient's Sex.
    """

    number: str = field(repr=False)
    issuer: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    born: str = field(default="", repr=False)
    sex: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a patient, as pseudonyms; empty where nothing is.

    Attributes:
        born: Of the birth date.
        named: Of the name.
        alone: Of the id without its issuer, where files name an issuer.
        sex: Of the sex, another one for each patient: there are too few sexes to hide.
    """

    born: str = ""
    named: str = ""
    alone: str = ""
    sex: str = ""

    def contradict(self, other: "Signs") -> bool:
        """Whether birth date, name or sex are known from both, and differ."""
        pairs = ((self.born, other.born), (self.named, other.named), (self.sex, other.sex))
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)

    def joined(self, other: "Signs") -> "Signs":
        """What is known from either."""
        return Signs(
            self.born or other.born,
            self.named or other.named,
            self.alone or other.alone,
            self.sex or other.sex,
        )


class People:
    """Whose files are in a folder, by pseudonym.

    Args:
        pseudonyms: Of the site.
        known: Whom earlier pulls into the folder have kept files of.
        shared: Ids that earlier pulls have found to be of more than one person.
        allow_shared_ids: Take all that bear one id as one patient, whatever name, birth date, sex
            or issuer they have. Parts of a set that are disjoint by patient stay so.
    """

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        known: Mapping[str, Signs] | None = None,
        shared: Iterable[str] = (),
        *,
        allow_shared_ids: bool = False,
    ) -> None:
        self._pseudonyms = pseudonyms
        self._allow_shared_ids = allow_shared_ids
        self.known = dict(known or {})
        self.shared = set(shared)
        self._found = dict(self.known)
        self._forms: dict[str, set[str]] = {}
        for patient, signs in self.known.items():
            self._forms.setdefault(signs.alone or patient, set()).add(patient)

    def patient(self, person: Person) -> str:
        """The pseudonym of a person."""
        issuer = "" if self._allow_shared_ids else person.issuer
        return self._pseudonyms.patient(person.number, issuer)

    def is_shared(self, person: Person) -> bool:
        """Whether the id of a person is known to be somebody else's as well."""
        return self.patient(person) in self.shared

    def meet_answer(self, person: Person) -> None:
        """Note whom an answer of the archive names, before anything is fetched.

        Answers often leave the issuer out where files have one. So one without an issuer says
        nothing of the issuer, and its id is judged again when a file arrives.
        """
        if self._allow_shared_ids or not person.number:
            return
        patient, signs = self.patient(person), self._signs(person)
        before = self._found.setdefault(patient, signs)
        if before.contradict(signs):
            self.shared.add(patient)
        self._found[patient] = before.joined(signs)

    def meet_file(self, person: Person) -> None:
        """Note whom a file names. An id with and without an issuer may be of one person or two."""
        self.meet_answer(person)
        alone = self._pseudonyms.patient(person.number)
        forms = self._forms.setdefault(alone, set())
        forms.add(self.patient(person))
        if alone in forms and len(forms) > 1:
            self.shared |= forms

    def keep(self, person: Person) -> None:
        """Note that an image of a person is in the folder."""
        patient, signs = self.patient(person), self._signs(person)
        self.known[patient] = self.known.get(patient, Signs()).joined(signs)

    def _signs(self, person: Person) -> Signs:
        born, name, sex = person.born.strip(), plain_name(person.name), plain_sex(person.sex)
        return Signs(
            self._pseudonyms.other("born", born) if born else "",
            self._pseudonyms.other("named", name) if name else "",
            self._pseudonyms.patient(person.number) if person.issuer else "",
            self._pseudonyms.other("sex", f"{self.patient(person)} {sex}") if sex else "",
        )


def person_of(dataset: Dataset) -> Person:
    """The patient of a file, or of an answer of the archive."""
    keywords = (
        "PatientID",
        "IssuerOfPatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
    )
    number, issuer, name, born, sex = (str(dataset.get(word) or "") for word in keywords)
    return Person(number=number.strip(), issuer=issuer.strip(), name=name, born=born, sex=sex)
