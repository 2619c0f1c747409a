"""A site's word on a student: signed, canonical, of this study, and of nothing but aggregates."""

import json
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envoi.errors import SignatureError, SubmissionError
from envoi.files import canonical_json
from envoi.submission.evaluation import (
    SIGNING_DOMAIN,
    SIZE_LIMIT,
    ClassEvaluation,
    Evaluation,
    Measured,
    open_evaluation,
    write_evaluation,
)
from envoi.submission.keys import sign

HALF = Measured(value=0.5, low=0.4, high=0.6)


def evaluation_of(study, **changes):
    classes = len(study.classes)
    told = ClassEvaluation(
        images=20, recall=HALF, auroc=HALF, answers=(0.5, *[None] * (classes - 1))
    )
    few = ClassEvaluation(images=0, recall=None, auroc=None, answers=())
    values = {
        "study": study.digest,
        "site": "north",
        "sequence": 1,
        "created": date(2026, 11, 29),
        "student": "b" * 64,
        "by_patient": True,
        "accuracy": HALF,
        "balanced_accuracy": HALF,
        "auroc": HALF,
        "ece": HALF,
        "classes": (told, *[few] * (classes - 1)),
    }
    return Evaluation(**{**values, **changes})


@pytest.fixture
def file(tmp_path, study, key):
    path = tmp_path / "north.evaluation.json"
    write_evaluation(path, evaluation_of(study), study=study, key=key)
    return path


def line_of(path, study):
    with pytest.raises(SubmissionError) as caught:
        open_evaluation(path, study=study)
    line = str(caught.value)
    assert line.isascii()
    assert line.isprintable()
    assert len(caught.value.problems) == 1
    return line


def resigned(path, key, **changes):
    """The file with fields changed and signed by the site itself."""
    document = json.loads(path.read_text())["evaluation"] | changes
    signature = sign(key, SIGNING_DOMAIN + canonical_json(document).encode())
    path.write_text(canonical_json({"evaluation": document, "signature": signature}) + "\n")


def test_round_trip(file, study):
    found = open_evaluation(file, study=study)
    assert found == evaluation_of(study)
    assert found.images == 20


def test_equal_arguments_give_equal_bytes(file, study, key):
    first = file.read_bytes()
    write_evaluation(file, evaluation_of(study), study=study, key=key)
    assert file.read_bytes() == first


def test_only_the_site_itself_speaks(tmp_path, study, other_key):
    with pytest.raises(SignatureError, match="found another key"):
        write_evaluation(tmp_path / "e", evaluation_of(study), study=study, key=other_key)


def test_a_changed_figure_is_refused(file, study):
    file.write_text(file.read_text().replace('"value":0.5', '"value":0.6', 1))
    with pytest.raises(SignatureError):
        open_evaluation(file, study=study)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"study": "c" * 64}, "an evaluation of this study"),
        ({"classes": []}, "classes"),
        ({"patients": ["Mustermann"]}, "found other fields"),
        ({"by_patient": "Mustermann"}, "found other fields"),
        ({"schema_version": 2}, "found other fields"),
        ({"accuracy": {"value": 0.9, "low": 0.1, "high": 0.2}}, "found other fields"),
        ({"accuracy": {"value": 1.5, "low": 0.1, "high": 2}}, "found other fields"),
    ],
)
def test_what_a_site_signed_is_checked_all_the_same(changes, line, file, study, key):
    resigned(file, key, **changes)
    found = line_of(file, study)
    assert line in found
    assert "Mustermann" not in found


def test_metrics_without_images_and_images_without_metrics_are_refused(file, study, key):
    document = json.loads(file.read_text())["evaluation"]
    first, *others = document["classes"]
    for wrong in ({**first, "images": 0}, {**first, "recall": None}, {**first, "answers": [0.5]}):
        resigned(file, key, classes=[wrong, *others])
        assert "metrics of the classes" in line_of(file, study) or "images of at least" in line_of(
            file, study
        )
    nobody = ClassEvaluation(images=0, recall=None, auroc=None, answers=())
    empty = evaluation_of(study, classes=(nobody,) * len(study.classes))
    with pytest.raises(SubmissionError, match="images of at least one class"):
        write_evaluation(file, empty, study=study, key=key)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "at most"),
        (b"{" * 40, "nested"),
        (b'{"evaluation":1,"signature":"x"}\n', "other fields"),
        (b'{"evaluation":1}', "a signature"),
        (b"\xff", "UTF-8"),
        (bytes(SIZE_LIMIT + 1), "at most"),
    ],
)
def test_other_content_is_refused(content, line, file, study):
    file.write_bytes(content)
    assert line in line_of(file, study)


def test_one_text_alone_is_canonical(file, study):
    file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    assert "canonical" in line_of(file, study)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_change_of_bytes_is_taken(data, file, study):
    content = bytearray(file.read_bytes())
    before = bytes(content)
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    try:
        line_of(file, study)
    finally:
        file.write_bytes(before)
