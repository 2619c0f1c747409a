"""Small signed JSON files of the server: one form for receipts and endorsements.

`{NAME: body, "signature": ...}` in canonical JSON, one line, as those of sites
(`envoi.submission.statement`); the signature is over the body's own text behind a domain of its
kind. Loads no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ValidationError

from envoi.errors import CheckError, Problem, StudyError
from envoi.files import canonical_json
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.intake import intake
from envoi.submission.keys import decode_signature, fingerprint, is_signed, public_text, sign
from envoi.submission.statement import signed_text, text_of

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ServerForm(Generic[Body]):
    """One kind of what a server signs.

    Attributes:
        name: Key of the body.
        told: How messages call the file, with its article.
        body: What it holds.
        domain: What stands before the text that is signed.
        limit: Bytes of the largest file.
        remedy: Where the file is none of its kind.
    """

    name: str
    told: str
    body: type[Body]
    domain: bytes
    limit: int
    remedy: str

    def signed(self, body: Body, key: Ed25519PrivateKey) -> bytes:
        """The content of a file; the same body and key give the same bytes."""
        return self._content(body, sign(key, self.domain + text_of(body).encode()))

    def opened(self, path: Path, *, public_key: str) -> Body:
        """The body of a file, once the server's signature on it has been checked.

        Raises:
            CheckError: It is none of its kind, or another key signed it.
            SubmissionError: The file cannot be read.
        """
        with intake(path) as source:
            where = source.where
            if not 0 < source.size <= self.limit:
                expected = f"{self.told} of at most {self.limit} bytes"
                raise CheckError(Problem(expected, f"{source.size} bytes", where, self.remedy))
            content = source.read(source.size)
        try:
            document = strict_json.parse(content)
            body = self.body.model_validate_json(canonical_json(document[self.name]))
            signature = document["signature"]
            if not isinstance(signature, str) or self._content(body, signature) != content:
                raise ValueError("another spelling")  # noqa: TRY301  (told below with the others)
        except (ValueError, TypeError, KeyError) as err:
            raise CheckError(Problem(self.told, _fault_of(err), where, self.remedy)) from err
        raw = decode_signature(signature)
        message = self.domain + text_of(body).encode()
        if raw is None or not is_signed(message, raw, public_key):
            expected, found = "the signature of the study's server", "one that does not match"
            remedy = "Do not rely on it: it was changed, or another server wrote it."
            raise CheckError(Problem(expected, found, where, remedy))
        return body

    def _content(self, body: Body, signature: str) -> bytes:
        return signed_text(self.name, body, signature).encode()


def signing_key_of(study: Study) -> str:
    """The public key with which the study's server signs.

    Raises:
        StudyError: The study names none.
    """
    if study.server is None or study.server.receipts is None:
        remedy = "Ask the coordinator for the study.toml with the server's key (`[server]`)."
        raise StudyError(Problem("a key that signs receipts", "none", "study, server", remedy))
    return study.server.receipts


def check_signing_key(study: Study, key: Ed25519PrivateKey) -> None:
    """Require that a private key is the one with which the study's server signs.

    Raises:
        StudyError: The study names another key, or none.
    """
    wanted, given = study.server.receipts if study.server else None, public_text(key)
    if wanted != given:
        expected = f"the key {fingerprint(wanted)}" if wanted else "a study that names its key"
        found = f"the key {fingerprint(given)}" if wanted else "one without a key for receipts"
        remedy = "Give the server's own key, and the study.toml that names it."
        raise StudyError(Problem(expected, found, "--key", remedy))


def _fault_of(err: Exception) -> str:
    if isinstance(err, strict_json.JsonError):
        return str(err)
    return "other fields" if isinstance(err, ValidationError | KeyError) else "something else"
