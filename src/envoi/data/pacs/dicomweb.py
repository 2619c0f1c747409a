"""DICOMweb (PS3.18): QIDO-RS finds, WADO-RS fetches, each image as the archive has it."""

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import FileDataset
from requests.auth import AuthBase, HTTPBasicAuth

from envoi.data.pacs.connect import Credentials, Dicomweb
from envoi.data.pacs.extra import UNREADABLE, silence
from envoi.data.pacs.people import Person
from envoi.data.pacs.source import (
    DamagedObjectError,
    InstanceRef,
    NotFetchedError,
    PacsGoneError,
    PacsQuery,
    StudyRef,
    Turn,
    at_once,
    unreadable_answer,
)
from envoi.data.pacs.tls import context_of, distrusted
from envoi.errors import PacsError, Problem

_PAGE = 200
_AGAIN = "Check that the PACS runs, and run the same command again; what was pulled is kept."
_BUSY = {408, 425, 429, 502, 503, 504}
_REFUSED = {401, 403, 407}
_ODD = re.compile(r"[^A-Za-z0-9._-]")
_STUDY_FIELDS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyDate",
)
_IMAGE_FIELDS = ("Modality", "SOPClassUID", "SeriesInstanceUID")

Answer = dict[str, dict[str, Any]]


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Session(requests.Session):
    """Writes wild cards as they are, which a query may hold: Orthanc 1.10 decodes nothing.

    And names the host with its port, which the client leaves out.
    """

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        prepared = super().prepare_request(request)
        path, sign, query = (prepared.url or "").partition("?")
        prepared.headers.pop("Host", None)
        prepared.url = path + sign + query.replace("%2A", "*").replace("%3F", "?")
        return prepared


class DicomwebSource:
    """An archive that speaks DICOMweb.

    Args:
        archive: Where it is and as whom to ask.
    """

    def __init__(self, archive: Dicomweb) -> None:
        self._session = _session(archive)
        self._client = DICOMwebClient(
            archive.url.rstrip("/"),
            session=self._session,
            permissive_uid=True,
            timeout=archive.timeout_seconds,
        )
        # `pull` waits and tries again itself, at its own pace.
        self._client.set_http_retry_params(retry=False)

    def studies(self, query: PacsQuery, turn: Turn = at_once) -> list[StudyRef]:
        """All studies that match."""
        found: dict[str, StudyRef] = {}
        fields = (*_STUDY_FIELDS, "StudyDescription") if query.description else _STUDY_FIELDS
        for wanted in _filters(query):
            search = partial(self._client.search_for_studies, search_filters=wanted, fields=fields)
            for answer in self._pages(search, turn, "0020000D"):
                study = StudyRef(
                    study=_text(answer, "0020000D"),
                    person=_person(answer),
                    accession=_text(answer, "00080050"),
                    day=_text(answer, "00080020"),
                    description=_text(answer, "00081030"),
                )
                if query.takes(study):
                    found.setdefault(study.study, study)
        return list(found.values())

    def instances(
        self, study: StudyRef, query: PacsQuery, turn: Turn = at_once
    ) -> list[InstanceRef]:
        """All objects of a study that match."""
        search = partial(
            self._client.search_for_instances, study.study, search_filters={}, fields=_IMAGE_FIELDS
        )
        found = []
        for answer in self._pages(search, turn, "00080018"):
            modality = _text(answer, "00080060")
            if query.takes_modality(modality):
                instance = InstanceRef(
                    study=study.study,
                    series=_text(answer, "0020000E"),
                    instance=_text(answer, "00080018"),
                    sop_class=_text(answer, "00080016"),
                    modality=modality,
                )
                found.append(instance)
        return found

    def fetch(self, instance: InstanceRef) -> FileDataset:
        """One object, in the transfer syntax in which the archive has it."""
        try:
            with _plain_errors():
                dataset = self._client.retrieve_instance(
                    instance.study,
                    instance.series,
                    instance.instance,
                    media_types=(("application/dicom", "*"),),
                )
        except PacsError:
            raise
        except Exception:  # noqa: BLE001  (pydicom's parser raises anything of a damaged file)
            raise DamagedObjectError(_odd("one DICOM file", "image")) from None
        if not isinstance(dataset, FileDataset):
            raise DamagedObjectError(_odd("one DICOM file", "image"))
        return dataset

    def close(self) -> None:
        """End the connection."""
        self._session.close()

    def _pages(
        self, search: Callable[..., list[Answer]], turn: Turn, unique: str
    ) -> Iterator[Answer]:
        """All answers, page by page, until a page has nothing new; each tells its UID.

        A page may be shorter than asked for, as archives have limits of their own; and some give
        the first page again and again.
        """
        seen: set[tuple[str, str]] = set()
        offset = 0
        while True:
            try:
                page = turn(partial(_page, search, offset))
                is_readable = all(_text(answer, unique) for answer in page)
                new = [answer for answer in page if _key(answer) not in seen]
            except PacsError:
                raise
            except UNREADABLE:
                raise PacsError(_odd("DICOM JSON", "query")) from None
            if not is_readable:
                raise unreadable_answer()
            if not new:
                return
            seen |= {_key(answer) for answer in new}
            offset += len(page)
            yield from new


