"""Which archive, by which protocol, as whom; and the connection to it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from envoi.data.pacs.extra import extra
from envoi.data.pacs.source import Source, Tls
from envoi.errors import Problem, SettingsError

_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """As whom the site asks; a repr shows nothing of it.

    Attributes:
        user: Name for HTTP basic authentication.
        password: Its password.
        token: A bearer token, in place of both.
    """

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Dicomweb:
    """An archive that speaks DICOMweb.

    Attributes:
        url: Where QIDO-RS and WADO-RS start, such as `https://pacs.example/dicom-web`.
        credentials: As whom to ask.
        tls: Whom to trust.
        timeout_seconds: How long the archive may be silent.

    Raises:
        SettingsError: The address is none, or holds a password.
    """

    url: str
    credentials: Credentials = field(default_factory=Credentials)
    tls: Tls = field(default_factory=Tls)
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            remedy = "Write it like https://pacs.example/dicom-web."
            raise SettingsError(Problem("an address", "something else", "--dicomweb", remedy))
        if parts.username or parts.password:
            remedy = "Set ENVOI_PACS_USER and ENVOI_PACS_PASSWORD, or give --netrc."
            found = "one with a password"
            raise SettingsError(Problem("an address alone", found, "--dicomweb", remedy))

    @property
    def host(self) -> str:
        """Name or number of its machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read what travels."""
        return urlsplit(self.url).scheme == "https"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimse:
    """An archive that speaks C-FIND and C-GET.

    Attributes:
        host: Name or number of its machine.
        port: Its DICOM port.
        called_aet: AE title of the archive.
        calling_aet: AE title of the site, as the archive knows it.
        tls: Whom to trust; None for a connection that is not encrypted.
        timeout_seconds: How long the archive may be silent.

    Raises:
        SettingsError: A title is none.
    """

    host: str
    port: int
    called_aet: str
    calling_aet: str = "ENVOI"
    tls: Tls | None = None
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        for option, title in (("called", self.called_aet), ("calling", self.calling_aet)):
            if not _AE_TITLE.fullmatch(title):
                remedy = "Ask the administrator of the PACS for it."
                expected = "1 to 16 plain characters"
                where = f"--{option}-aet"
                raise SettingsError(Problem(expected, "something else", where, remedy))

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read what travels."""
        return self.tls is not None


@contextmanager
def connected(archive: Dicomweb | Dimse) -> Iterator[Source]:
    """An archive to be asked; the connection ends with the block.

    Raises:
        MissingExtraError: The packages of the extra `pacs` are not installed.
        SettingsError: A file for TLS is wrong.
    """
    source: Source
    if isinstance(archive, Dicomweb):
        extra("dicomweb_client")
        from envoi.data.pacs.dicomweb import DicomwebSource  # noqa: PLC0415  (an extra)

        source = DicomwebSource(archive)
    else:
        extra("pynetdicom")
        from envoi.data.pacs.dimse import DimseSource  # noqa: PLC0415  (an extra)

        source = DimseSource(archive)
    try:
        yield source
    finally:
        source.close()
