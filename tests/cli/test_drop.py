"""The file drop from end to end, by its commands."""

import builtins
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

import envoi.cli.delivery
from envoi.cli import app
from envoi.files import file_digest
from envoi.study import load_study, study_from, write_study
from envoi.submission import fingerprint, generate_key, load_key, public_text
from envoi.submission.kinds import Kind, kind_of
from tests.cli.test_site import SUBMIT, TRAIN, place  # noqa: F401  (a fixture)
from tests.server.sending import KEYS, SERVER, send, study_of, take_back

runner = CliRunner()
COMMON = ["--study", "study.toml", "--folder", "server"]


def run(*arguments, **environment):
    return runner.invoke(app, [str(argument) for argument in arguments], env=environment)


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """A server's machine: keys, a study that names them, an inbox with one file."""
    from envoi.submission import save_key

    monkeypatch.chdir(tmp_path)
    save_key(tmp_path / "server.key", SERVER)
    write_study(tmp_path / "study.toml", study_of())
    (tmp_path / "inbox").mkdir()
    send(tmp_path / "north-1.safetensors", "north")
    return tmp_path


RECEIPTS = ["--outbox", "outbox", "--key", "server.key"]
VERIFY = ["site", "verify-receipt", "--study", "study.toml", "--file", "north-1.safetensors"]
RECEIPT = ["--receipt", "outbox/north-1.receipt.json"]


def test_delivered_collected_and_receipted(drop):
    found = run("site", "deliver", "north-1.safetensors", "inbox")
    assert found.exit_code == 0, found.stderr
    whole = drop / "north-1.safetensors"
    told = f"{whole.stat().st_size} bytes, sha256 {file_digest(whole)}, read back and compared"
    assert found.output == f"Delivered north-1.safetensors: {told}.\n"
    assert "was there already, whole" in run("site", "deliver", whole, "inbox").output
    found = run("server", "collect", "inbox", *COMMON, *RECEIPTS)
    assert found.exit_code == 0, found.stderr
    found = run(*VERIFY, *RECEIPT)
    assert found.exit_code == 0, found.stderr
    line = r"The server of the study Cells received this file as number 1 of north, on 20\d\d-"
    assert re.match(line, found.output)
    assert "by the server's clock." in found.output
    assert f"Signed with the key {fingerprint(public_text(SERVER))}" in found.output


def test_what_does_not_match_ends_in_code_4(drop):
    send(drop / "inbox" / "other", "north", counts=(90, 90))
    run("server", "collect", "inbox", *COMMON, *RECEIPTS)
    found = run(*VERIFY, *RECEIPT)
    assert found.exit_code == 4
    assert "error: receipt, SHA-256 of the file: expected" in found.stderr
    assert run(*VERIFY, "--receipt", "nothing").exit_code == 3
    assert run(*VERIFY, *RECEIPT, "--site", "south").exit_code == 4
    write_study(drop / "study.toml", study_of(server={"receipts": public_text(generate_key())}))
    found = run(*VERIFY, *RECEIPT)
    assert (found.exit_code, found.stderr.count("\n")) == (4, 1)
    assert "expected the signature of the study's server" in found.stderr


def test_a_receipt_from_a_clock_two_days_ahead_is_warned_of(drop, monkeypatch):
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    monkeypatch.setattr("envoi.server.ledger.clock", lambda: ahead)
    run("site", "deliver", "north-1.safetensors", "inbox")
    run("server", "collect", "inbox", *COMMON, *RECEIPTS)
    found = run(*VERIFY, *RECEIPT)
    assert found.exit_code == 0
    assert "warning: The receipt is dated" in found.stderr
    assert "one of the two clocks is wrong" in found.stderr


def test_a_notice_has_its_receipt(drop):
    notice = drop / "inbox" / "north-1.withdrawal.json"
    take_back(notice, "north", 1)
    run("server", "collect", "inbox", *COMMON, *RECEIPTS)
    path = "outbox/north-1.withdrawal.receipt.json"
    found = run(
        "site", "verify-receipt", "--study", "study.toml", "--file", notice, "--receipt", path
    )
    assert found.exit_code == 0, found.stderr
    assert "carried out the withdrawal up to number 1 of north" in found.output


