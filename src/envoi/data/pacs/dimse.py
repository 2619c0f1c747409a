"""DIMSE (PS3.4, annex C): C-FIND finds, C-GET fetches on the connection that the site opened.

No port is opened at the site, as C-MOVE would need. Each class of images is proposed in every
transfer syntax by itself, so that compressed images come as the archive has them. An association
has room for 128 such proposals, so it is made for the class at hand and changed with it.
"""

import socket
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import Any

from pydicom import Dataset, FileDataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.presentation import PresentationContext

from envoi.data.pacs.connect import Dimse
from envoi.data.pacs.extra import UNREADABLE, silence
from envoi.data.pacs.kinds import SYNTAXES, classes_of
from envoi.data.pacs.people import Person, person_of
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

_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
"""Study Root Query/Retrieve Information Model - FIND."""
_GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
"""Study Root Query/Retrieve Information Model - GET."""
_PENDING = {0xFF00, 0xFF01}
_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
"""What each answer has to tell, by level."""
_TRANSIENT = 2
_MOST_ABORTS = 2
_AGAIN = (
    "Check that the PACS runs and knows this AE title and machine (--calling-aet), and run the "
    "same command again; what was pulled is kept."
)
# Diagnostic of a rejection by the service user (PS3.8, table 9-21).
_REJECTIONS = {
    3: ("--calling-aet", "Have this title and this machine entered in the PACS."),
    7: ("--called-aet", "Ask the administrator of the PACS for its AE title."),
}


