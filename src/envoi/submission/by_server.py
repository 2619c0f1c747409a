"""How the small signed files of the server are opened: receipts and endorsements.

Their form is that of all signed files (`envoi.submission.statement`). Loads no torch.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from envoi.errors import CheckError, Problem, StudyError
from envoi.files import canonical_json
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.intake import intake
from envoi.submission.keys import decode_signature, fingerprint, is_signed, public_text
from envoi.submission.statement import Body, SignedForm, signed_text


@dataclass(frozen=True, slots=True)
class ServerForm(SignedForm[Body]):
    """One kind of what a server signs; see `SignedForm`."""

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
            text = signed_text(self.name, body, signature) if isinstance(signature, str) else ""
            if text.encode() != content:
                raise ValueError("another spelling")  # noqa: TRY301  (told below with the others)
        except (ValueError, TypeError, KeyError) as err:
            raise CheckError(Problem(self.told, _fault_of(err), where, self.remedy)) from err
        raw = decode_signature(signature)
        if raw is None or not is_signed(self.message(body), raw, public_key):
            expected, found = "the signature of the study's server", "one that does not match"
            remedy = "Do not rely on it: it was changed, or another server wrote it."
            raise CheckError(Problem(expected, found, where, remedy))
        return body


def signing_key_of(study: Study) -> str:
    """The public key with which the study's server signs.

    Raises:
        StudyError: The study names none.
    """
    if "receipts" not in study.server_keys:
        remedy = "Ask the coordinator for the study.toml with the server's key (`[server]`)."
        raise StudyError(Problem("a key that signs receipts", "none", "study, server", remedy))
    return study.server_keys["receipts"]


def check_signing_key(study: Study, key: Ed25519PrivateKey) -> None:
    """Require that a private key is the one with which the study's server signs.

    Raises:
        StudyError: The study names another key, or none.
    """
    wanted, given = study.server_keys.get("receipts"), public_text(key)
    if wanted != given:
        expected = f"the key {fingerprint(wanted)}" if wanted else "a study that names its key"
        found = f"the key {fingerprint(given)}" if wanted else "one without a key for receipts"
        remedy = "Give the server's own key, and the study.toml that names it."
        raise StudyError(Problem(expected, found, "--key", remedy))


def _fault_of(err: Exception) -> str:
    if isinstance(err, strict_json.JsonError):
        return str(err)
    return "other fields" if isinstance(err, ValidationError | KeyError) else "something else"
