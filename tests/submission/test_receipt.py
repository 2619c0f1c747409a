import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envoi.errors import CheckError, EnvoiWarning, StudyError, SubmissionError
from envoi.files import canonical_json, file_digest
from envoi.study import ServerKeys
from envoi.submission import generate_key, public_text, write_withdrawal
from envoi.submission.keys import fingerprint, sign
from envoi.submission.kinds import AGE_MAGIC
from envoi.submission.receipt import (
    SENTENCES,
    SIGNING_DOMAIN,
    SIZE_LIMIT,
    Cause,
    Receipt,
    Verdict,
    open_receipt,
    signed_receipt,
    told_time,
)
from envoi.submission.receipt_check import check_receipt

SERVER = generate_key()
NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def server_study(study, change):
    """The study, with a server that signs receipts."""
    return change(study, server=ServerKeys(receipts=public_text(SERVER)))


@pytest.fixture
def sent(forge, server_study):
    """A submission as its site has it: number 7 of north."""
    return forge.path(forge.signed(study=server_study.digest))


@pytest.fixture
def receipt(server_study, sent):
    return Receipt(
        study=server_study.digest,
        kind="submission",
        site="north",
        sequence=7,
        sha256=file_digest(sent),
        bytes=sent.stat().st_size,
        verdict=Verdict.RECEIVED,
        reason=None,
        time=NOW,
        server=fingerprint(public_text(SERVER)),
    )


@pytest.fixture
def written(tmp_path):
    """Writes a receipt and says where."""

    def write(receipt, key=SERVER, **changes):
        path = tmp_path / "north-7.receipt.json"
        path.write_bytes(signed_receipt(receipt.model_copy(update=changes), key))
        return path

    return write


def mismatch(path, study, file, **more):
    with pytest.raises(CheckError) as caught:
        check_receipt(path, study=study, file=file, now=NOW, **more)
    text = str(caught.value)
    assert text.isascii()
    assert caught.value.exit_code == 4
    return text


def test_an_honest_receipt_fits(written, receipt, server_study, sent):
    path = written(receipt)
    assert check_receipt(path, study=server_study, file=sent, now=NOW) == receipt
    assert len(path.read_bytes()) < SIZE_LIMIT / 2
    whole = {"site": "north", "sequence": 7}
    assert check_receipt(path, study=server_study, file=sent, now=NOW, **whole) == receipt


def test_equal_receipts_have_equal_bytes(receipt):
    assert signed_receipt(receipt, SERVER) == signed_receipt(receipt.model_copy(), SERVER)


def test_the_longest_receipt_fits(written, receipt):
    longest = {
        "site": "x" * 63,
        "sequence": 2**53 - 1,
        "bytes": 2**63,
        "verdict": Verdict.SUPERSEDED,
    }
    path = written(receipt, **longest, reason=Cause.BY_COORDINATOR)
    assert open_receipt(path, public_key=public_text(SERVER)).site == "x" * 63


def test_a_number_that_still_counts_stands_in_a_receipt_only_where_there_is_one(written, receipt):
    public = public_text(SERVER)
    changes = {"kind": "withdrawal", "verdict": Verdict.WITHDRAWN}
    path = written(receipt, **changes)
    assert b"still_counting" not in path.read_bytes()
    assert open_receipt(path, public_key=public).still_counting is None
    path = written(receipt, **changes, still_counting=9)
    assert open_receipt(path, public_key=public).still_counting == 9
    document = json.loads(path.read_text())
    document["receipt"]["still_counting"] = None
    path.write_text(canonical_json(document) + "\n")
    with pytest.raises(CheckError, match="another spelling|something else"):
        open_receipt(path, public_key=public)


def test_times_are_told(receipt):
    assert told_time(receipt.time) == "on 2030-06-01 12:00 UTC"
    assert told_time(None) == "at a time that was not noted"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"site": "south"}, "receipt, site: expected 'north', found 'south'"),
        ({"site": None}, "receipt, site: expected 'north', found None"),
        ({"sequence": 8}, "receipt, number: expected 7, found 8"),
        ({"sha256": "0" * 64}, "receipt, SHA-256 of the file: expected '"),
        ({"sha256": None}, "receipt, SHA-256 of the file: expected '"),
        ({"bytes": 3}, "receipt, bytes of the file: expected "),
        ({"study": "0" * 64}, "receipt, study: expected '"),
        ({"server": "-".join(["0000"] * 5)}, "receipt, server: expected '"),
        ({"kind": "withdrawal"}, "receipt, kind of file: expected 'submission'"),
        *(
            ({"verdict": Verdict.REFUSED, "reason": cause}, f"found refused: {SENTENCES[cause]}")
            for cause in Cause
        ),
        ({"verdict": Verdict.REFUSED}, "receipt, verdict: expected received, found refused. "),
        ({"verdict": Verdict.WITHDRAWN, "reason": Cause.BY_SITE}, "found withdrawn: the site"),
        ({"verdict": Verdict.SUPERSEDED, "reason": Cause.NEWER}, "found superseded: a newer file"),
    ],
)
def test_signed_receipts_of_something_else(written, receipt, server_study, sent, changes, message):
    assert message in mismatch(written(receipt, **changes), server_study, sent)