class DimseSource:
    """An archive that speaks C-FIND and C-GET.

    Args:
        archive: Where it is and how the two call each other.
    """

    def __init__(self, archive: Dimse) -> None:
        self._archive = archive
        self._tls = None if archive.tls is None else context_of(archive.tls)
        self._entity = AE(archive.calling_aet)
        self._entity.acse_timeout = archive.timeout_seconds
        self._entity.dimse_timeout = archive.timeout_seconds
        self._entity.network_timeout = archive.timeout_seconds
        self._entity.connection_timeout = archive.timeout_seconds
        self._finding: Association | None = None
        self._getting: Association | None = None
        self._classes: tuple[str, ...] = ()
        self._arrived: list[bytes] = []
        self._has_answered = False
        self._is_aborted = False
        self._aborts = 0

    def studies(self, query: PacsQuery, turn: Turn = at_once) -> list[StudyRef]:
        """All studies that match."""
        found: dict[str, StudyRef] = {}
        for wanted in _identifiers(query):
            for answer in turn(partial(self._find, wanted)):
                study = StudyRef(
                    study=_text(answer, "StudyInstanceUID"),
                    person=_person(answer),
                    accession=_text(answer, "AccessionNumber"),
                    day=_text(answer, "StudyDate"),
                    description=_text(answer, "StudyDescription"),
                )
                if query.takes(study):
                    found.setdefault(study.study, study)
        return list(found.values())

    def instances(
        self, study: StudyRef, query: PacsQuery, turn: Turn = at_once
    ) -> list[InstanceRef]:
        """All objects of a study that match."""
        found: list[InstanceRef] = []
        wanted = _identifier(
            "SERIES", StudyInstanceUID=study.study, SeriesInstanceUID="", Modality=""
        )
        for series in turn(partial(self._find, wanted)):
            modality, uid = _text(series, "Modality"), _text(series, "SeriesInstanceUID")
            if query.takes_modality(modality):
                found += self._images(study.study, uid, modality, turn)
        return found

    def fetch(self, instance: InstanceRef) -> FileDataset:
        """One object, in the transfer syntax in which the archive has it."""
        classes = (instance.sop_class,) if instance.sop_class else classes_of(instance.modality)
        wanted = _dataset(
            _identifier(
                "IMAGE",
                StudyInstanceUID=instance.study,
                SeriesInstanceUID=instance.series,
                SOPInstanceUID=instance.instance,
            )
        )
        self._arrived.clear()
        with silence():
            association = self._association_for(classes)
            try:
                status = _last_status(association.send_c_get(wanted, _GET))
            except (RuntimeError, ValueError):
                status = None  # the association has ended meanwhile
            if status is None:
                _drop(association)
                raise _gone("a connection that broke")
            return self._file(status)

    def close(self) -> None:
        """End the connections."""
        for association in (self._finding, self._getting):
            if association is not None and association.is_established:
                with silence():
                    association.release()
        self._finding = self._getting = None

    def _file(self, status: int) -> FileDataset:
        """What has arrived, under the last status of the archive."""
        if len(self._arrived) != 1:
            remedy = "Check the PACS's own log; the other images are pulled."
            found = f"{len(self._arrived)} (status {status:04X})"
            raise NotFetchedError(Problem("one image", found, "PACS", remedy))
        try:
            return dcmread(BytesIO(self._arrived.pop()))
        except Exception:  # noqa: BLE001  (pydicom's parser raises anything of a damaged file)
            remedy = "Check the PACS's own log; the other images are pulled."
            raise DamagedObjectError(
                Problem("a DICOM file", "a damaged one", "PACS", remedy)
            ) from None

    def _images(self, study: str, series: str, modality: str, turn: Turn) -> Iterator[InstanceRef]:
        wanted = _identifier(
            "IMAGE",
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            SOPInstanceUID="",
            SOPClassUID="",
        )
        for answer in turn(partial(self._find, wanted)):
            yield InstanceRef(
                study=study,
                series=series,
                instance=_text(answer, "SOPInstanceUID"),
                sop_class=_text(answer, "SOPClassUID"),
                modality=modality,
            )

    def _find(self, wanted: dict[str, str]) -> list[Dataset]:
        """All answers to one C-FIND; a part of them is none."""
        with silence():
            if self._finding is None or not self._finding.is_established:
                self._finding = self._associate([build_context(_FIND)])
            answers: list[Dataset | None] = []
            try:
                for status, identifier in self._finding.send_c_find(_dataset(wanted), _FIND):
                    code = status.get("Status")
                    if code in _PENDING:
                        answers.append(identifier)
            except (RuntimeError, ValueError):
                code = None
            if code is None:
                _drop(self._finding)
                raise self._broken()
            self._has_answered = True
            if code:
                remedy = "Ask for fewer days or accession numbers at once."
                found = f"status {code:04X}"
                raise PacsError(Problem("all that matches", found, "PACS, query", remedy))
            unique = _UNIQUE[wanted["QueryRetrieveLevel"]]
            readable = [one for one in answers if one is not None and _text(one, unique)]
            if len(readable) < len(answers):
                raise unreadable_answer()
            return readable

    def _association_for(self, classes: tuple[str, ...]) -> Association:
        """An association in which images of these classes may arrive."""
        is_open = self._getting is not None and self._getting.is_established
        if is_open and self._classes == classes and self._getting is not None:
            return self._getting
        if is_open and self._getting is not None:
            self._getting.release()
        contexts = [build_context(uid, syntax) for uid in classes for syntax in SYNTAXES]
        roles = [build_role(uid, scp_role=True) for uid in classes]
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._getting = self._associate([build_context(_GET), *contexts], roles, handlers)
        self._classes = classes
        return self._getting

    def _note_abort(self, event: Event) -> None:
        """Note whether the archive itself has ended an association."""
        self._is_aborted = isinstance(event.pdu, A_ABORT_RQ)

    def _broken(self) -> PacsError:
        """The error for a connection that ended before the answer to a C-FIND.

        Some archives take any association and end it at the first question of a stranger.
        """
        self._aborts += self._is_aborted
        if self._has_answered or self._aborts < _MOST_ABORTS:
            return _gone("a connection that broke")
        remedy = (
            "Have this AE title (--calling-aet) and this machine entered in the PACS, with C-FIND."
        )
        return PacsError(Problem("an answer", "a PACS that hangs up", "PACS", remedy))

    def _store(self, event: Event) -> int:
        self._arrived.append(event.encoded_dataset())
        return 0

    def _associate(
        self,
        contexts: list[PresentationContext],
        roles: list[Any] | None = None,
        handlers: list[Any] | None = None,
    ) -> Association:
        archive = self._archive
        association = self._entity.associate(
            archive.host,
            archive.port,
            contexts,
            archive.called_aet,
            ext_neg=roles or [],
            tls_args=None if self._tls is None else (self._tls, archive.host),
            evt_handlers=[(evt.EVT_PDU_RECV, self._note_abort), *(handlers or [])],
        )
        service = contexts[0].abstract_syntax
        if any(context.abstract_syntax == service for context in association.rejected_contexts):
            _drop(association)
            name = "C-FIND" if service == _FIND else "C-GET"
            remedy = f"Have {name} permitted for this AE title in the PACS, or use --dicomweb."
            raise PacsError(Problem(name, "none", "PACS", remedy))
        if association.is_established:
            return association
        if association.is_rejected:
            raise _rejected(association)
        self._check_trust()
        raise _gone("no connection")

    def _check_trust(self) -> None:
        """Tell a certificate that is not trusted, which the association has kept to itself.

        Raises:
            PacsError: It is not trusted.
        """
        if self._tls is None:
            return
        place = (self._archive.host, self._archive.port)
        try:
            with (
                socket.create_connection(place, self._archive.timeout_seconds) as plain,
                self._tls.wrap_socket(plain, server_hostname=self._archive.host),
            ):
                return
        except OSError as err:
            told = distrusted(err)
            if told is not None:
                raise told from None


