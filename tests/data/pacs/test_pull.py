"""The pull against an archive in memory: what is kept, left out, resumed and told."""

import errno
import json
import os
import sys
from dataclasses import replace
from datetime import date
from io import BytesIO

import pytest
from pydicom import dcmread

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.pacs.deidentify import Profile, Reason
from envoi.data.pacs.pace import Pace, Patience
from envoi.data.pacs.people import person_of
from envoi.data.pacs.proof import problem_of
from envoi.data.pacs.pull import PullSettings, pull
from envoi.data.pacs.source import (
    DamagedObjectError,
    InstanceRef,
    NotFetchedError,
    PacsGoneError,
    PacsQuery,
    StudyRef,
    at_once,
)
from envoi.errors import DataError, PacsError, Problem, SettingsError, StorageError
from tests.data.pacs import planted

NAMES = Pseudonyms(bytes(range(32)))
QUERY = PacsQuery(first_day=date(2020, 1, 1), last_day=date(2020, 12, 31))
FAST = Patience(per_second=1000, tries=2, first_wait_seconds=0)
ODD = Problem("one image", "none", "PACS", "Look.")


class Memory:
    """An archive in memory; `fault` may raise before an object is handed out."""

    def __init__(self, *datasets, answers_issuer=True, answers_class=True):
        self.datasets = [dcmread(BytesIO(planted.encoded(dataset))) for dataset in datasets]
        self.answers_issuer, self.answers_class = answers_issuer, answers_class
        self.fetched = []
        self.fault = lambda _: None
        self.is_down = False

    def studies(self, query, turn=at_once):
        return turn(self._studies)

    def _studies(self):
        found = {}
        for dataset in self.datasets:
            person = person_of(dataset)
            if not self.answers_issuer:
                person = replace(person, issuer="")
            study = StudyRef(
                study=dataset.StudyInstanceUID, person=person, accession=dataset.AccessionNumber
            )
            found.setdefault(study.study, study)
        return list(found.values())

    def instances(self, study, query, turn=at_once):
        return turn(lambda: self._instances(study))

    def _instances(self, study):
        if self.is_down:
            raise PacsGoneError(ODD)
        return [
            InstanceRef(
                study=study.study,
                series=dataset.SeriesInstanceUID,
                instance=dataset.SOPInstanceUID,
                sop_class=dataset.SOPClassUID if self.answers_class else "",
            )
            for dataset in self.datasets
            if dataset.StudyInstanceUID == study.study
        ]

    def fetch(self, instance):
        self.fault(instance)
        self.fetched.append(instance.instance)
        (found,) = (d for d in self.datasets if instance.instance == d.SOPInstanceUID)
        return found

    def close(self):
        pass


def run(source, folder, **settings):
    return pull(source, QUERY, folder, NAMES, PullSettings(patience=FAST, **settings))


def files_in(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.glob("*/*.dcm")}


