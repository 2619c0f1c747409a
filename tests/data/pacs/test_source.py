"""Queries: what they take, what they refuse, and that nothing of them is shown."""

from datetime import date

import pytest

from envoi.data.pacs.people import Person
from envoi.data.pacs.source import InstanceRef, PacsQuery, StudyRef
from envoi.errors import SettingsError

DAYS = {"first_day": date(2020, 1, 1), "last_day": date(2020, 1, 31)}


def study(**words):
    return StudyRef(study="1.2", person=Person(number="1"), **words)


def test_days_are_written_as_dicom_does():
    assert PacsQuery(**DAYS).days == "20200101-20200131"
    assert PacsQuery(accessions=("A",)).days == ""


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ({}, False),
        ({"accession": "A1"}, True),
        ({"accession": "A1", "day": "20200101"}, True),
        ({"accession": "A1", "day": "20200201"}, False),
        ({"accession": "A10"}, False),
    ],
)
def test_answers_to_another_question_are_not_taken(words, taken):
    assert PacsQuery(**DAYS, accessions=("A1",)).takes(study(**words)) is taken
    assert PacsQuery(**DAYS).takes(study(**words)) is (words.get("day") != "20200201")


@pytest.mark.parametrize(
    ("asked", "told", "taken"),
    [
        ("knee", "MR KNEE left", True),
        ("Schädel", "SCHA\u0308DEL nativ", True),
        ("Straße", "STRASSE", True),
        ("knee", "Brain", False),
        ("knee", "", False),
        ("a+b", "axb", False),
        ("", "anything", True),
    ],
)
def test_a_description_is_looked_at_again(asked, told, taken):
    query = PacsQuery(**DAYS, description=asked)
    assert query.takes(study(description=told)) is taken


def test_series_of_other_modalities_are_not_taken():
    assert PacsQuery(**DAYS).takes_modality("SR")
    query = PacsQuery(**DAYS, modalities=("MR",))
    assert [query.takes_modality(name) for name in ("MR", "", "CT")] == [True, True, False]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "days or accession numbers"),
        ({"modalities": ("MR",)}, "the whole archive is too much"),
        ({"first_day": date(2020, 1, 1)}, "expected two days, found one"),
        ({"first_day": date(2020, 1, 2), "last_day": date(2020, 1, 1)}, "the reverse"),
        ({**DAYS, "modalities": ("*",)}, "Write it as DICOM does"),
        ({**DAYS, "description": "a*"}, "expected plain words"),
    ],
)
def test_queries_that_are_none_are_refused(words, told):
    with pytest.raises(SettingsError, match=told):
        PacsQuery(**words)


def test_reprs_show_nothing():
    instance = InstanceRef(study="1.2", series="1.2.3", instance="1.2.3.4", sop_class="1.2.5")
    assert repr(instance) == "InstanceRef()"
    assert (
        repr(study(accession="A1", day="20200101", description="Knee"))
        == "StudyRef(person=Person())"
    )
    assert "A1" not in repr(PacsQuery(accessions=("A1",)))


@pytest.mark.parametrize(
    ("uid", "sound"), [("1.2.3", True), ("1/../2", False), ("", False), ("1" * 65, False)]
)
def test_only_digits_and_points_go_into_a_request(uid, sound):
    assert InstanceRef(study=uid, series="1.2", instance="1.3").is_sound is sound
