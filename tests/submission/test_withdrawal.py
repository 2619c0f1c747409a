import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envoi.errors import SignatureError, SubmissionError
from envoi.files import canonical_json
from envoi.submission import Withdrawal, open_withdrawal, write_withdrawal
from envoi.submission.keys import sign
from envoi.submission.withdrawal import SIGNING_DOMAIN, SIZE_LIMIT


@pytest.fixture
def notice(tmp_path, study, key):
    path = tmp_path / "north.withdrawal.json"
    write_withdrawal(path, study=study, site="north", sequence=4, key=key)
    return path


def line_of(path, study):
    with pytest.raises(SubmissionError) as caught:
        open_withdrawal(path, study=study)
    line = str(caught.value)
    assert line.isascii()
    assert line.isprintable()
    assert len(caught.value.problems) == 1
    return line


def signed(key, notice):
    signature = sign(key, SIGNING_DOMAIN + canonical_json(notice).encode())
    return canonical_json({"notice": notice, "signature": signature}) + "\n"


def test_round_trip(notice, study):
    assert open_withdrawal(notice, study=study) == Withdrawal("north", 4)
    assert len(notice.read_bytes()) < SIZE_LIMIT


def test_equal_arguments_give_equal_bytes(notice, study, key):
    first = notice.read_bytes()
    write_withdrawal(notice, study=study, site="north", sequence=4, key=key)
    assert notice.read_bytes() == first


def test_the_longest_notice_fits(tmp_path, study, key, change):
    from envoi.submission import public_text

    long = change(study, sites={"x" * 63: public_text(key)}, minimum_sites=1)
    path = tmp_path / "n.json"
    write_withdrawal(path, study=long, site="x" * 63, sequence=2**53 - 1, key=key)
    assert open_withdrawal(path, study=long).sequence == 2**53 - 1


def test_only_the_site_itself_withdraws(tmp_path, study, other_key):
    with pytest.raises(SignatureError, match="site north: .* found another key"):
        write_withdrawal(tmp_path / "n", study=study, site="north", sequence=1, key=other_key)
    with pytest.raises(SubmissionError, match="sequence: expected 0 up to"):
        write_withdrawal(tmp_path / "n", study=study, site="south", sequence=-1, key=other_key)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=3)
@given(first=st.integers(1, 255))
def test_every_byte_counts(notice, study, first):
    honest = notice.read_bytes()
    for position, byte in enumerate(honest):
        changed = bytearray(honest)
        changed[position] = byte ^ (1 + (first + 37 * position) % 255)
        notice.write_bytes(bytes(changed))
        line_of(notice, study)
    notice.write_bytes(honest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": -1}, "found other fields"),
        ({"sequence": 4.0}, "found other fields"),
        ({"sequence": True}, "found other fields"),
        ({"sequence": 2**53}, "found other fields"),
        ({"site": "../x"}, "found other fields"),
        ({"site": "west"}, "a site of the roster, found the site 'west'"),
        ({"study": "0" * 64}, "a notice of this study, found one of another study"),
        ({"schema_version": 2}, "found other fields"),
        ({"action": "delete everything"}, "found other fields"),
        ({"reason": "patient J. D."}, "found other fields"),
    ],
)
def test_signed_notices_that_are_wrong(notice, study, key, changes, message):
    content = {**json.loads(notice.read_text())["notice"], **changes}
    notice.write_text(signed(key, content))
    assert message in line_of(notice, study)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found 0 bytes"),
        (b" " * (SIZE_LIMIT + 1), "at most 2048 bytes"),
        (b"[" * 1000, "nested deeper"),
        (b"[]", "found something else"),
        (b"3", "found something else"),
        (b'{"notice":1,"signature":"x"}', "found other fields"),
        (b'{"notice":{},"signature":"x","x":1}', "found something else"),
        (b'{"notice":{},"notice":{},"signature":"x"}', "stands twice"),
        (b'{"notice":{"site":"\\ud800"},"signature":""}', "an escaped surrogate"),
        (b"\xff\xfe{}", "not UTF-8"),
    ],
)
def test_files_that_are_no_notice(notice, study, content, message):
    notice.write_bytes(content)
    assert message in line_of(notice, study)


def test_a_signature_that_is_no_text(notice, study):
    document = json.loads(notice.read_text())
    notice.write_text(canonical_json({**document, "signature": 3}))
    assert "in its canonical form" in line_of(notice, study)


def test_other_spellings(notice, study):
    document = json.loads(notice.read_text())
    notice.write_text(json.dumps(document, indent=2))
    assert "in its canonical form" in line_of(notice, study)


def test_a_submission_key_use_is_no_withdrawal(notice, study, key):
    content = json.loads(notice.read_text())["notice"]
    signature = sign(key, b"envoi submission v1\n" + canonical_json(content).encode())
    notice.write_text(canonical_json({"notice": content, "signature": signature}) + "\n")
    assert "a signature that does not match" in line_of(notice, study)


def test_files_that_cannot_be_opened(tmp_path, study, notice):
    assert "found a folder" in line_of(tmp_path, study)
    assert "No such file" in line_of(tmp_path / "none", study)
    link = tmp_path / "link"
    link.symlink_to(notice)
    assert "a symbolic link" in line_of(link, study)