def names_in(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


def three(**changes):
    return Memory(*(planted.image(number, **changes) for number in (1, 2, 3)))


def test_files_are_where_pseudonyms_say_and_the_second_pull_fetches_nothing(tmp_path):
    source = three()
    counts = run(source, tmp_path)
    assert (counts.studies, counts.studies_done, counts.pulled, counts.present) == (1, 1, 3, 0)
    patient = NAMES.patient(planted.NUMBER)
    wanted = {f"{patient}/{NAMES.uid(uid)}.dcm" for uid in source.fetched}
    assert {str(name) for name in files_in(tmp_path)} == wanted
    again = three()
    counts = run(again, tmp_path)
    assert (counts.pulled, counts.present, again.fetched) == (0, 3, [])


def test_no_byte_of_the_folder_identifies_anybody(tmp_path):
    run(three(), tmp_path)
    everything = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(everything) == 5  # three images, notes, lock
    for file in everything:
        assert planted.leaks(file.read_bytes()) == []
        assert planted.leaks(str(file).encode()) == []
    for content in files_in(tmp_path).values():
        assert problem_of(content) is None


@pytest.mark.parametrize("dry_run", [True, False])
def test_numbers_that_no_study_has_are_counted_by_their_place(dry_run, tmp_path):
    query = PacsQuery(accessions=("PLANTEDNONE", planted.ACCESSION, "PLANTEDOTHER"))
    settings = PullSettings(patience=FAST, dry_run=dry_run)
    counts = pull(three(), query, tmp_path, NAMES, settings)
    assert counts.not_found == (0, 2)
    assert "PLANTED" not in repr(counts)
    assert run(three(), tmp_path, dry_run=dry_run).not_found == ()


def test_what_is_new_is_fetched_and_what_was_taken_away_is_fetched_again(tmp_path):
    run(Memory(planted.image(1)), tmp_path)
    source = three()
    assert run(source, tmp_path).pulled == 2
    next(iter(tmp_path.glob("*/*.dcm"))).unlink()
    assert run(three(), tmp_path).pulled == 1


@pytest.mark.parametrize("stopped_at", [1, 2, 3])
def test_a_pull_that_is_stopped_anywhere_ends_in_the_same_files(stopped_at, tmp_path):
    run(three(), tmp_path / "whole")
    source = three()
    left = [stopped_at]

    def stop(_):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    source.fault = stop
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "stopped")
    assert len(files_in(tmp_path / "stopped")) == stopped_at - 1
    counts = run(three(), tmp_path / "stopped")
    assert (counts.pulled, counts.present) == (4 - stopped_at, stopped_at - 1)
    assert files_in(tmp_path / "whole") == files_in(tmp_path / "stopped")
    assert names_in(tmp_path / "whole") == names_in(tmp_path / "stopped")


def test_a_kill_without_notes_and_with_half_a_file_is_recovered_from(tmp_path):
    run(three(), tmp_path)
    (tmp_path / "pull.json").unlink()
    whole = next(iter(tmp_path.glob("*/*.dcm")))
    half = whole.with_name(f".{whole.name}.abcd")
    half.write_bytes(whole.read_bytes()[:100])
    whole.unlink()
    counts = run(three(), tmp_path)
    assert (counts.pulled, counts.present) == (1, 2)
    assert not half.exists()
    assert (tmp_path / "pull.json").exists()


def test_an_archive_that_comes_back_is_gone_on_with(tmp_path):
    source = three()
    down = [True]

    def fault(_):
        if down.pop() if down else False:
            raise PacsGoneError(ODD)

    source.fault = fault
    counts = run(source, tmp_path)
    assert (counts.pulled, counts.waits) == (3, 1)


def test_an_archive_that_stays_away_ends_the_pull_and_nothing_is_lost(tmp_path):
    source = three()

    def fault(_):
        source.is_down = bool(source.fetched)
        if source.is_down:
            raise PacsGoneError(ODD)

    source.fault = fault
    with pytest.raises(PacsGoneError):
        run(source, tmp_path)
    assert len(files_in(tmp_path)) == 1
    assert json.loads((tmp_path / "pull.json").read_text())["people"]
    assert run(three(), tmp_path).pulled == 2


def test_an_object_that_makes_the_archive_go_away_does_not_stop_the_others(tmp_path):
    source = three()

    def fault(instance):
        if instance.instance.endswith("2"):
            raise PacsGoneError(ODD)

    source.fault = fault
    counts = run(source, tmp_path)
    assert (counts.pulled, counts.failed, counts.waits) == (2, 1, 1)


def test_an_interruption_of_one_query_of_many_repeats_that_one(tmp_path):
    source, asked, down = three(), [], [True]

    def query(number):
        asked.append(number)
        if number == 3 and down.pop() if down else False:
            raise PacsGoneError(ODD)
        return number

    def studies(_, turn):
        for number in range(1, 5):
            turn(lambda number=number: query(number))
        return turn(source._studies)

    source.studies = studies
    counts = run(source, tmp_path)
    assert asked == [1, 2, 3, 3, 4]
    assert (counts.queries, counts.waits, counts.pulled) == (6, 1, 3)