def _drop(association: Association) -> None:
    """End an association at once; the next request opens another."""
    if association.is_established:
        association.abort()


def _rejected(association: Association) -> PacsError:
    """The line for an archive that does not want to talk."""
    answer: Any = association.acceptor.primitive
    if answer.result == _TRANSIENT or answer.result_source == 3:
        return _gone("an archive that is busy")
    if answer.diagnostic in _REJECTIONS and answer.result_source == 1:
        option, remedy = _REJECTIONS[answer.diagnostic]
        return PacsError(Problem("an AE title that the PACS knows", "another", option, remedy))
    remedy = "Have this AE title and this machine entered in the PACS."
    return PacsError(Problem("an association", "a rejection", "PACS", remedy))


def _gone(found: str) -> PacsGoneError:
    return PacsGoneError(Problem("an answer", found, "PACS", _AGAIN))


def _last_status(responses: Iterator[tuple[Dataset, Dataset | None]]) -> int | None:
    """The status in which a C-GET ended; None if the connection ended first."""
    last: int | None = None
    for status, _ in responses:
        code = status.get("Status")
        last = None if code is None else int(code)
    return last


def _identifier(level: str, **keys: str) -> dict[str, str]:
    return {"QueryRetrieveLevel": level, **keys}


def _identifiers(query: PacsQuery) -> Iterator[dict[str, str]]:
    """One query for each modality and accession number; empty keys ask for their value."""
    for modality in query.modalities or ("",):
        for accession in query.accessions or ("",):
            wanted = _identifier(
                "STUDY",
                StudyInstanceUID="",
                PatientID="",
                IssuerOfPatientID="",
                PatientName="",
                PatientBirthDate="",
                PatientSex="",
                AccessionNumber=accession,
                StudyDate=query.days,
            )
            if modality:
                wanted["ModalitiesInStudy"] = modality
            if query.description:
                wanted["StudyDescription"] = f"*{query.description}*"
            yield wanted


def _dataset(wanted: dict[str, str]) -> Dataset:
    dataset = Dataset()
    for keyword, value in wanted.items():
        setattr(dataset, keyword, value)
    return dataset


def _text(answer: Dataset, keyword: str) -> str:
    """An attribute of an answer as text; nothing if it cannot be read."""
    try:
        return str(answer.get(keyword) or "").strip("\0 ")
    except UNREADABLE:
        return ""


def _person(answer: Dataset) -> Person:
    """Whom an answer names; nobody if it cannot be read, and the file tells."""
    try:
        return person_of(answer)
    except UNREADABLE:
        return Person(number="")
