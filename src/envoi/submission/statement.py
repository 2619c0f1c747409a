"""Small signed JSON files: the form of all, and how those of sites are opened.

`{NAME: body, "signature": ...}` in canonical JSON, one line; the signature is over the body's own
text behind a domain of its kind, so that no statement passes for one of another kind. Sites sign
withdrawals and evaluations; what the server signs is opened by `envoi.submission.by_server`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, ValidationError

from envoi.files import canonical_json
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.intake import intake
from envoi.submission.keys import sign
from envoi.submission.manifest import Digest, Sequence, SiteId
from envoi.submission.refusal import refused
from envoi.submission.verify import check_signature


class Statement(BaseModel):
    """What a site says, whatever it says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: Digest
    site: SiteId
    sequence: Sequence


Body = TypeVar("Body", bound=BaseModel)
Said = TypeVar("Said", bound=Statement)


def text_of(body: BaseModel) -> str:
    """The one text of a body, which is signed."""
    return canonical_json(body.model_dump(mode="json"))


def signed_text(name: str, body: BaseModel, signature: str) -> str:
    """The one text of a file with this body and signature."""
    document: Mapping[str, Any] = {name: body.model_dump(mode="json"), "signature": signature}
    return canonical_json(document) + "\n"


@dataclass(frozen=True, slots=True)
class SignedForm(Generic[Body]):
    """One kind of signed file.

    Attributes:
        name: Key of the body.
        told: How messages call the file, with its article.
        body: What it holds.
        domain: What stands before the text that is signed.
        limit: Bytes of the largest file.
        remedy: Where a file is none of its kind.
    """

    name: str
    told: str
    body: type[Body]
    domain: bytes
    limit: int
    remedy: str

    def signed(self, body: Body, key: Ed25519PrivateKey) -> str:
        """The content of a file."""
        return signed_text(self.name, body, sign(key, self.message(body)))

    def message(self, body: Body) -> bytes:
        """What is signed."""
        return self.domain + text_of(body).encode()


@dataclass(frozen=True, slots=True)
class Form(SignedForm[Said]):
    """One kind of statement; see `SignedForm`."""

    def opened(self, path: Path, *, study: Study) -> tuple[Said, str]:
        """The body of a file that its site signed, and how messages call the file.

        Raises:
            SubmissionError: The file is refused; always with exactly one problem.
            SignatureError: Its site did not sign it.
        """
        with intake(path) as source:
            where = source.where
            if not 0 < source.size <= self.limit:
                found = f"{source.size} bytes"
                raise refused(where, f"at most {self.limit} bytes", found, self.remedy)
            content = source.read(source.size)
            source.require_end()
        body, signature = self._parsed(content, where)
        message = self.message(body)
        check_signature(study, site=body.site, message=message, signature=signature, where=where)
        return body, where

    def _parsed(self, content: bytes, where: str) -> tuple[Said, str]:
        try:
            document = strict_json.parse(content)
        except strict_json.JsonError as err:
            raise refused(where, self.told, str(err), self.remedy) from err
        if not isinstance(document, dict) or document.keys() != {self.name, "signature"}:
            expected = f"{self.told.partition(' ')[0]} {self.name} and a signature"
            raise refused(where, expected, "something else", self.remedy)
        signature = document["signature"]
        try:
            text = canonical_json(document[self.name])
            body = self.body.model_validate_json(text, strict=True)
        except ValidationError as err:
            raise refused(where, self.told, "other fields", self.remedy) from err
        canonical = isinstance(signature, str) and signed_text(self.name, body, signature)
        if not canonical or canonical.encode() != content:
            expected = f"the {self.name} in its canonical form"
            raise refused(where, expected, "another one", self.remedy)
        return body, signature