def test_deliver_goes_on_and_says_so(drop):
    whole = (drop / "north-1.safetensors").read_bytes()
    part = f"north-1.safetensors.{file_digest(drop / 'north-1.safetensors')[:16]}.part"
    (drop / "inbox" / part).write_bytes(whole[:1000])
    assert run("site", "deliver", "north-1.safetensors", "inbox").exit_code == 0
    send(drop / "inbox" / "other", "south")
    found = run("site", "deliver", "study.toml", "inbox")
    assert found.exit_code == 3
    assert "expected a submission or a withdrawal notice, found another file" in found.stderr
    assert run("site", "deliver", "north-1.safetensors", "nowhere").exit_code == 3


def test_progress_tells_bytes_rate_and_time_left(drop, monkeypatch):
    monkeypatch.setattr(envoi.cli.delivery, "_LINE_SECONDS", 0.0)
    monkeypatch.setattr("envoi.submission.delivery.CHUNK_BYTES", 100_000)
    found = run("site", "deliver", "north-1.safetensors", "inbox")
    assert re.search(r"0\.1 of 0\.3 MB, \d+\.\d MB/s, about \d+ s left", found.stderr)


def test_in_a_terminal_there_is_a_bar(drop):
    terminal = {"TTY_COMPATIBLE": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    found = run("site", "deliver", "north-1.safetensors", "inbox", **terminal)
    assert found.exit_code == 0, found.stderr


@pytest.mark.parametrize("words", [RECEIPTS[:2], RECEIPTS[2:]])
def test_outbox_and_key_belong_together(drop, words):
    found = run("server", "collect", "inbox", *COMMON, *words)
    assert found.exit_code == 2
    assert "expected --outbox and --key together" in found.stderr


def test_revoked_and_undone(drop):
    run("site", "deliver", "north-1.safetensors", "inbox")
    run("server", "collect", "inbox", *COMMON)
    found = run("server", "revoke", "north", *COMMON, "--reason", "laptop stolen")
    assert found.exit_code == 0, found.stderr
    assert f"key {fingerprint(public_text(KEYS['north']))}: laptop stolen" in found.output
    assert re.search(r"revoked: north, on 20\d\d-", run("server", "status", *COMMON).output)
    assert "missing: south, west" in found.output
    assert run("server", "revoke", "south", *COMMON).exit_code == 2
    found = run("server", "revoke", "north", *COMMON, "--undo")
    assert "The key of north is valid again. Run `envoi server collect` once more." in found.output
    assert "1 of 3 sites: north" in run("server", "collect", "inbox", *COMMON).output
    assert run("server", "revoke", "north", *COMMON, "--undo").exit_code == 3


def test_keygen_makes_a_key_for_receipts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("server", "keygen", "--out", "server.key")
    assert found.exit_code == 0, found.stderr
    public = public_text(load_key(tmp_path / "server.key"))
    assert f"envoi study set-server study.toml --receipts {public}\n" in found.output
    assert f"receipts  {fingerprint(public)}" in found.output
    assert run("server", "keygen", "--out", "server.key").exit_code == 3


def test_set_server_keeps_comments_and_changes_a_key_on_purpose_only(place):  # noqa: F811
    before = (place / "study.toml").read_text()
    digest = load_study(place / "study.toml").digest
    old, new = public_text(generate_key()), public_text(generate_key())
    found = run("study", "set-server", "study.toml", "--receipts", old)
    assert found.exit_code == 0, found.stderr
    assert f"server, receipts: fingerprint {fingerprint(old)}." in found.output
    study = load_study(place / "study.toml")
    assert study.digest in found.output
    assert study.digest != digest
    comments = re.findall(r"(?m)^#.*$", before)
    assert re.findall(r"(?m)^#.*$", (place / "study.toml").read_text()) == comments
    told = run("study", "check", "study.toml").output
    assert f"server, receipts: fingerprint {fingerprint(old)}" in told
    found = run("study", "set-server", "study.toml", "--receipts", new)
    assert found.exit_code == 3
    assert "server.receipts: expected no key yet, found another key" in found.stderr
    assert load_study(place / "study.toml") == study
    assert run("study", "set-server", "study.toml", "--receipts", new, "--replace").exit_code == 0
    assert load_study(place / "study.toml").server_keys == {"receipts": new}
    assert run("study", "set-server", "study.toml").exit_code == 2
    assert run("study", "set-server", "study.toml", "--encryption", "age1x").exit_code == 3


def test_a_study_may_be_set_up_before_its_sites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = ["--name", "Cells", "--classes", "a,b", "--channels", "1", "--size", "28"]
    run("study", "new", ".", *new)
    found = run("study", "set-server", "study.toml", "--receipts", public_text(generate_key()))
    assert found.exit_code == 0, found.stderr


def encrypting():
    """Give the server its keys, and the study their public halves."""
    pytest.importorskip("pyrage")
    found = run("server", "keygen", "--out", "server.key", "--identity", "age.key")
    assert found.exit_code == 0, found.stderr
    (command,) = re.findall(r"(?m)^envoi (study set-server .*)$", found.output)
    assert run(*command.split()).exit_code == 0
    return found


def test_an_older_study_cannot_make_an_encrypted_submission_an_open_one(place):  # noqa: F811
    older = (place / "study.toml").read_text()
    encrypting()
    assert run(*TRAIN).exit_code == 0
    newer = (place / "study.toml").read_text()
    (place / "study.toml").write_text(older)
    found = run(*SUBMIT, "--out", ".")
    assert found.exit_code == 3
    assert "with this one the file would leave unencrypted" in found.stderr
    assert not list(place.glob("north-1*"))
    (place / "study.toml").write_text(newer)
    assert run(*SUBMIT, "--out", ".").exit_code == 0


def test_the_name_of_a_submission_says_whether_it_is_encrypted(place):  # noqa: F811
    assert run(*TRAIN).exit_code == 0
    found = run(*SUBMIT, "--out", "north.age")
    assert (found.exit_code, "does not end in .age" in found.stderr) == (2, True)
    encrypting()
    found = run(*SUBMIT, "--out", "north.safetensors")
    assert (found.exit_code, "a name that ends in .age" in found.stderr) == (2, True)
    assert run(*SUBMIT, "--out", "north.age").exit_code == 0


def test_a_disk_that_fills_while_encrypting_is_told(place, monkeypatch):  # noqa: F811
    encrypting()
    assert run(*TRAIN).exit_code == 0
    import pyrage

    def full(source, sink, recipients):
        sink.write(source.read(1000))
        raise pyrage.EncryptError("OSError: [Errno 28] No space left on device")

    monkeypatch.setattr(pyrage, "encrypt_io", full)
    found = run(*SUBMIT, "--out", "new/")
    assert found.exit_code == 3, found.output
    assert "No space left on device" in found.stderr
    assert not list((place / "new").iterdir())
    assert not (place / "work" / "submission.part").exists()


def test_encrypted_from_the_site_to_the_student(place):  # noqa: F811
    found = encrypting()
    recipient = load_study(place / "study.toml").server_keys["encryption"]
    assert f"encryption  {fingerprint(recipient)}" in found.output
    assert f"server, encryption: fingerprint {fingerprint(recipient)}" in (
        run("study", "check", "study.toml").output
    )
    assert run(*TRAIN).exit_code == 0
    found = run(*SUBMIT, "--out", ".")
    assert found.exit_code == 0, found.stderr
    assert "It is encrypted: only the server can read it" in found.output
    assert fingerprint(recipient) in found.output
    assert [path.name for path in place.glob("north-1*")] == ["north-1.safetensors.age"]
    hidden = (place / "north-1.safetensors.age").read_bytes()
    assert kind_of(hidden) is Kind.ENCRYPTED
    assert b"north" not in hidden
    assert sorted(path.name for path in (place / "work").iterdir()) == [
        "sent.json",
        "trained.safetensors",
    ]
    (place / "inbox").mkdir()
    assert run("site", "deliver", "north-1.safetensors.age", "inbox").exit_code == 0
    words = ["server", "collect", "inbox", *COMMON, *RECEIPTS]
    assert "give the server's identity with --identity" in run(*words).output
    found = run(*words, "--identity", "age.key")
    assert "1 of 2 sites: north" in found.output
    check = ["site", "verify-receipt", "--study", "study.toml", *RECEIPT]
    found = run(*check, "--file", "north-1.safetensors.age", "--site", "north", "--sequence", 1)
    assert found.exit_code == 0, found.stderr
    assert run(*words, "--identity", "server.key").exit_code == 3


def without_pyrage(monkeypatch):
    usual = builtins.__import__

    def imported(name, *rest, **more):
        if name == "pyrage":
            raise ImportError(name)
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", imported)


RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def test_without_the_extra_commands_name_it_and_use_up_no_number(place, monkeypatch):  # noqa: F811
    assert run("study", "set-server", "study.toml", "--encryption", RECIPIENT).exit_code == 0
    assert run(*TRAIN).exit_code == 0
    without_pyrage(monkeypatch)
    (place / "age.key").write_text("x")
    for words in (
        [*SUBMIT, "--out", "."],
        ["server", "keygen", "--out", "server.key", "--identity", "other.key"],
        ["server", "collect", ".", *COMMON, "--identity", "age.key"],
    ):
        found = run(*words)
        assert found.exit_code == 3
        assert "In Envoi's repository run: pip install '.[age]'" in found.stderr
    assert not (place / "work" / "sent.json").exists()
    assert not (place / "server.key").exists()
    assert not list(place.glob("north-1*"))


def test_no_identifier_of_the_site_is_told(place, monkeypatch):  # noqa: F811
    planted = place / "planted-folder-of-dr-who"
    planted.mkdir()
    assert run(*TRAIN, "--work", planted / "work").exit_code == 0
    assert run(*SUBMIT, "--work", planted / "work", "--out", planted).exit_code == 0
    (place / "inbox").mkdir()
    found = run("site", "deliver", planted / "north-1.safetensors", "inbox")
    assert found.exit_code == 0, found.stderr
    (planted / "north-1.receipt.json").write_text("x")
    key = public_text(generate_key())
    assert run("study", "set-server", "study.toml", "--receipts", key).exit_code == 0
    told = found.output + found.stderr
    words = ["--receipt", planted / "north-1.receipt.json", "--file"]
    words = ["site", "verify-receipt", "--study", "study.toml", *words]
    found = run(*words, planted / "north-1.safetensors")
    assert found.exit_code == 4
    assert "planted" not in told + found.output + found.stderr


def test_old_studies_and_their_ledgers_go_on(tmp_path, monkeypatch):
    """A study without server keys, a ledger without the newer fields."""
    monkeypatch.chdir(tmp_path)
    study = study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "minimum_sites": 2,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"], "weight_format": "int8"},
            "sites": {site: public_text(key) for site, key in KEYS.items()},
        }
    )
    write_study(tmp_path / "study.toml", study)
    (tmp_path / "inbox").mkdir()
    send(tmp_path / "inbox" / "a", "north", study=study)
    run("server", "collect", "inbox", *COMMON)
    path = tmp_path / "server" / "ledger.json"
    document = json.loads(path.read_text())
    del document["revoked"]
    for name in ("content", "cause", "time", "notice"):
        del document["entries"][0][name]
    path.write_text(json.dumps(document))
    assert "1 of 3 sites: north" in run("server", "status", *COMMON).output
    assert "1 of 3 sites: north" in run("server", "collect", "inbox", *COMMON).output
