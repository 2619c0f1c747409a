import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key

from envoi.errors import StorageError
from envoi.submission import fingerprint, generate_key, load_key, public_text, save_key
from envoi.submission.keys import decode_signature, is_signed, sign


def pem(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def test_a_saved_key_is_the_same_and_private(tmp_path, key):
    path = tmp_path / "keys" / "site.pem"
    save_key(path, key)
    assert public_text(load_key(path)) == public_text(key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_key_is_never_overwritten(tmp_path, key, other_key):
    path = tmp_path / "site.pem"
    save_key(path, key)
    with pytest.raises(StorageError, match="a file that a new key would destroy"):
        save_key(path, other_key)
    assert public_text(load_key(path)) == public_text(key)
    link = tmp_path / "link.pem"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="a file that a new key would destroy"):
        save_key(link, key)
    with pytest.raises(StorageError, match="expected a file, found a folder of that name"):
        save_key(tmp_path, key)


def test_files_that_hold_no_key(tmp_path, key):
    path = tmp_path / "site.pem"
    with pytest.raises(StorageError, match="a private key file, found No such file"):
        load_key(path)
    secret = serialization.BestAvailableEncryption(b"secret")
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    contents = {
        b"": "something else",
        b"\x80\x04pickle": "something else",
        public: "something else",
        pem(key)[:-40]: "something else",
        pem(key, secret): "a key under a passphrase",
        pem(generate_ec_key(SECP256R1())): "a key of another kind",
    }
    for content, found in contents.items():
        path.write_bytes(content)
        with pytest.raises(StorageError, match=f"an Ed25519 key in PEM, found {found}"):
            load_key(path)
    with pytest.raises(StorageError, match="Is a directory"):
        load_key(tmp_path)


def test_errors_never_quote_the_key(tmp_path, key):
    path = tmp_path / "site.pem"
    path.write_bytes(pem(key).replace(b"PRIVATE", b"STRANGE"))
    with pytest.raises(StorageError) as caught:
        load_key(path)
    secret = pem(key).splitlines()[1].decode()
    assert secret not in str(caught.value)


def test_fingerprints_are_short_and_tell_keys_apart(key, other_key):
    text = fingerprint(public_text(key))
    assert text == fingerprint(public_text(key))
    assert text != fingerprint(public_text(other_key))
    groups = text.split("-")
    assert [len(group) for group in groups] == [4] * 5
    assert set("".join(groups)) <= set("0123456789abcdef")
    with pytest.raises(ValueError, match="does not begin"):
        fingerprint("ssh-ed25519 AAAA")


def test_new_keys_differ():
    assert len({public_text(generate_key()) for _ in range(3)}) == 3


def test_signatures(key, other_key):
    raw = decode_signature(sign(key, b"message"))
    assert is_signed(b"message", raw, public_text(key))
    assert not is_signed(b"Message", raw, public_text(key))
    assert not is_signed(b"message", raw, public_text(other_key))
    assert not is_signed(b"message", bytes(64), public_text(key))


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 88, "é", "A" * 85 + "===", "=" * 88])
def test_what_is_no_signature(text):
    assert decode_signature(text) is None


def test_signatures_have_one_spelling(key):
    text = sign(key, b"message")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    others = [text[:85] + letter + "==" for letter in last if letter != text[85]]
    same = [other for other in others if decode_signature(other) == decode_signature(text)]
    assert same == []
