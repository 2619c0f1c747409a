"""Both protocols against a real PACS: the same files, and a line for whatever goes wrong."""

import contextlib
import functools
import logging
import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom import uid as known
from typer.testing import CliRunner

from envoi.cli import app
from envoi.data.dicom.pseudonyms import new_pseudonym_key
from envoi.data.pacs import (
    Dicomweb,
    Dimse,
    PacsGoneError,
    PacsQuery,
    PullSettings,
    connected,
    pace,
    pull,
)
from envoi.data.pacs.connect import Credentials
from envoi.data.pacs.deidentify import Reason
from envoi.data.pacs.pace import Patience
from envoi.data.pacs.proof import problem_of
from envoi.errors import PacsError
from tests.data.pacs import planted
from tests.launched import SOURCE

pytestmark = pytest.mark.pacs

YEAR = {"first_day": date(2020, 1, 1), "last_day": date(2020, 12, 31)}
QUERY = PacsQuery(**YEAR)
FAST = Patience(per_second=1000, tries=2, first_wait_seconds=0)
PROTOCOLS = ["dicomweb", "dimse"]
runner = CliRunner()


@pytest.fixture
def names(tmp_path):
    return new_pseudonym_key(tmp_path / "site.key")


def archive(orthanc, protocol, **changes):
    if protocol == "dicomweb":
        words = {"user": orthanc.user, "password": orthanc.password, **changes}
        return Dicomweb(orthanc.url, Credentials(**words), timeout_seconds=20)
    words = {"called_aet": orthanc.aet, **changes}
    return Dimse(host="127.0.0.1", port=orthanc.dicom, timeout_seconds=20, **words)


def run(orthanc, protocol, folder, names, query=QUERY, *, on_pull=lambda _: None, **settings):
    with connected(archive(orthanc, protocol)) as source:
        wanted = PullSettings(patience=FAST, **settings)
        return pull(source, query, folder, names, wanted, on_pull=on_pull)


def fill(orthanc, *datasets):
    for dataset in datasets or [planted.image(number) for number in (1, 2, 3)]:
        orthanc.store(planted.encoded(dataset))


def files_in(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.glob("*/*.dcm")}


def options(orthanc, protocol, folder, tmp_path):
    where = {
        "dicomweb": ["--dicomweb", orthanc.url],
        "dimse": ["--dimse", f"127.0.0.1:{orthanc.dicom}", "--called-aet", orthanc.aet],
    }[protocol]
    key = ["--key", tmp_path / "site.key", "--out", folder, "--dates", "20200101-20201231"]
    return ["data", "pull", *where, *map(str, key)]


@pytest.fixture
def credentials(orthanc, monkeypatch):
    monkeypatch.setenv("ENVOI_PACS_USER", orthanc.user)
    monkeypatch.setenv("ENVOI_PACS_PASSWORD", orthanc.password)