def _page(search: Callable[..., list[Answer]], offset: int) -> list[Answer]:
    """The answers of one request."""
    with _plain_errors():
        return search(limit=_PAGE, offset=offset)


def _session(archive: Dicomweb) -> requests.Session:
    session = _Session()
    # No proxy, netrc file or authority that the environment happens to name: requests hold
    # identifiers.
    session.trust_env = False
    session.max_redirects = 0
    session.auth = _authentication(archive.credentials)
    if archive.is_encrypted:
        context_of(archive.tls)  # complains of files that are wrong
        authorities = archive.tls.authorities or _store_of_machine()
        session.verify = True if authorities is None else str(authorities)
        if archive.tls.certificate is not None:
            own = str(archive.tls.certificate)
            session.cert = own if archive.tls.key is None else (own, str(archive.tls.key))
    return session


def _store_of_machine() -> str | None:
    """The machine's own authorities, where a hospital puts its own."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def _authentication(credentials: Credentials) -> AuthBase | None:
    if credentials.token:
        return _Bearer(credentials.token)
    if credentials.user:
        return HTTPBasicAuth(credentials.user.encode(), credentials.password.encode())
    return None


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of the client as lines. Its own quote addresses with UIDs and numbers in them."""
    try:
        with silence():
            yield
    except requests.exceptions.HTTPError as err:
        raise _told_of_status(err) from None
    except requests.exceptions.TooManyRedirects:
        remedy = "Give the address that it leads to with --dicomweb, if it is the PACS."
        raise PacsError(Problem("an answer", "a way elsewhere", "PACS", remedy)) from None
    except requests.exceptions.SSLError as err:
        raise distrusted(err) or _gone("a TLS connection that broke") from None
    except requests.exceptions.Timeout:
        raise _gone("none in time") from None
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
        raise _gone("no connection, or one that broke") from None
    except requests.exceptions.JSONDecodeError:
        raise PacsError(_odd("DICOM JSON", "query")) from None


def _told_of_status(err: requests.exceptions.HTTPError) -> PacsError:
    """The error for an answer that is a refusal."""
    response = err.response
    if response is None:
        return _gone("none that can be read")
    status = response.status_code
    found = f"status {status}"
    if status in _REFUSED:
        remedy = "Check ENVOI_PACS_USER and ENVOI_PACS_PASSWORD, and what they may do in the PACS."
        return PacsError(Problem("permission", found, "PACS", remedy))
    if status in _BUSY:
        busy = _gone(found)
        after = response.headers.get("Retry-After", "")
        busy.after_seconds = float(after) if after.isdecimal() else 0.0
        return busy
    remedy = "Check the address given with --dicomweb, and the PACS's own log."
    return NotFetchedError(Problem("an answer", found, "PACS", remedy))


def _gone(found: str) -> PacsGoneError:
    return PacsGoneError(Problem("an answer", found, "PACS", _AGAIN))


def _odd(expected: str, where: str) -> Problem:
    remedy = "Check the address given with --dicomweb: it is where QIDO-RS and WADO-RS start."
    return Problem(expected, "something else", f"PACS, {where}", remedy)


def _filters(query: PacsQuery) -> Iterator[dict[str, str]]:
    """One query for each modality and accession number: lists are not in QIDO-RS."""
    for modality in query.modalities or ("",):
        for accession in query.accessions or ("",):
            wanted = {
                "StudyDate": query.days,
                "ModalitiesInStudy": modality,
                "AccessionNumber": _plain(accession),
                "StudyDescription": f"*{_plain(query.description)}*" if query.description else "",
            }
            yield {keyword: value for keyword, value in wanted.items() if value}


def _plain(text: str) -> str:
    """Text with `?`, any one sign, for what would have to be encoded in an address.

    Archives decode in different ways. What matches too much is sorted out by `PacsQuery.takes`.
    """
    return _ODD.sub("?", text)


def _key(answer: Answer) -> tuple[str, str]:
    return _text(answer, "0020000D"), _text(answer, "00080018")


def _text(answer: Answer, tag: str) -> str:
    """The first value of an attribute (PS3.18, F.2) as text."""
    values = answer.get(tag, {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        first = first.get("Alphabetic") or first.get("Ideographic") or ""
    return str("" if first is None else first).strip()


def _person(answer: Answer) -> Person:
    return Person(
        number=_text(answer, "00100020"),
        issuer=_text(answer, "00100021"),
        name=_text(answer, "00100010"),
        born=_text(answer, "00100030"),
        sex=_text(answer, "00100040"),
    )