def test_the_probe_after_an_object_that_made_the_archive_go_away_keeps_the_rate(
    tmp_path, monkeypatch
):
    made = []
    real = Pace.make_once
    monkeypatch.setattr(
        Pace, "make_once", lambda self, request: made.append(1) or real(self, request)
    )
    source = Memory(planted.image(1))

    def fault(_):
        raise PacsGoneError(ODD)

    source.fault = fault
    assert run(source, tmp_path).failed == 1
    assert len(made) == 1 + 1 + 2 + 1  # studies, objects, two tries of one, the probe


def test_single_faults_are_counted_and_tried_again_next_time(tmp_path):
    source = three()

    def fault(instance):
        if instance.instance.endswith("2"):
            raise NotFetchedError(ODD)

    source.fault = fault
    counts = run(source, tmp_path)
    assert (counts.pulled, counts.failed) == (2, 1)
    assert run(three(), tmp_path).pulled == 1


def test_another_object_than_was_asked_for_is_not_taken(tmp_path):
    source = three()
    first = source.datasets[0]
    source.fetch = lambda _: first
    counts = run(source, tmp_path)
    assert (counts.pulled, counts.failed) == (1, 2)


def test_nothing_but_faults_ends_the_pull(tmp_path):
    source = Memory(*(planted.image(number) for number in range(30)))

    def fault(_):
        raise NotFetchedError(ODD)

    source.fault = fault
    with pytest.raises(PacsError, match="20 one after another that cannot be had"):
        run(source, tmp_path)


def damaged(number, **changes):
    dataset = planted.image(number, **changes)
    dataset.PixelData = dataset.PixelData[:2]
    return dataset


def test_damaged_objects_are_counted_and_the_good_study_behind_is_reached(tmp_path):
    def source():
        good = planted.image(99, study=2)
        return Memory(*(damaged(number) for number in range(25)), good)

    for pulled, present in ((1, 0), (0, 1)):
        counts = run(source(), tmp_path)
        assert (counts.failed, counts.pulled, counts.present) == (25, pulled, present)
    assert counts.studies_done == 2


def test_objects_of_others_and_odd_uids_do_not_end_the_pull(tmp_path):
    source = Memory(*(planted.image(number) for number in range(25)))
    first = source.datasets[0]
    source.fetch = lambda _: first
    assert run(source, tmp_path).failed == 24


def test_objects_that_come_and_cannot_be_read_do_not_end_the_pull(tmp_path):
    source = Memory(*(planted.image(number) for number in range(25)))

    def fault(_):
        raise DamagedObjectError(ODD)

    source.fault = fault
    assert run(source, tmp_path).failed == 25


@pytest.mark.parametrize("between", ["damaged", "left out"])
def test_what_was_fetched_shows_that_the_archive_gives_something(between, tmp_path):
    images = [planted.image(number) for number in range(39)]
    images[19] = damaged(19) if between == "damaged" else planted.report(19)
    source = Memory(*images, answers_class=False)

    def fault(instance):
        if instance.instance != images[19].SOPInstanceUID:
            raise NotFetchedError(ODD)

    source.fault = fault
    counts = run(source, tmp_path)
    assert counts.failed == (39 if between == "damaged" else 38)


def test_a_full_disk_is_one_line_and_can_be_gone_on_from(tmp_path, monkeypatch):
    real, left = os.fsync, [4]  # a file and its folder are synced

    def full(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError) as found:
            run(three(), tmp_path)
    wanted = (
        "disk: expected space for the next image, found none after 2 images. Free some space and "
        "run the same command again; what was pulled is kept."
    )
    assert str(found.value) == wanted
    assert len(files_in(tmp_path)) == 2
    assert not any(name.rpartition("/")[2].startswith(".2.25") for name in names_in(tmp_path))
    assert run(three(), tmp_path).pulled == 1