def test_all_that_does_not_match_is_told_at_once(written, receipt, server_study, sent):
    path = written(receipt, site="south", sequence=9, verdict=Verdict.REFUSED)
    assert len(mismatch(path, server_study, sent).splitlines()) == 3


def test_a_receipt_for_another_number_is_no_answer(written, receipt, forge, server_study):
    other = forge.path(forge.signed(study=server_study.digest, sequence=8), "other")
    text = mismatch(written(receipt), server_study, other)
    assert "receipt, number: expected 8, found 7" in text
    assert "receipt, SHA-256" in text


def test_a_receipt_for_another_site_or_number_than_asked(written, receipt, server_study, sent):
    path = written(receipt)
    assert "site: expected 'south'" in mismatch(path, server_study, sent, site="south")
    assert "number: expected 1" in mismatch(path, server_study, sent, sequence=1)


def test_a_forger_is_told(written, receipt, server_study, sent):
    path = written(receipt, key=generate_key())
    assert "found one that does not match. Do not rely on it" in mismatch(path, server_study, sent)


def test_a_site_cannot_sign_its_own_receipt(written, receipt, server_study, sent, key):
    assert "does not match" in mismatch(written(receipt, key=key), server_study, sent)


@pytest.mark.parametrize(
    "domain", [b"", b"envoi submission v1\n", b"envoi withdrawal v1\n", b"envoi receipt v2\n"]
)
def test_other_signatures_of_the_server_are_no_receipt(
    tmp_path, receipt, server_study, sent, domain
):
    value = receipt.model_dump(mode="json")
    assert domain != SIGNING_DOMAIN
    signature = sign(SERVER, domain + canonical_json(value).encode())
    path = tmp_path / "r.json"
    path.write_text(canonical_json({"receipt": value, "signature": signature}) + "\n")
    assert "does not match" in mismatch(path, server_study, sent)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=3)
@given(first=st.integers(1, 255))
def test_every_byte_counts(written, receipt, server_study, sent, first):
    path = written(receipt)
    honest = path.read_bytes()
    for position, byte in enumerate(honest):
        changed = bytearray(honest)
        changed[position] = byte ^ (1 + (first + 37 * position) % 255)
        path.write_bytes(bytes(changed))
        mismatch(path, server_study, sent)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=25)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_receipt_that_was_cut_is_none(written, receipt, server_study, sent, cut):
    path = written(receipt)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    mismatch(path, server_study, sent)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"expected a receipt of at most {SIZE_LIMIT} bytes, found 0 bytes"),
        (b" " * (SIZE_LIMIT + 1), f"found {SIZE_LIMIT + 1} bytes"),
        (b"[" * 1000, "nested deeper"),
        (b"[]", "found something else"),
        (b"3", "found something else"),
        (b"null", "found something else"),
        (b"{}", "found other fields"),
        (b'{"receipt":1,"signature":"x"}', "found other fields"),
        (b'{"receipt":{},"signature":"x"}', "found other fields"),
        (b'{"receipt":{},"receipt":{},"signature":"x"}', "stands twice"),
        (b"\xff\xfe{}", "not UTF-8"),
    ],
)
def test_files_that_are_no_receipt(tmp_path, server_study, sent, content, message):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    assert message in mismatch(path, server_study, sent)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": -1},
        {"sequence": True},
        {"sequence": 2**53},
        {"site": "../x"},
        {"site": "Planted Name"},
        {"reason": "patient J. D."},
        {"verdict": "lost"},
        {"kind": "letter"},
        {"schema_version": 2},
        {"bytes": -1},
        {"time": "yesterday"},
        {"time": "2030-06-01T12:00:00"},
        {"time": "2030-06-01T12:00:00+00:00"},
        {"note": "patient J. D."},
    ],
)
def test_signed_receipts_of_other_fields(tmp_path, receipt, server_study, sent, changes):
    value = {**receipt.model_dump(mode="json"), **changes}
    signature = sign(SERVER, SIGNING_DOMAIN + canonical_json(value).encode())
    path = tmp_path / "r.json"
    path.write_text(canonical_json({"receipt": value, "signature": signature}) + "\n")
    text = mismatch(path, server_study, sent)
    assert "expected a receipt, found" in text
    assert "J. D." not in text
    assert "Planted" not in text


