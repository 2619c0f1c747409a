"""DIMSE against small servers that behave badly, which a good PACS does not."""

import datetime as dt
import itertools
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE, association, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from envoi.data.pacs import Dimse, PacsGoneError, PacsQuery, connected
from envoi.data.pacs.source import DamagedObjectError, InstanceRef, NotFetchedError
from envoi.errors import PacsError
from tests.data.pacs import planted
from tests.data.pacs.orthanc import free_port
from tests.data.pacs.test_pace import Clock, pace

pytestmark = pytest.mark.network

QUERY = PacsQuery(first_day=dt.date(2020, 1, 1), last_day=dt.date(2020, 1, 1))
WANTED = InstanceRef(study="1.2", series="1.2.3", instance="1.2.3.4", sop_class=CTImageStorage)


@contextmanager
def serving(*, find=None, get=None, maximum=10, title=None):
    """A server with these handlers; without one the service is not offered."""
    entity = AE("PACS")
    entity.maximum_associations = maximum
    if title is not None:
        entity.require_calling_aet = [title]
    handlers = []
    if find is not None:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers.append((evt.EVT_C_FIND, find))
    if get is not None:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        entity.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
        handlers.append((evt.EVT_C_GET, get))
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    made = Dimse(host="127.0.0.1", port=port, called_aet="PACS", timeout_seconds=5)
    try:
        with connected(made) as source:
            yield source
    finally:
        server.shutdown()


def ct():
    return dcmread(BytesIO(planted.encoded(planted.image())))


def study(event):
    answer = Dataset()
    answer.StudyInstanceUID, answer.PatientID = "1.2", "1"
    yield 0xFF00, answer


def test_what_comes_is_read():
    def get(event):
        yield 1
        yield 0xFF00, ct()

    with serving(find=study, get=get) as source:
        (found,) = source.studies(QUERY)
        assert found.study == "1.2"
        image = source.fetch(WANTED)
        assert image.PixelData == ct().PixelData
        assert source.fetch(WANTED).PatientID == planted.NUMBER


def test_every_query_has_its_turn():
    clock, starts = Clock(), []

    def find(event):
        starts.append(clock.now)
        wanted, answer = event.identifier, Dataset()
        answer.StudyInstanceUID = wanted.get("StudyInstanceUID") or "1.2"
        numbers = {"STUDY": (1,), "SERIES": (1, 2, 3), "IMAGE": (1, 2)}[wanted.QueryRetrieveLevel]
        for number in numbers:
            answer.AccessionNumber = wanted.get("AccessionNumber") or ""
            answer.SeriesInstanceUID = wanted.get("SeriesInstanceUID") or f"1.2.{number}"
            answer.SOPInstanceUID = f"{answer.SeriesInstanceUID}.{number}"
            yield 0xFF00, answer

    query = PacsQuery(accessions=("A1", "A2", "A3"), modalities=("CT", "MR"))
    with serving(find=find) as source:
        (found,) = source.studies(query, pace(clock, per_second=5).make)
        assert len(starts) == 3 * 2
        assert len(source.instances(found, query, pace(clock, per_second=5).make)) == 6
    assert len(starts) == 6 + 1 + 3  # the series, and the images of each
    steps = [after - before for before, after in itertools.pairwise(starts)]
    assert steps[:5] == pytest.approx([0.2] * 5)
    assert steps[6:] == pytest.approx([0.2] * 3)


def test_studies_that_were_not_asked_for_are_not_taken():
    wanted = []

    def find(event):
        wanted.append(event.identifier)
        for number, (text, accession) in enumerate(
            [("MR KNEE", "A1"), ("Brain", "A1"), (None, "A1"), ("Knee", ""), ("Knee", "A2")]
        ):
            answer = Dataset()
            answer.StudyInstanceUID, answer.AccessionNumber = f"1.{number}", accession
            if text is not None:
                answer.StudyDescription = text
            yield 0xFF00, answer

    query = PacsQuery(accessions=("A1",), description="knee")
    with serving(find=find) as source:
        assert [study.study for study in source.studies(query)] == ["1.0"]
        assert len(source.studies(QUERY)) == 5
    assert wanted[0].StudyDescription == "*knee*"
    assert "StudyDescription" not in wanted[1]


@pytest.mark.parametrize("images", [0, 2])
def test_none_or_two_images_for_one_are_told(images):
    def get(event):
        yield images
        for _ in range(images):
            yield 0xFF00, ct()

    with serving(get=get) as source, pytest.raises(NotFetchedError, match=f"found {images} "):
        source.fetch(WANTED)


