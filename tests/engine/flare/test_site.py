"""At a site: what the executors answer and what the filter lets out."""

import json

import pytest

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'envoi[flare]'")

from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace

from envoi.engine.flare import ACKNOWLEDGE, DIGEST, ENDORSEMENT, FILE
from envoi.engine.flare.executor import OutboxExecutor, StudentExecutor
from envoi.engine.flare.kit import Role, settings_text
from envoi.engine.flare.privacy import SignedFileFilter
from envoi.files import digest
from envoi.study import write_study
from tests.engine.flare.conftest import STUDENT, approve, endorsed, evaluate, withdraw

pytestmark = pytest.mark.flare


@pytest.fixture
def kit(tmp_path, study):
    root = tmp_path / "north"
    (root / "startup").mkdir(parents=True)
    (root / "outbox").mkdir()
    (root / "startup" / Role.SITE).write_text("{}")
    write_study(root / "local" / "study.toml", study)
    (root / "local" / "envoi.toml").write_text(settings_text(Role.SITE))
    return root


@pytest.fixture
def context(kit):
    made = FLContext()
    workspace = Workspace(str(kit), site_name="north")
    made.set_prop(FLContextKey.WORKSPACE_OBJECT, workspace, private=True, sticky=False)
    made.set_prop(ReservedKey.IDENTITY_NAME, "north", private=False, sticky=False)
    return made


def ask(context, task="submission", data=None, executor=None):
    context.set_prop(FLContextKey.TASK_NAME, task, private=True, sticky=False)
    executor = executor or OutboxExecutor()
    return executor.execute(task, data or Shareable(), context, Signal())


def passed(result, context, task):
    """What the filter makes of the result of a task."""
    context.set_prop(FLContextKey.TASK_NAME, task, private=True, sticky=False)
    return SignedFileFilter().process(result, context)


def test_the_approved_file_is_handed_over_and_let_out(kit, context, study):
    file = approve(kit / "outbox", study, "north")
    out = SignedFileFilter().process(ask(context), context)
    assert out.get_return_code() == ReturnCode.OK
    assert out[FILE] == file.read_bytes()


def test_of_an_outbox_with_all_kinds_the_one_that_is_asked_for_goes_out(kit, context, study):
    makers = {"submission": approve, "evaluation": evaluate, "withdrawal": withdraw}
    files = {kind: make(kit / "outbox", study, "north") for kind, make in makers.items()}
    for kind, file in files.items():
        data = Shareable({DIGEST: STUDENT if kind == "evaluation" else ""})
        out = SignedFileFilter().process(ask(context, kind, data), context)
        assert out.get_return_code() == ReturnCode.OK
        assert out[FILE] == file.read_bytes()


@pytest.mark.parametrize("student", [None, "", 7, "6" * 63, "../receipts", ["5" * 64]])
def test_an_evaluation_of_no_student_is_not_looked_for(kit, context, study, student):
    evaluate(kit / "outbox", study, "north")
    answer = ask(context, "evaluation", Shareable({DIGEST: student}))
    assert answer.get_return_code() == ReturnCode.BAD_TASK_DATA
    assert FILE not in answer
    other = ask(context, "evaluation", Shareable({DIGEST: "6" * 64}))
    assert other.get_return_code() == ReturnCode.EMPTY_RESULT


def test_nothing_approved_is_a_code_and_no_more(context):
    answer = SignedFileFilter().process(ask(context), context)
    assert answer.get_return_code() == ReturnCode.EMPTY_RESULT
    assert FILE not in answer


def test_a_damaged_file_is_a_code_and_no_more(kit, context):
    (kit / "outbox" / "north-1.safetensors").write_bytes(b"x")
    assert ask(context).get_return_code() == ReturnCode.BAD_REQUEST_DATA


def test_no_other_task_is_answered(kit, context, study):
    approve(kit / "outbox", study, "north")
    for executor in (OutboxExecutor(), StudentExecutor()):
        answer = ask(context, "train", executor=executor)
        assert answer.get_return_code() == ReturnCode.TASK_UNSUPPORTED
        assert FILE not in answer
    answer = ask(context, "submission", executor=StudentExecutor())
    assert answer.get_return_code() == ReturnCode.TASK_UNSUPPORTED


def test_what_was_sent_is_noted_as_confirmed_once_and_nothing_else_is(kit, context, study):
    file = approve(kit / "outbox", study, "north")
    executor = OutboxExecutor()
    ask(context, executor=executor)
    wrong = ask(context, ACKNOWLEDGE, Shareable({DIGEST: "0" * 64}), executor)
    assert wrong.get_return_code() == ReturnCode.BAD_TASK_DATA
    assert not (kit / "confirmed").exists()
    right = Shareable({DIGEST: digest(file.read_bytes())})
    assert ask(context, ACKNOWLEDGE, right, executor).get_return_code() == ReturnCode.OK
    (note,) = (kit / "confirmed").iterdir()
    assert note.name == f"{file.name}.{right[DIGEST][:12]}.json"
    assert json.loads(note.read_text())["sha256"] == right[DIGEST]
    note.write_text("as it was")
    assert ask(context, ACKNOWLEDGE, right, executor).get_return_code() == ReturnCode.OK
    assert note.read_text() == "as it was"


def held(shareable, context, task="submission"):
    """Whether the filter stops a result, with nothing of it in its answer."""
    answer = passed(shareable, context, task)
    rest = {key for key in answer if key != "__headers__"}
    return not rest and answer.get_return_code() != ReturnCode.OK