def test_other_spellings_and_other_signatures(written, receipt, server_study, sent):
    path = written(receipt)
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document, indent=1))
    assert "found something else" in mismatch(path, server_study, sent)
    path.write_text(canonical_json({**document, "signature": 3}) + "\n")
    assert "found something else" in mismatch(path, server_study, sent)
    path.write_text(canonical_json({**document, "signature": "AAAA"}) + "\n")
    assert "does not match" in mismatch(path, server_study, sent)


def test_a_notice_that_was_carried_out(written, receipt, server_study, key, tmp_path):
    notice = tmp_path / "north-7.withdrawal.json"
    write_withdrawal(notice, study=server_study, site="north", sequence=7, key=key)
    told = {"sha256": file_digest(notice), "bytes": notice.stat().st_size}
    told |= {"kind": "withdrawal", "verdict": Verdict.WITHDRAWN, "reason": None}
    path = written(receipt, **told)
    assert check_receipt(path, study=server_study, file=notice, now=NOW).sequence == 7
    path = written(receipt, **told | {"verdict": Verdict.REFUSED, "reason": Cause.SIGNATURE})
    assert "expected withdrawn, found refused" in mismatch(path, server_study, notice)
    path = written(receipt, **told | {"kind": "submission", "verdict": Verdict.RECEIVED})
    assert "kind of file: expected 'withdrawal'" in mismatch(path, server_study, notice)


def test_an_encrypted_file_is_known_by_its_digest_alone(written, receipt, server_study, tmp_path):
    hidden = tmp_path / "north-7.safetensors.age"
    hidden.write_bytes(AGE_MAGIC + os.urandom(500))
    told = {"sha256": file_digest(hidden), "bytes": hidden.stat().st_size}
    path = written(receipt, **told)
    assert check_receipt(path, study=server_study, file=hidden, now=NOW).site == "north"
    assert "site: expected 'south'" in mismatch(path, server_study, hidden, site="south")
    hidden.write_bytes(AGE_MAGIC + os.urandom(500))
    assert "SHA-256" in mismatch(path, server_study, hidden)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"",
        b'\xff\xff\xff\xff\xff\xff\xff\x7f{"__metadata__":{"manifest":"',
        b'\x1c\0\0\0\0\0\0\0{"__metadata__":{"manifest":3}}',
        b'{"notice":3}',
        b'{"notice":{"site":3,"sequence":true}}',
        b'{"notice":',
    ],
)
def test_other_files_get_no_approval(written, receipt, server_study, tmp_path, content):
    other = tmp_path / "other"
    other.write_bytes(content)
    assert "SHA-256 of the file" in mismatch(written(receipt), server_study, other)


def test_a_file_that_is_no_submission_is_not_approved_by_its_digest(
    written, receipt, server_study, tmp_path
):
    (tmp_path / "x").write_bytes(b"hello")
    path = written(receipt, sha256=file_digest(tmp_path / "x"), bytes=5)
    found = mismatch(path, server_study, tmp_path / "x")
    assert (
        "kind of file: expected 'a submission or a withdrawal notice', found 'submission'" in found
    )


def test_without_a_key_in_the_study_nothing_can_be_checked(written, receipt, study, sent):
    with pytest.raises(StudyError, match="a key that signs receipts, found none"):
        check_receipt(written(receipt), study=study, file=sent)


def test_files_that_cannot_be_read(written, receipt, server_study, sent, tmp_path):
    with pytest.raises(SubmissionError, match="No such file"):
        check_receipt(tmp_path / "nothing", study=server_study, file=sent)
    with pytest.raises(SubmissionError, match="found a folder"):
        check_receipt(written(receipt), study=server_study, file=tmp_path)


@pytest.mark.parametrize(("days", "warns"), [(-2, False), (0, False), (0.9, False), (2, True)])
def test_a_clock_that_is_off_is_a_warning_and_no_more(
    written, receipt, server_study, sent, days, warns
):
    path = written(receipt, time=NOW + timedelta(days=days))
    if not warns:
        check_receipt(path, study=server_study, file=sent, now=NOW)
        return
    with pytest.warns(EnvoiWarning, match="2030-06-03 12:00 UTC, and it is 2030-06-01 12:00 UTC"):
        found = check_receipt(path, study=server_study, file=sent, now=NOW)
    assert found.site == "north"


def test_a_receipt_without_a_time_is_one(written, receipt, server_study, sent):
    assert check_receipt(written(receipt, time=None), study=server_study, file=sent).time is None