@pytest.mark.parametrize("answers_class", [True, False])
def test_what_has_no_pixels_is_counted_and_not_fetched_twice(answers_class, tmp_path):
    def source():
        datasets = planted.image(1), planted.report(2)
        return Memory(*datasets, answers_class=answers_class)

    first = source()
    counts = run(first, tmp_path)
    assert (counts.pulled, counts.failed) == (1, 0)
    reason = Reason.OTHER_KIND if answers_class else Reason.NO_PIXELS
    assert counts.left_out == {reason: 1}
    assert len(first.fetched) == (1 if answers_class else 2)
    second = source()
    counts = run(second, tmp_path)
    assert second.fetched == []
    assert (counts.pulled, counts.present, counts.left_out) == (0, 1, {reason: 1})


def test_captures_are_fetched_again_when_they_are_permitted(tmp_path):
    capture = planted.image(sop_class="1.2.840.10008.5.1.4.1.1.7")
    assert run(Memory(capture), tmp_path).left_out == {Reason.DOUBTFUL_PIXELS: 1}
    again = Memory(capture)
    counts = run(again, tmp_path)
    assert (counts.present, counts.left_out) == (0, {Reason.DOUBTFUL_PIXELS: 1})
    assert again.fetched == []
    profile = Profile(allow_doubtful_pixels=True)
    assert run(Memory(capture), tmp_path, profile=profile).pulled == 1


def test_an_image_without_a_patient_is_not_taken(tmp_path):
    for _ in range(2):
        counts = run(Memory(planted.image(number="")), tmp_path)
        assert (counts.present, counts.left_out) == (0, {Reason.NO_PATIENT: 1})


@pytest.mark.parametrize(
    ("keyword", "wrong", "right"),
    [("PatientID", "", "PLANTED1"), ("BurnedInAnnotation", "YES", "NO")],
)
def test_what_is_corrected_in_the_archive_is_fetched(keyword, wrong, right, tmp_path):
    dataset = planted.image()
    setattr(dataset, keyword, wrong)
    assert run(Memory(dataset), tmp_path).pulled == 0
    setattr(dataset, keyword, right)
    assert run(Memory(dataset), tmp_path).pulled == 1


@pytest.mark.parametrize("reason", ["no-patient", "text-in-pixels"])
def test_notes_of_earlier_versions_do_not_keep_out_what_was_corrected(reason, tmp_path):
    run(Memory(), tmp_path)
    notes = json.loads((tmp_path / "pull.json").read_text())
    dataset = planted.image()
    notes["left_out"] = {NAMES.uid(dataset.SOPInstanceUID): reason}
    (tmp_path / "pull.json").write_text(json.dumps(notes))
    assert run(Memory(dataset), tmp_path).pulled == 1
    assert json.loads((tmp_path / "pull.json").read_text())["left_out"] == {}


def shared_id(**other):
    words = {"study": 2, "name": "Plantedother^X", "born": "19500101", **other}
    return planted.image(1), planted.image(2), planted.image(3, **words), planted.image(4, **words)


@pytest.mark.parametrize("issuer", ["", "PLANTEDHOSPITAL"])
def test_two_people_with_one_id_are_refused_before_anything_is_kept(issuer, tmp_path):
    images = shared_id(issuer=issuer)
    images[0].IssuerOfPatientID = images[1].IssuerOfPatientID = issuer
    source = Memory(*images)
    counts = run(source, tmp_path)
    assert (counts.pulled, counts.shared_ids) == (0, 1)
    assert counts.left_out == {Reason.SHARED_ID: 4}
    assert len(source.fetched) == (0 if issuer else 2)  # one of each study shows whose it is
    assert files_in(tmp_path) == {}


def test_people_who_differ_in_sex_alone_are_two(tmp_path):
    images = shared_id(name=planted.NAME, born="19420229")
    images[2].PatientSex = images[3].PatientSex = "M"
    counts = run(Memory(*images), tmp_path)
    assert (counts.pulled, counts.shared_ids) == (0, 1)


def test_two_people_with_one_id_are_one_patient_if_that_is_permitted(tmp_path):
    counts = run(Memory(*shared_id()), tmp_path, allow_shared_ids=True)
    assert (counts.pulled, counts.shared_ids) == (4, 0)
    assert {name.parent.name for name in files_in(tmp_path)} == {NAMES.patient(planted.NUMBER)}


