"""DICOMweb against small servers: requests in their turn, and answers that are no answer."""

import datetime as dt
import itertools
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from envoi.data.pacs import Dicomweb, PacsQuery, connected, dicomweb
from envoi.data.pacs.people import Person
from envoi.data.pacs.source import StudyRef
from envoi.errors import PacsError
from tests.data.pacs.test_pace import Clock, pace
from tests.data.pacs.test_tls import Empty, serving

pytestmark = pytest.mark.network

DAYS = {"first_day": dt.date(2020, 1, 1), "last_day": dt.date(2020, 1, 31)}


def answer(**values):
    """DICOM JSON of an answer, by tag."""
    return {tag[1:]: {"Value": [value]} for tag, value in values.items()}


def asking(server):
    port = server.server_address[1]
    return connected(Dicomweb(f"http://127.0.0.1:{port}/dicom-web", timeout_seconds=10))


class Pages(Empty):
    """An archive of as many objects as `objects` says, busy for the requests of `busy`."""

    objects, clock, busy = 7, None, ()

    def do_GET(self):  # noqa: N802  (the name that the server calls)
        self.starts.append(self.clock.now)
        words = parse_qs(urlsplit(self.path).query)
        first, most = int(words.get("offset", ["0"])[0]), int(words["limit"][0])
        numbers = range(self.objects)[first : first + most]
        self.status = 503 if len(self.starts) in self.busy else 200
        answers = [answer(_0020000D=f"1.{n}", _00080018=f"1.2.{n}") for n in numbers]
        self.raw = json.dumps(answers).encode()
        super().do_GET()


def test_every_page_has_its_turn_and_an_interruption_repeats_one(monkeypatch):
    monkeypatch.setattr(dicomweb, "_PAGE", 3)
    clock, starts, waits = Clock(), [], []
    query = PacsQuery(**DAYS, modalities=("CT", "MR"))
    with (
        serving(handler=Pages, clock=clock, starts=starts, busy=(3,)) as server,
        asking(server) as source,
    ):
        turn = pace(clock, waits, per_second=5, first_wait_seconds=1).make
        studies = source.studies(query, turn)
        assert len(studies) == 7
        # Three pages and an empty one for each modality, and one page twice.
        assert (len(starts), waits) == (9, [1])
        source.instances(studies[0], query, turn)
    assert len(starts) == 13
    assert min(b - a for a, b in itertools.pairwise(starts)) >= 0.2 - 1e-9


def test_studies_that_were_not_asked_for_are_not_taken():
    told = [("Knee + Hip", "A 1"), ("Knee x Hip", "A 1"), ("", "A 1"), ("knee + hip", ""),
            ("Knee + Hip", "A-1")]  # fmt: skip
    body = [
        answer(_0020000D=f"1.{number}", _00081030=text, _00080050=accession)
        for number, (text, accession) in enumerate(told)
    ]
    query = PacsQuery(accessions=("A 1",), description="knee + hip")
    with serving(body=body) as server, asking(server) as source:
        assert [study.study for study in source.studies(query)] == ["1.0"]
        assert len(source.studies(PacsQuery(**DAYS))) == 5
    first, *_, last = (parse_qs(urlsplit(path).query) for path, *_ in server.asked)
    assert first["StudyDescription"] == ["*knee???hip*"]
    assert "StudyDescription" in first["includefield"]
    assert "StudyDescription" not in last["includefield"]


@pytest.mark.parametrize("values", [{}, {"_0020000D": ""}, {"_00100020": "PLANTED"}])
def test_an_answer_without_its_uid_is_not_passed_over(values):
    body = [answer(_0020000D="1.2", _00080018="1.2.3"), answer(**values)]
    told = "expected answers with a UID that can be read, found one without"
    study = StudyRef(study="1.2", person=Person(number="1"))
    query = PacsQuery(**DAYS)
    with serving(body=body) as server, asking(server) as source:
        for ask in (lambda: source.studies(query), lambda: source.instances(study, query)):
            with pytest.raises(PacsError, match=told) as found:
                ask()
            assert "PLANTED" not in str(found.value)