def test_a_failure_of_one_image_is_told():
    def get(event):
        yield 1
        yield 0xC001, None

    with serving(get=get) as source, pytest.raises(NotFetchedError, match=r"status C001"):
        source.fetch(WANTED)


@pytest.mark.parametrize("status", [0xA700, 0xC001, 0xFE00])
def test_a_part_of_the_answers_is_none(status):
    def find(event):
        yield from study(event)
        yield status, None

    with serving(find=find) as source, pytest.raises(PacsError, match=f"found status {status:04X}"):
        source.studies(QUERY)


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
@pytest.mark.parametrize("is_decodable", [True, False])
def test_an_answer_that_cannot_be_read_is_not_passed_over(level, is_decodable, monkeypatch):
    def find(event):
        wanted, answer = event.identifier, Dataset()
        answer.StudyInstanceUID = "1.2"
        answer.SeriesInstanceUID, answer.SOPInstanceUID = "1.2.3", "1.2.3.4"
        yield 0xFF00, answer
        if wanted.QueryRetrieveLevel == level:
            answer = Dataset()
            answer.PatientID = "PLANTED"
            yield 0xFF00, answer
            asked.append(level)

    real, asked = association.decode, []

    def decode(stream, *words):
        read = real(stream, *words)
        if "QueryRetrieveLevel" not in read and "StudyInstanceUID" not in read:
            raise ValueError("planted")
        return read

    if not is_decodable:
        monkeypatch.setattr(association, "decode", decode)
    told = "PACS, query: expected answers with a UID that can be read, found one without"
    with serving(find=find) as source, pytest.raises(PacsError, match=told) as found:
        [source.instances(one, QUERY) for one in source.studies(QUERY)]
    assert (asked, planted.leaks(str(found.value).encode())) == ([level], [])


def test_a_connection_that_breaks_is_worth_another_try():
    def find(event):
        event.assoc.abort()
        yield 0x0000, None

    def get(event):
        event.assoc.abort()
        yield 0

    with serving(find=find, get=get) as source:
        with pytest.raises(PacsGoneError, match="a connection that broke"):
            source.studies(QUERY)
        with pytest.raises(PacsGoneError, match="a connection that broke"):
            source.fetch(WANTED)


def test_a_pacs_that_hangs_up_on_a_stranger_is_not_waited_for():
    def find(event):
        event.assoc.abort()
        yield 0x0000, None

    clock = Clock()
    told = "expected an answer, found a PACS that hangs up. Have this AE title"
    with serving(find=find) as source, pytest.raises(PacsError, match=told) as found:
        source.studies(QUERY, pace(clock).make)
    assert not isinstance(found.value, PacsGoneError)
    assert "--calling-aet" in str(found.value)
    assert clock.now < 3


def test_a_pacs_that_has_answered_may_hang_up_for_a_while():
    calls = []

    def find(event):
        calls.append(1)
        if len(calls) in {2, 3, 4}:
            event.assoc.abort()
        yield from study(event)

    with serving(find=find) as source:
        source.studies(QUERY)
        assert len(source.studies(QUERY, pace(Clock()).make)) == 1
    assert len(calls) == 5


def test_a_pacs_without_c_get_is_told():
    with serving(find=study) as source:
        source.studies(QUERY)
        with pytest.raises(PacsError, match="expected C-GET, found none") as found:
            source.fetch(WANTED)
        assert not isinstance(found.value, PacsGoneError)


def test_a_pacs_without_images_of_a_class_is_told():
    def get(event):
        yield 0

    other = InstanceRef(study="1.2", series="1.2.3", instance="1.2.3.4", modality="PT")
    with serving(get=get) as source, pytest.raises(NotFetchedError, match="found 0"):
        source.fetch(other)


def test_a_busy_pacs_is_worth_another_try():
    with serving(find=study, maximum=1) as source:
        source.studies(QUERY)
        port = source._archive.port
        again = Dimse(host="127.0.0.1", port=port, called_aet="PACS", timeout_seconds=5)
        with connected(again) as second, pytest.raises(PacsGoneError, match="that is busy"):
            second.studies(QUERY)


def test_a_stranger_is_told():
    with serving(find=study, title="OTHER") as source, pytest.raises(PacsError) as found:
        source.studies(QUERY)
    assert str(found.value).startswith("--calling-aet: expected an AE title that the PACS knows")


def test_a_damaged_image_is_told(monkeypatch):
    def get(event):
        yield 1
        yield 0xFF00, ct()

    with serving(get=get) as source:
        source._store = lambda event: source._arrived.append(b"planted") or 0
        with pytest.raises(DamagedObjectError, match="found a damaged one") as found:
            source.fetch(WANTED)
    assert "planted" not in str(found.value)
