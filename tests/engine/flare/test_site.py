"""At a site: what the executor answers and what the filter lets out."""

import json

import pytest

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'envoi[flare]'")

from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.apis.workspace import Workspace

from envoi.engine.flare import ACKNOWLEDGE, DELIVER, DIGEST, SUBMISSION
from envoi.engine.flare.executor import SubmissionExecutor
from envoi.engine.flare.kit import Role, settings_text
from envoi.engine.flare.privacy import SubmissionFilter
from envoi.files import digest
from envoi.study import write_study
from tests.engine.flare.conftest import approve

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


def ask(context, task=DELIVER, data=None, executor=None):
    executor = executor or SubmissionExecutor()
    return executor.execute(task, data or Shareable(), context, Signal())


def test_the_approved_file_is_handed_over_and_let_out(kit, context, study):
    file = approve(kit / "outbox", study, "north")
    passed = SubmissionFilter().process(ask(context), context)
    assert passed.get_return_code() == ReturnCode.OK
    assert passed[SUBMISSION] == file.read_bytes()


def test_nothing_approved_is_a_code_and_no_more(context):
    answer = SubmissionFilter().process(ask(context), context)
    assert answer.get_return_code() == ReturnCode.EMPTY_RESULT
    assert SUBMISSION not in answer


def test_a_damaged_file_is_a_code_and_no_more(kit, context):
    (kit / "outbox" / "north-1.safetensors").write_bytes(b"x")
    assert ask(context).get_return_code() == ReturnCode.BAD_REQUEST_DATA


def test_no_other_task_is_answered(kit, context, study):
    approve(kit / "outbox", study, "north")
    answer = ask(context, "train")
    assert answer.get_return_code() == ReturnCode.TASK_UNSUPPORTED
    assert SUBMISSION not in answer


def test_a_receipt_is_written_for_the_file_that_was_sent_and_no_other(kit, context, study):
    file = approve(kit / "outbox", study, "north")
    executor = SubmissionExecutor()
    ask(context, executor=executor)
    wrong = ask(context, ACKNOWLEDGE, Shareable({DIGEST: "0" * 64}), executor)
    assert wrong.get_return_code() == ReturnCode.BAD_TASK_DATA
    assert not (kit / "receipts").exists()
    right = Shareable({DIGEST: digest(file.read_bytes())})
    assert ask(context, ACKNOWLEDGE, right, executor).get_return_code() == ReturnCode.OK
    receipt = json.loads((kit / "receipts" / f"{file.name}.json").read_text())
    assert receipt["sha256"] == right[DIGEST]


def held(shareable, context):
    """Whether the filter stops a result, with nothing of it in its answer."""
    answer = SubmissionFilter().process(shareable, context)
    rest = {key for key in answer if key != "__headers__"}
    return not rest and answer.get_return_code() != ReturnCode.OK


def test_the_filter_stops_what_is_no_submission_of_this_site(kit, context, study, tmp_path):
    valid = approve(kit / "outbox", study, "north").read_bytes()
    others = approve(tmp_path, study, "west").read_bytes()
    for content in (b"", b"patients", valid[:-1], valid + b"\0", others, valid.hex(), [valid]):
        assert held(Shareable({SUBMISSION: content}), context)
    assert list((kit / "temporary").iterdir()) == []


def test_nothing_rides_along_with_a_submission(kit, context, study):
    valid = approve(kit / "outbox", study, "north").read_bytes()
    result = Shareable({SUBMISSION: valid, "DXO": {"data": [1.0]}, "name": "J. Doe"})
    result.set_header("path", "/data/patients")
    passed = SubmissionFilter().process(result, context)
    assert set(passed) == {SUBMISSION, "__headers__"}
    assert passed["__headers__"] == make_reply(ReturnCode.OK)["__headers__"]


def test_results_without_a_submission_leave_empty(context):
    result = Shareable({"weights": [1.0]})
    passed = SubmissionFilter().process(result, context)
    assert set(passed) == {"__headers__"}
    odd = make_reply("the patient's name")
    code = SubmissionFilter().process(odd, context).get_return_code()
    assert code == ReturnCode.EXECUTION_EXCEPTION
