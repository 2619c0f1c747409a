"""What a file is by its first bytes: no check, but enough to tell the kinds that travel apart."""

from enum import StrEnum

BEGINNING_BYTES = 4096
AGE_MAGIC = b"age-encryption.org/v1\n"
NOTICE_BEGINNING = b'{"notice":'
EVALUATION_BEGINNING = b'{"evaluation":'
# A safetensors file is eight bytes of length and a header; a submission's starts with its manifest.
LENGTH_BYTES = 8
SUBMISSION_BEGINNING = b'{"__metadata__":{"manifest":'


class Kind(StrEnum):
    """A kind of file that a site sends."""

    SUBMISSION = "submission"
    ENCRYPTED = "encrypted"
    WITHDRAWAL = "withdrawal"
    EVALUATION = "evaluation"


def kind_of(beginning: bytes) -> Kind | None:
    """The kind of a file that begins so, or None if no site sends such a file."""
    if beginning.startswith(AGE_MAGIC):
        return Kind.ENCRYPTED
    if beginning.startswith(NOTICE_BEGINNING):
        return Kind.WITHDRAWAL
    if beginning.startswith(EVALUATION_BEGINNING):
        return Kind.EVALUATION
    is_submission = beginning[LENGTH_BYTES:].startswith(SUBMISSION_BEGINNING)
    return Kind.SUBMISSION if is_submission else None
