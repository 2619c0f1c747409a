"""`envoi data`: lines, exit codes, and nothing that identifies anybody."""

import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.cli import pull as room
from envoi.data import pacs
from envoi.data.dicom.pseudonyms import load_pseudonym_key
from envoi.data.pacs import connect
from envoi.data.pacs.source import NotFetchedError
from tests.data.pacs import planted
from tests.data.pacs.test_pull import ODD, Memory, shared_id

runner = CliRunner()


def run(*words):
    return runner.invoke(app, ["data", *map(str, words)])


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "site.key"
    assert run("keygen", "--out", path).exit_code == 0
    return path


@pytest.fixture
def given(monkeypatch):
    """Have the command meet an archive in memory; returns what it was told of the archive."""
    from contextlib import contextmanager

    met = []

    def give(source):
        @contextmanager
        def connected(archive):
            met.append(archive)
            yield source

        monkeypatch.setattr(pacs, "connected", connected)
        return met

    return give


def pull(key, out, *words, where=("--dicomweb", "https://pacs.example/dicom-web")):
    days = ["--dates", "20200101-20201231"] if "--dates" not in words else []
    return run("pull", *where, "--key", key, "--out", out, "--per-second", 1000, *days, *words)


def test_keygen_writes_a_key_once(tmp_path):
    path = tmp_path / "site.key"
    found = run("keygen", "--out", path)
    assert found.exit_code == 0
    assert load_pseudonym_key(path).fingerprint in found.output
    assert load_pseudonym_key(path).key.hex() not in found.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = run("keygen", "--out", path)
    assert found.exit_code == 3
    assert "expected a new file" in found.output


def test_a_pull_says_what_became_of_everything(given, key, tmp_path):
    images = (
        *shared_id(),
        planted.image(5, study=3, number="PLANTED5"),
        planted.image(6, study=3, number="PLANTED5", sop_class="1.2.840.10008.5.1.4.1.1.7"),
        planted.report(7, study=3, number="PLANTED5"),
    )
    source = Memory(*images)
    given(source)
    found = pull(key, tmp_path / "out")
    warning = (
        "warning: 1 patient id used with different names, birth dates, sexes or "
        "issuers. Have them corrected in the PACS and pull into a new folder, or take all that "
        "bear one id as one patient with --allow-shared-ids."
    )
    doubtful = (
        "captures, ultrasound, endoscopy or overlays that may show a name "
        "(--allow-doubtful-pixels takes them)"
    )
    assert found.output.splitlines() == [
        "3 studies found: 1 image pulled, 0 there already.",
        "Left out, reports, video and other objects that are no plain image: 1.",
        f"Left out, {doubtful}: 1.",
        "Left out, since their patient id may be of two people: 4.",
        warning,
    ]
    assert found.exit_code == 0
    assert planted.leaks(found.output.encode()) == []
    found = pull(key, tmp_path / "all", "--allow-shared-ids", "--allow-doubtful-pixels")
    assert found.output.startswith("3 studies found: 6 images pulled")


def test_a_dry_run_and_a_limit_are_told(given, key, tmp_path):
    given(Memory(*(planted.image(number) for number in (1, 2, 3))))
    found = pull(key, tmp_path / "out", "--dry-run")
    assert found.output == "1 study found: 3 images would be pulled, 0 there already.\n"
    assert not (tmp_path / "out").exists()
    found = pull(key, tmp_path / "out", "--limit", 2)
    assert found.output.splitlines()[1].startswith("The limit is reached; run the same command")


def test_what_cannot_be_had_ends_in_exit_code_3(given, key, tmp_path):
    source = Memory(planted.image(1), planted.image(2))

    def fault(instance):
        if instance.instance.endswith("2"):
            raise NotFetchedError(ODD)

    source.fault = fault
    given(source)
    found = pull(key, tmp_path / "out")
    assert found.exit_code == 3
    assert "error: 1 object damaged or not to be had." in found.output


def test_age_and_sex_are_kept_if_asked_for(given, key, tmp_path):
    given(Memory(planted.image(1)))
    assert pull(key, tmp_path / "out", "--keep-age-and-sex").exit_code == 0
    (file,) = (tmp_path / "out").glob("*/*.dcm")
    assert b"090Y" in file.read_bytes()


