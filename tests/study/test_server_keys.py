import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoi.errors import StudyError
from envoi.study import ServerKeys, decode_recipient, load_study, study_from, write_study
from envoi.study.server_keys import _ALPHABET, _WEAK_KEYS, _expanded, _polymod
from envoi.submission import fingerprint, generate_key, public_text

KEY = public_text(generate_key())
# From the documentation of age: a recipient as `age-keygen` prints it.
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def encoded(raw):
    """An age recipient of any bytes, with a right checksum (BIP 173)."""
    number, left = int.from_bytes(raw, "big"), -len(raw) * 8 % 5
    count = (len(raw) * 8 + left) // 5
    number <<= left
    values = [number >> 5 * (count - 1 - place) & 31 for place in range(count)]
    check = _polymod([*_expanded("age"), *values, *[0] * 6]) ^ 1
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return "age1" + "".join(_ALPHABET[value] for value in values)


@given(st.binary(min_size=32, max_size=32))
def test_recipients_are_read_back(raw):
    if raw[:-1] + bytes([raw[-1] & 127]) not in _WEAK_KEYS:
        assert decode_recipient(encoded(raw)) == raw


def test_a_known_recipient_is_read():
    assert len(decode_recipient(RECIPIENT)) == 32
    assert encoded(decode_recipient(RECIPIENT)) == RECIPIENT


def test_pyrage_agrees():
    pyrage = pytest.importorskip("pyrage")
    for _ in range(20):
        text = str(pyrage.x25519.Identity.generate().to_public())
        assert encoded(decode_recipient(text)) == text


@given(place=st.integers(0, 57), letter=st.sampled_from(_ALPHABET))
def test_no_slip_in_a_letter_passes(place, letter):
    changed = RECIPIENT[: 4 + place] + letter + RECIPIENT[5 + place :]
    if changed != RECIPIENT:
        with pytest.raises(ValueError, match="a slip in it"):
            decode_recipient(changed)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "text that does not begin with 'age1'"),
        (RECIPIENT.upper(), "text that does not begin with 'age1'"),
        ("age1", "not bech32"),
        (f"{RECIPIENT[:-1]}B", "not bech32"),
        (RECIPIENT[:-1], "a slip in it"),
        (encoded(bytes(31)), "a key of 31 bytes"),
        (encoded(bytes(33)), "a key of 33 bytes"),
        *((encoded(raw), "a weak key") for raw in sorted(_WEAK_KEYS)),
        (encoded(bytes(31) + b"\x80"), "a weak key"),
    ],
)
def test_what_is_no_recipient_is_told(text, found):
    with pytest.raises(ValueError, match=found):
        decode_recipient(text)


def test_left_over_bits_must_be_zero():
    values = [_ALPHABET.index(letter) for letter in encoded(b"x" * 32)[4:-6]]
    values[-1] |= 1
    check = _polymod([*_expanded("age"), *values, *[0] * 6]) ^ 1
    values += [check >> 5 * (5 - place) & 31 for place in range(6)]
    with pytest.raises(ValueError, match="not in its standard form"):
        decode_recipient("age1" + "".join(_ALPHABET[value] for value in values))


def refusal(document, server):
    with pytest.raises(StudyError) as caught:
        study_from({**document, "server": server})
    return str(caught.value)


def test_a_study_names_its_servers_keys(document, tmp_path):
    study = study_from({**document, "server": {"receipts": KEY, "encryption": RECIPIENT}})
    assert study.server_keys == {"receipts": KEY, "encryption": RECIPIENT}
    write_study(tmp_path / "study.toml", study)
    assert load_study(tmp_path / "study.toml").digest == study.digest
    half = study_from({**document, "server": {"receipts": KEY}})
    assert half.server_keys == {"receipts": KEY}
    assert study_from(document).server_keys == {}
    assert fingerprint(KEY) != fingerprint(RECIPIENT)


def test_wrong_keys_are_told_with_their_place(document):
    lines = refusal(document, {"receipts": "x", "encryption": "y"}).splitlines()
    assert lines[0].startswith("study, server.receipts: expected 'ed25519:' and 44 base64")
    assert lines[1].startswith("study, server.encryption: expected 'age1' and 58 characters")
    assert "server: expected receipts, encryption or both" in refusal(document, {})
    assert "Did you mean 'receipts'?" in refusal(document, {"receipt": KEY})
    assert "study, server: expected" in refusal(document, 5)


def test_the_server_has_a_key_of_its_own(document):
    line = refusal(document, {"receipts": document["sites"]["south"]})
    assert "sites.south: expected a key of its own, found the server's key for receipts" in line


def test_a_table_may_be_empty_handed_only_in_code():
    with pytest.raises(ValueError, match="receipts, encryption or both"):
        ServerKeys()
