"""Two people with one id are told apart, one person written in two ways is not two."""

import pytest
from pydicom import Dataset

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.pacs.people import People, Person, Signs, person_of

NAMES = Pseudonyms(bytes(range(32)))
ANNA = Person(number="1", name="Svensson^Anna", born="19420229")


def met(*people, **settings):
    found = People(NAMES, **settings)
    for person in people:
        found.meet_file(person)
    return found


@pytest.mark.parametrize(
    "other",
    [
        ANNA,
        Person(number="1", name="SVENSSON^ANNA^^", born="19420229"),
        Person(number="1", name="Svensson^Ánna=svensson^anna", born="19420229"),
        Person(number="1", name="", born="19420229"),
        Person(number="1", name="Svensson^Anna", born=""),
        Person(number="2", name="Berg^Bo", born="19500101"),
        Person(number="1 ", name="svensson, anna", born="19420229"),
        Person(number="1", name="Svensson^Anna", born="19420229", sex="F"),
    ],
)
def test_these_are_no_contradiction(other):
    assert met(ANNA, other).shared == set()


@pytest.mark.parametrize(
    "other",
    [
        Person(number="1", name="Svensson^Anna", born="19420228"),
        Person(number="1", name="Berg^Bo", born="19420229"),
        Person(number="1", name="Svensson^Anna", born="19420229", issuer="north"),
    ],
)
def test_these_are(other):
    found = met(ANNA, other)
    assert found.is_shared(ANNA)
    assert found.is_shared(other)
    assert met(other, ANNA).is_shared(ANNA)
    allowed = People(NAMES, allow_shared_ids=True)
    allowed.meet_file(ANNA)
    allowed.meet_file(other)
    assert not allowed.is_shared(ANNA)
    assert allowed.patient(ANNA) == allowed.patient(other) == NAMES.patient("1")


@pytest.mark.parametrize(("one", "other", "shared"), [("F", "M", 1), ("F", "f ", 0), ("F", "", 0)])
def test_sexes_are_compared(one, other, shared):
    people = (Person(number="1", sex=sex) for sex in (one, other))
    assert len(met(*people).shared) == shared


def test_no_two_patients_show_that_they_are_of_one_sex():
    found = met()
    for number in ("1", "2"):
        found.keep(Person(number=number, sex="F"))
    signs = [one.sex for one in found.known.values()]
    assert len(set(signs)) == 2
    assert all(len(sign) == 32 for sign in signs)


def test_notes_without_a_sex_are_read():
    earlier = People(NAMES, {NAMES.patient("1"): Signs(born=NAMES.other("born", "19420229"))})
    earlier.meet_file(Person(number="1", born="19420229", sex="F"))
    assert earlier.shared == set()


def test_what_is_missing_once_is_learned_from_another_file():
    born = Person(number="1", born="19420229")
    named = Person(number="1", name="Svensson^Anna")
    assert met(born, named, Person(number="1", name="Berg^Bo")).is_shared(ANNA)


def test_equal_ids_of_two_issuers_are_two_patients():
    north = Person(number="1", name="Svensson^Anna", born="19420229", issuer="north")
    south = Person(number="1", name="Berg^Bo", born="19500101", issuer="south")
    found = met(north, south)
    assert found.shared == set()
    assert found.patient(north) != found.patient(south)


def test_answers_without_an_issuer_say_nothing_of_the_issuer():
    found = People(NAMES)
    found.meet_answer(ANNA)
    north = Person(number="1", name="Svensson^Anna", born="19420229", issuer="north")
    found.meet_file(north)
    assert found.shared == set()


def test_what_is_kept_is_known_to_the_next_pull():
    north = Person(number="2", name="Berg^Bo", born="19500101", issuer="north")
    first = met(ANNA, north)
    first.keep(ANNA)
    first.keep(north)
    second = People(NAMES, first.known)
    second.meet_file(Person(number="1", name="Berg^Bo", born="19500101"))
    second.meet_file(Person(number="2", name="Berg^Bo", born="19500101"))
    assert second.shared == {NAMES.patient("1"), NAMES.patient("2"), NAMES.patient("2", "north")}
    assert People(NAMES, shared=second.shared).is_shared(ANNA)


def test_nothing_that_is_kept_or_shown_identifies_anybody():
    found = met(ANNA)
    found.keep(ANNA)
    assert repr(ANNA) == "Person()"
    assert all(len(text) in {0, 32} for s in found.known.values() for text in (s.born, s.named))
    assert Signs().joined(Signs("a", "b", "c")) == Signs("a", "b", "c")


def test_images_of_nobody_are_not_of_one_id():
    assert met(Person(number="", name="A"), Person(number="", name="B")).shared == set()


def test_a_person_is_read_from_a_data_set():
    dataset = Dataset()
    assert person_of(dataset) == Person(number="")
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "1 ", "A^B", "19420229"
    dataset.IssuerOfPatientID = "north"
    dataset.PatientSex = "F"
    assert person_of(dataset) == Person(
        number="1", issuer="north", name="A^B", born="19420229", sex="F"
    )
