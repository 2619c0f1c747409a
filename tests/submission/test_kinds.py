import pytest

from envoi.submission.kinds import AGE_MAGIC, Kind, kind_of


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [
        (b"", None),
        (b"hello", None),
        (AGE_MAGIC + b"-> X25519", Kind.ENCRYPTED),
        (AGE_MAGIC[:-1], None),
        (b'{"notice":{', Kind.WITHDRAWAL),
        (b'\x10\0\0\0\0\0\0\0{"__metadata__":{"manifest":"', Kind.SUBMISSION),
        (b'\x10\0\0\0\0\0\0\0{"__metadata__":{"student":"', None),
        (b"-----BEGIN PRIVATE KEY-----", None),
    ],
)
def test_kinds_are_told_by_their_first_bytes(beginning, kind):
    assert kind_of(beginning) is kind


def test_what_sites_write_is_known(forge, study, key, tmp_path):
    from envoi.submission import write_withdrawal

    assert kind_of(forge.file()) is Kind.SUBMISSION
    write_withdrawal(tmp_path / "n", study=study, site="north", sequence=1, key=key)
    assert kind_of((tmp_path / "n").read_bytes()) is Kind.WITHDRAWAL