def test_a_second_person_in_a_later_pull_is_refused_and_the_first_is_kept(tmp_path):
    images = shared_id()
    assert run(Memory(*images[:2]), tmp_path).pulled == 2
    counts = run(Memory(*images[2:]), tmp_path)
    assert (counts.pulled, counts.shared_ids) == (0, 1)
    assert len(files_in(tmp_path)) == 2


def test_issuers_that_only_files_tell_keep_two_patients_apart(tmp_path):
    images = shared_id(issuer="PLANTEDSOUTH")
    images[0].IssuerOfPatientID = images[1].IssuerOfPatientID = "PLANTEDNORTH"
    counts = run(Memory(*images, answers_issuer=False), tmp_path)
    assert counts.pulled == 4
    assert len({name.parent for name in files_in(tmp_path)}) == 2


def test_an_id_with_and_without_an_issuer_is_refused(tmp_path):
    with_issuer = planted.image(3, study=2, issuer="PLANTEDNORTH")
    counts = run(Memory(planted.image(1), with_issuer), tmp_path)
    assert (counts.pulled, counts.left_out) == (1, {Reason.SHARED_ID: 1})


def test_a_limit_and_a_dry_run(tmp_path):
    source = three()
    assert run(source, tmp_path, dry_run=True).pulled == 3
    assert (source.fetched, names_in(tmp_path)) == ([], [])
    assert run(source, tmp_path, limit=2).pulled == 2
    assert run(source, tmp_path, dry_run=True).pulled == 1
    assert run(source, tmp_path, limit=2).pulled == 1


def test_a_folder_is_of_one_key_and_one_set_of_options(tmp_path):
    run(three(), tmp_path)
    with pytest.raises(SettingsError, match=r"pull\.json: expected .*, found another key\."):
        pull(three(), QUERY, tmp_path, Pseudonyms(bytes(32)), PullSettings(patience=FAST))
    with pytest.raises(SettingsError, match="found another shared ids"):
        run(three(), tmp_path, allow_shared_ids=True)
    with pytest.raises(SettingsError, match="found another characteristics"):
        run(three(), tmp_path, profile=Profile(keep_characteristics=True))


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "terms": {"x": 1}}'])
def test_damaged_notes_are_told(text, tmp_path):
    (tmp_path / "pull.json").write_text(text)
    with pytest.raises(DataError, match="expected the notes of a pull, found something else"):
        run(three(), tmp_path)


def test_a_prepared_set_is_left_alone(tmp_path):
    (tmp_path / "prepared.json").write_text("{}")
    with pytest.raises(StorageError, match="a new folder, or that of an earlier pull"):
        run(three(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["prepared.json"]


def test_two_pulls_into_one_folder_at_once_are_refused(tmp_path):
    def fault(_):
        with pytest.raises(StorageError, match="found another pull that runs"):
            run(three(), tmp_path)

    source = Memory(planted.image())
    source.fault = fault
    assert run(source, tmp_path).pulled == 1


def test_a_file_where_the_folder_should_be_is_told(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="expected a folder, found a file"):
        run(three(), tmp_path / "out")


def test_a_uid_that_is_no_uid_never_reaches_a_request(tmp_path):
    source = three()
    instances = source.instances
    source.instances = lambda study, query, turn: [
        InstanceRef(study=one.study, series="../x", instance=one.instance)
        for one in instances(study, query)
    ]
    counts = run(source, tmp_path)
    assert (counts.failed, source.fetched) == (3, [])


def test_notes_are_written_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["envoi.data.pacs.pull"], "_NOTES_SECONDS", 0.0)
    source = three()
    seen = []
    source.fault = lambda _: seen.append((tmp_path / "pull.json").exists())
    run(source, tmp_path)
    assert seen == [True, True, True]


def test_progress_is_told_in_counts(tmp_path):
    told = []
    pull(three(), QUERY, tmp_path, NAMES, PullSettings(patience=FAST), on_pull=told.append)
    assert [counts.pulled for counts in told if counts.pulled] == [1, 2, 3, 3]
    assert all(not planted.leaks(repr(counts).encode()) for counts in told)