def test_progress_is_told_now_and_then(given, key, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_LINE_SECONDS", -1.0)
    given(Memory(planted.image(1)))
    lines = pull(key, tmp_path / "out").output.splitlines()
    assert "looking for studies: 1 query answered" in lines
    assert "study 1 of 1: 1 image pulled, 0 there already" in lines
    lines = pull(key, tmp_path / "dry", "--dry-run").output.splitlines()
    assert "study 1 of 1: 1 image would be pulled, 0 there already" in lines
    assert not any("image pulled" in line for line in lines)


def test_accession_numbers_that_were_not_found_are_told_by_their_lines(given, key, tmp_path):
    listed = tmp_path / "numbers.txt"
    listed.write_text(f"AccessionNumber\n{planted.ACCESSION}\n\nPLANTED9\n")
    given(Memory(planted.image(1)))
    found = pull(key, tmp_path / "out", "--accessions", listed, "--dry-run")
    lines = found.output.splitlines()
    assert lines[:2] == [
        "1 of 3 accession numbers found.",
        "Not found: what stands in lines 1 and 4 of the list.",
    ]
    assert "like the header of a table" in lines[2]
    assert lines[3] == "1 study found: 1 image would be pulled, 0 there already."
    assert planted.leaks(found.output.encode()) == []
    assert "accession" not in pull(key, tmp_path / "out", "--dry-run").output


def test_addresses_become_archives(given, key, tmp_path, monkeypatch):
    met = given(Memory())
    monkeypatch.setenv("ENVOI_PACS_USER", "me")
    monkeypatch.setenv("ENVOI_PACS_PASSWORD", "secret")
    assert pull(key, tmp_path / "a").exit_code == 0
    dimse = ("--dimse", "[::1]:11112", "--called-aet", "PACS")
    assert pull(key, tmp_path / "b", "--tls", where=dimse).exit_code == 0
    web, store = met
    assert web.credentials == connect.Credentials(user="me", password="secret")
    assert (store.host, store.port, store.called_aet, store.calling_aet) == (
        "::1",
        11112,
        "PACS",
        "ENVOI",
    )
    assert store.tls == pacs.Tls()


def test_plain_text_on_the_network_is_warned_of(given, key, tmp_path):
    given(Memory())
    found = pull(key, tmp_path / "a", where=("--dicomweb", "http://pacs.example/dicom-web"))
    assert "warning: the connection is not encrypted" in found.output
    assert "an https address" in found.output
    dimse = ("--dimse", "pacs.example:104", "--called-aet", "PACS")
    assert "Use --tls if" in pull(key, tmp_path / "a", where=dimse).output
    here = ("--dicomweb", "http://127.0.0.1:8042/dicom-web")
    assert "warning" not in pull(key, tmp_path / "a", where=here).output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dates", "2020"], "--dates: expected YYYYMMDD-YYYYMMDD, found '2020'"),
        (["--dates", "20201301"], "--dates"),
        (["--dates", "20200102-20200101"], "expected a first and a last day, found the reverse"),
        (["--per-second", "0"], "per-second: expected 0.001 to 1000, found 0"),
        (["--modality", "m r"], "modality: expected a modality"),
        (["--dimse", "pacs:104"], "PACS: expected --dicomweb or --dimse, found both"),
    ],
)
def test_wrong_options_are_told(words, told, key, tmp_path):
    found = pull(key, tmp_path / "out", *words)
    assert (found.exit_code, told in found.output) == (2, True), found.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ([], "expected --dicomweb or --dimse, found neither"),
        (["--dimse", "pacs"], "--dimse: expected HOST:PORT"),
        (["--dimse", "pacs:99999"], "--dimse: expected HOST:PORT"),
        (["--dimse", "pacs:104"], "--called-aet: expected an AE title, found none"),
        (["--dicomweb", "pacs"], "--dicomweb: expected an address"),
    ],
)
def test_wrong_addresses_are_told(where, told, key, tmp_path):
    found = pull(key, tmp_path / "out", where=where)
    assert (found.exit_code, told in found.output) == (2, True), found.output


def test_a_netrc_file_that_does_not_help_is_told(key, tmp_path):
    path = tmp_path / "netrc"
    for text in ("machine other login a password secret\n", "planted secret\n"):
        path.write_text(text)
        found = pull(key, tmp_path / "out", "--netrc", path)
        assert found.exit_code == 3
        assert "netrc: expected a" in found.output
        assert "secret" not in found.output


@pytest.mark.parametrize("package", ["pynetdicom", "dicomweb_client", "dicomanonymizer"])
def test_a_missing_extra_is_one_line(package, key, tmp_path, monkeypatch, given):
    monkeypatch.setitem(sys.modules, package, None)
    where = ("--dicomweb", "http://127.0.0.1:9/x")
    if package == "pynetdicom":
        where = ("--dimse", "127.0.0.1:9", "--called-aet", "PACS")
    found = pull(key, tmp_path / "out", where=where)
    assert found.exit_code == 3
    (line,) = found.output.splitlines()
    assert line.endswith("In Envoi's repository run: pip install '.[pacs]'")


def test_no_password_can_be_given_on_the_command_line():
    help_text = run("pull", "--help").output
    assert "ENVOI_PACS_PASSWORD" in help_text
    assert not any(word in help_text for word in ("--password", "--user", "--token"))


def test_the_module_loads_no_extra():
    source = Path(room.__file__).read_text()
    assert "pydicom" not in source