def test_the_filter_stops_what_is_no_submission_of_this_site(kit, context, study, tmp_path):
    valid = approve(kit / "outbox", study, "north").read_bytes()
    others = approve(tmp_path, study, "west").read_bytes()
    for content in (b"", b"patients", valid[:-1], valid + b"\0", others, valid.hex(), [valid]):
        assert held(Shareable({FILE: content}), context)
    assert list((kit / "temporary").iterdir()) == []


@pytest.mark.parametrize(("task", "make"), [("evaluation", evaluate), ("withdrawal", withdraw)])
def test_the_filter_stops_what_is_no_such_statement_of_this_site(
    kit, context, study, tmp_path, task, make
):
    valid = make(kit / "outbox", study, "north").read_bytes()
    assert passed(Shareable({FILE: valid}), context, task)[FILE] == valid
    others = make(tmp_path, study, "west").read_bytes()
    spaced = valid.replace(b":", b": ", 1)
    foreign = valid.replace(study.digest.encode(), b"0" * 64)
    for content in (b"", b"{}", valid[:-1], valid + b"\n", spaced, foreign, others, valid.decode()):
        assert held(Shareable({FILE: content}), context, task)
    assert list((kit / "temporary").iterdir()) == []


def test_only_what_the_task_asks_for_passes(kit, context, study):
    makers = {"submission": approve, "evaluation": evaluate, "withdrawal": withdraw}
    files = {kind: make(kit / "outbox", study, "north") for kind, make in makers.items()}
    for kind, file in files.items():
        for task in makers:
            stopped = held(Shareable({FILE: file.read_bytes()}), context, task)
            assert stopped is (task != kind)
        for task in ("student", "acknowledge", "train", None):
            out = passed(Shareable({FILE: file.read_bytes()}), context, task)
            assert set(out) == {"__headers__"}


def test_nothing_rides_along_with_a_file(kit, context, study):
    valid = approve(kit / "outbox", study, "north").read_bytes()
    said = evaluate(kit / "outbox", study, "north").read_bytes()
    for task, content in (("submission", valid), ("evaluation", said)):
        result = Shareable({FILE: content, "DXO": {"data": [1.0]}, "name": "J. Doe"})
        result.set_header("path", "/data/patients")
        out = passed(result, context, task)
        assert set(out) == {FILE, "__headers__"}
        assert out["__headers__"] == make_reply(ReturnCode.OK)["__headers__"]


def test_results_without_a_file_leave_empty(context):
    for task in ("submission", "evaluation", "withdrawal", "student"):
        out = passed(Shareable({"weights": [1.0]}), context, task)
        assert set(out) == {"__headers__"}
        odd = passed(make_reply("the patient's name"), context, task)
        assert odd.get_return_code() == ReturnCode.EXECUTION_EXCEPTION


@pytest.fixture
def signed_kit(kit, signing):
    """The kit of a study whose server signs."""
    write_study(kit / "local" / "study.toml", signing)
    return kit


def take(context, content, endorsement):
    """The site's answer to a student, as it leaves, and what lies in `students/` afterwards."""
    data = Shareable({FILE: content, ENDORSEMENT: endorsement})
    answer = ask(context, "student", data, StudentExecutor())
    out = SignedFileFilter().process(answer, context)
    assert set(out) == {"__headers__"}
    return out.get_return_code()


def test_a_student_is_put_into_place_and_a_code_goes_back(signed_kit, context, signing, tmp_path):
    student, endorsement = endorsed(tmp_path, signing)
    content, signature = student.read_bytes(), endorsement.read_bytes()
    assert take(context, content, signature) == ReturnCode.OK
    name = f"{digest(content)[:16]}.safetensors"
    kept = {path.name: path.read_bytes() for path in (signed_kit / "students").iterdir()}
    assert kept == {name: content, f"{name}.endorsement.json": signature}


def test_a_student_that_was_swapped_leaves_nothing(signed_kit, context, signing, tmp_path):
    student, endorsement = endorsed(tmp_path, signing)
    content, signature = student.read_bytes(), endorsement.read_bytes()
    tampered = content[:-1] + bytes([content[-1] ^ 1])
    for bytes_of_student in (tampered, content[:-1], content + b"\0", content.hex(), None):
        assert take(context, bytes_of_student, signature) == ReturnCode.BAD_TASK_DATA
    for no_endorsement in (b"", b"{}", signature[:-1], signature.decode(), None):
        assert take(context, content, no_endorsement) == ReturnCode.BAD_TASK_DATA
    assert not (signed_kit / "students").exists()
    assert list((signed_kit / "temporary").iterdir()) == []


def test_a_site_whose_students_cannot_be_written_says_so_by_a_code(
    signed_kit, context, signing, tmp_path
):
    student, endorsement = endorsed(tmp_path, signing)
    (signed_kit / "students").write_text("a file")
    code = take(context, student.read_bytes(), endorsement.read_bytes())
    assert code == ReturnCode.EXECUTION_EXCEPTION


def test_a_study_without_a_server_key_takes_no_student(kit, context, signing, tmp_path):
    student, endorsement = endorsed(tmp_path, signing)
    code = take(context, student.read_bytes(), endorsement.read_bytes())
    assert code == ReturnCode.BAD_TASK_DATA
    assert not (kit / "students").exists()