def test_both_protocols_give_the_same_files_and_nobodys_name(
    orthanc, names, tmp_path, caplog, capfd
):
    originals = [
        planted.image(1),
        planted.image(2, syntax=known.ImplicitVRLittleEndian),
        planted.compressed(3),
        planted.image(4, study=2, number="PLANTEDID2", name="Planted^Two", accession="PLANTED2"),
        planted.image(5, sop_class=known.MRImageStorage, modality="MR"),
    ]
    fill(orthanc, *originals, planted.report(6))
    caplog.set_level(logging.DEBUG)
    for protocol in PROTOCOLS:
        counts = run(orthanc, protocol, tmp_path / protocol, names)
        assert (counts.studies, counts.pulled, counts.failed) == (2, 5, 0)
        assert counts.left_out == {Reason.OTHER_KIND: 1}
        again = run(orthanc, protocol, tmp_path / protocol, names)
        assert (again.pulled, again.present) == (0, 5)
    web, dimse = (files_in(tmp_path / protocol) for protocol in PROTOCOLS)
    assert web == dimse
    assert len({name.parent for name in web}) == 2
    for original in originals:
        path = tmp_path / "dicomweb" / names.patient(original.PatientID)
        found = dcmread(path / f"{names.uid(original.SOPInstanceUID)}.dcm")
        if original.file_meta.TransferSyntaxUID.is_encapsulated:
            assert found.file_meta.TransferSyntaxUID == known.JPEGBaseline8Bit
        else:
            np.testing.assert_array_equal(found.pixel_array, original.pixel_array)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert planted.leaks(file.read_bytes()) == [], file.name
        assert planted.leaks(str(file.relative_to(tmp_path)).encode()) == []
    assert all(problem_of(content) is None for content in web.values())
    shown = capfd.readouterr()
    assert planted.leaks(f"{caplog.text}{shown.out}{shown.err}".encode()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("words", "pulled"),
    [
        (YEAR, 4),
        ({**YEAR, "modalities": ("MR",)}, 1),
        ({**YEAR, "modalities": ("MR", "CT")}, 4),
        ({"accessions": ("PLANTED +1",)}, 1),
        ({"accessions": ("PLANTED +1", "PLANTEDACC01", "NONE")}, 4),
        ({**YEAR, "description": "Brain of"}, 4),
        ({**YEAR, "description": "Knee"}, 0),
        ({"first_day": date(2020, 1, 16), "last_day": date(2020, 1, 16)}, 1),
        ({"first_day": date(2021, 1, 1), "last_day": date(2021, 1, 1)}, 0),
    ],
)
def test_what_is_asked_for_is_what_comes(protocol, words, pulled, orthanc, names, tmp_path):
    fill(
        orthanc,
        planted.image(1),
        planted.image(2),
        planted.image(3, study=2, accession="PLANTED +1", day="20200116"),
        planted.image(4, study=3, modality="MR", sop_class=known.MRImageStorage),
    )
    query = PacsQuery(**words)
    assert run(orthanc, protocol, tmp_path / "dry", names, query, dry_run=True).pulled == pulled
    assert run(orthanc, protocol, tmp_path / "out", names, query).pulled == pulled


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pages_and_many_images(protocol, orthanc, names, tmp_path, monkeypatch):
    from envoi.data.pacs import dicomweb

    monkeypatch.setattr(dicomweb, "_PAGE", 3)
    fill(orthanc, *(planted.image(number) for number in range(1, 9)))
    assert run(orthanc, protocol, tmp_path, names).pulled == 8


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_two_people_with_one_id(protocol, orthanc, names, tmp_path):
    other = {"study": 2, "name": "Plantedother^X", "born": "19500101"}
    # Orthanc knows a patient by the id alone and answers with the first name: the file tells.
    fill(orthanc, planted.image(1), planted.image(2, **other), planted.image(3, **other))
    counts = run(orthanc, protocol, tmp_path / "refused", names)
    assert counts.shared_ids == 1
    assert counts.left_out[Reason.SHARED_ID] >= 1
    kept = [dcmread(file) for file in (tmp_path / "refused").glob("*/*.dcm")]
    assert len({image.StudyInstanceUID for image in kept}) <= 1
    counts = run(orthanc, protocol, tmp_path / "taken", names, allow_shared_ids=True)
    assert (counts.pulled, counts.shared_ids) == (3, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pacs_that_stops_in_the_middle_is_one_line_and_the_pull_resumes(
    protocol, orthanc, names, tmp_path, credentials, monkeypatch
):
    fill(orthanc, *(planted.image(number) for number in range(1, 7)))

    def stop(counts):
        if counts.pulled == 2:
            orthanc.stop()

    with pytest.raises(PacsGoneError, match="what was pulled is kept"):
        run(orthanc, protocol, tmp_path / "out", names, on_pull=stop)
    assert len(files_in(tmp_path / "out")) == 2
    hasty = functools.partial(Patience, tries=2, first_wait_seconds=0)
    with monkeypatch.context() as patched:
        patched.setattr(pace, "Patience", hasty)
        found = runner.invoke(app, options(orthanc, protocol, tmp_path / "out", tmp_path))
    assert found.exit_code == 3
    lines = found.output.splitlines()
    assert lines[-1].startswith("error: PACS: expected an answer, found no connection")
    assert lines[-1].endswith("run the same command again; what was pulled is kept.")
    assert planted.leaks(found.output.encode()) == []
    orthanc.start()
    found = runner.invoke(app, options(orthanc, protocol, tmp_path / "out", tmp_path))
    assert found.output.splitlines() == ["1 study found: 4 images pulled, 2 there already."]
    assert found.exit_code == 0
    whole = tmp_path / "whole"
    run(orthanc, protocol, whole, names)
    assert files_in(whole) == files_in(tmp_path / "out")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pacs_that_is_started_anew_is_waited_for(protocol, orthanc, names, tmp_path):
    fill(orthanc)
    restarted = []

    def restart(counts):
        if counts.pulled == 1 and not restarted:
            restarted.append(threading.Timer(0.3, orthanc.start))
            orthanc.stop()
            restarted[0].start()

    with connected(archive(orthanc, protocol)) as source:
        patience = Patience(per_second=1000, tries=8, first_wait_seconds=0.1)
        settings = PullSettings(patience=patience)
        counts = pull(source, QUERY, tmp_path, names, settings, on_pull=restart)
    restarted[0].join()
    assert counts.pulled == 3
    assert counts.waits >= 1


def test_a_kill_in_the_middle_loses_nothing(orthanc, names, tmp_path, credentials):
    fill(orthanc, *(planted.image(number) for number in range(1, 7)))
    out = tmp_path / "out"
    command = options(orthanc, "dicomweb", out, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [sys.executable, "-m", "envoi", *command, "--per-second", "4"], env=environment
    )
    deadline = time.monotonic() + 60
    while len(list(out.glob("*/*.dcm"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait(timeout=30)
    there = len(files_in(out))
    assert 2 <= there < 6
    found = runner.invoke(app, command)
    assert (found.exit_code, found.output) == (
        0,
        f"1 study found: {6 - there} images pulled, {there} there already.\n",
    )
    run(orthanc, "dicomweb", tmp_path / "whole", names)
    assert files_in(out) == files_in(tmp_path / "whole")


@pytest.mark.parametrize(
    ("protocol", "changes", "told"),
    [
        ("dimse", {"called_aet": "OTHER"}, "--called-aet: expected an AE title that the PACS kno"),
        ("dimse", {"calling_aet": "STRANGER"}, "--calling-aet|PACS: expected an association"),
        ("dicomweb", {"password": "wrong"}, "PACS: expected permission, found status 401"),
    ],
)
def test_who_asks_wrongly_is_told_what_to_correct(
    protocol, changes, told, orthanc, names, tmp_path
):
    fill(orthanc)
    with (
        connected(archive(orthanc, protocol, **changes)) as source,
        pytest.raises(PacsError, match=told),
    ):
        pull(source, QUERY, tmp_path, names, PullSettings(patience=FAST))


def test_another_address_is_told(orthanc, names, tmp_path):
    for place in ("/other", "/instances"):
        wrong = Dicomweb(
            orthanc.url.replace("/dicom-web", place),
            Credentials(user=orthanc.user, password=orthanc.password),
        )
        with connected(wrong) as source, pytest.raises(PacsError, match="--dicomweb"):
            pull(source, QUERY, tmp_path, names, PullSettings(patience=FAST))


def test_a_netrc_file_is_read(orthanc, names, tmp_path):
    fill(orthanc)
    path = tmp_path / "netrc"
    path.write_text(f"machine 127.0.0.1 login {orthanc.user} password {orthanc.password}\n")
    command = [*options(orthanc, "dicomweb", tmp_path / "out", tmp_path), "--netrc", str(path)]
    found = runner.invoke(app, command)
    assert found.output == "1 study found: 3 images pulled, 0 there already.\n"


def test_association_limits_hold_for_every_modality():
    from envoi.data.pacs.kinds import MODALITIES, SYNTAXES, classes_of

    assert all(1 + len(classes_of(name)) * len(SYNTAXES) <= 128 for name in MODALITIES)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_image_that_was_deleted_meanwhile_is_counted(protocol, orthanc, names, tmp_path):
    fill(orthanc)

    def delete(counts):
        with contextlib.suppress(IndexError):
            if counts.pulled == 1 and counts.failed == 0:
                for one in orthanc.ask("/instances"):
                    orthanc.ask(f"/instances/{one}", method="DELETE")

    counts = run(orthanc, protocol, tmp_path, names, on_pull=delete)
    assert (counts.pulled, counts.failed) == (1, 2)


def test_orthanc_is_of_this_test_alone(orthanc):
    assert orthanc.process.poll() is None
    assert Path(orthanc.settings).exists()
