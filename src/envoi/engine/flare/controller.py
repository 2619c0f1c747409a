"""At the server: asks one site for a file, writes it into the inbox and confirms it; or sends one.

The order is the promise: a file is synced in the inbox before the confirmation is sent. A
kill in between leaves a file that the site has no receipt for; the next job brings the same bytes
under the same name.

A site that dies in the middle ends its job and no other. FLARE alone would wait for ever once the
site's process has come back: it comes back under a new token, which FLARE 2.9 does not find among
those of the job. So the site is put on FLARE's watch list again and again; its job process takes
itself off by its heartbeat, every few seconds.

Judges nothing but the size, so that a site cannot fill the disk: `envoi server collect` and
`envoi server evaluations` do.
"""

import time
from abc import abstractmethod

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from envoi.engine.flare import ACKNOWLEDGE, DIGEST, ENDORSEMENT, FILE
from envoi.engine.flare.cargo import Cargo, Kind
from envoi.engine.flare.executor import kit_of
from envoi.engine.flare.inbox import Outcome, deliver, note_outcome, outcomes_of
from envoi.engine.flare.students import kept_student
from envoi.errors import EnvoiError, Problem, StudyError

# The confirmation is a courtesy: without it the file is as safe, and the site asks by telephone.
_CONFIRMATION_SECONDS = 60
_LOOK_SECONDS = 0.2
_FETCHED = {
    ReturnCode.EMPTY_RESULT: Outcome.NOTHING,
    ReturnCode.BAD_REQUEST_DATA: Outcome.REFUSED,
    ReturnCode.TASK_RESULT_FILTER_ERROR: Outcome.STOPPED,
}
_SENT = {ReturnCode.OK: Outcome.DELIVERED, ReturnCode.BAD_TASK_DATA: Outcome.UNTAKEN}


class _OneSite(Controller):
    """One task to one site, and a note of how it ended.

    Args:
        site: Its id in the roster.
        watch_seconds: A site without a sign of life for so long is taken to be dead; noticed after
            twice this time at the latest.
        kind: What is carried.
        student: SHA-256 of the student that is sent or evaluated, or empty.
    """

    def __init__(self, site: str, watch_seconds: float, kind: str, student: str = "") -> None:
        super().__init__()
        self._site, self._watch_seconds = site, watch_seconds
        self._cargo = Cargo(Kind(kind), student)
        self._outcome = Outcome.SILENT

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Make sure that the site is one of the study.

        Raises:
            StudyError: It is not.
        """
        if self._site not in kit_of(fl_ctx).study.sites:
            remedy = "Provision anew with the study.toml that names it."
            raise StudyError(Problem("a site of the roster", self._site, "job", remedy))

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Ask, note, confirm."""
        data = self._task_data(fl_ctx)
        asked = Task(f"{self._cargo.kind}", data, result_received_cb=self._received)
        self._wait_for(asked, abort_signal, fl_ctx)
        folder = outcomes_of(kit_of(fl_ctx), self._cargo)
        note_outcome(folder, self._site, job=fl_ctx.get_job_id(), outcome=self._outcome)
        if self._outcome is not Outcome.DELIVERED:
            self.system_panic(f"{self._site}: {self._outcome}", fl_ctx)
            return
        confirmation = self._confirmation()
        if confirmation is not None:
            self._wait_for(confirmation, abort_signal, fl_ctx)

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing is held that would have to be let go."""

    def process_result_of_unknown_task(
        self,
        client: Client,
        task_name: str,
        client_task_id: str,
        result: Shareable,
        fl_ctx: FLContext,
    ) -> None:
        """What nobody asked for is dropped."""
        self.log_warning(fl_ctx, f"an answer of {client.name} that nobody waits for was dropped")

    @abstractmethod
    def _task_data(self, fl_ctx: FLContext) -> Shareable:
        """What the site gets with the task."""

    @abstractmethod
    def _result(self, answer: Shareable, fl_ctx: FLContext) -> Outcome:
        """What the site's answer amounts to, once all of it that counts is on the disk."""

    def _confirmation(self) -> Task | None:
        """A last task that tells the site what the server has."""
        return None

    def _wait_for(self, task: Task, abort_signal: Signal, fl_ctx: FLContext) -> None:
        self.broadcast(task, fl_ctx, targets=[self._site])
        watched = time.monotonic()
        while task.completion_status is None and not abort_signal.triggered:
            if time.monotonic() - watched > self._watch_seconds:
                watched = time.monotonic()
                self.communicator.process_dead_client_report(self._site, fl_ctx)
            time.sleep(_LOOK_SECONDS)

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        answer = client_task.result
        client_task.result = None
        try:
            self._outcome = self._result(answer, fl_ctx)
        except EnvoiError as err:
            self._outcome = Outcome.UNKEPT
            self.log_error(fl_ctx, f"the file of {self._site} could not be kept: {err}")


class FetchController(_OneSite):
    """One file from one site: a submission, an evaluation or a notice of withdrawal."""

    _digest = ""

    def _task_data(self, fl_ctx: FLContext) -> Shareable:
        return Shareable({DIGEST: self._cargo.student})

    def _result(self, answer: Shareable, fl_ctx: FLContext) -> Outcome:
        code, content = answer.get_return_code(), answer.get(FILE)
        if code != ReturnCode.OK or not isinstance(content, bytes):
            return _FETCHED.get(code, Outcome.FAILED)
        kit = kit_of(fl_ctx)
        if len(content) > self._cargo.largest_bytes(kit.study):
            return Outcome.OVERSIZED
        self._digest = deliver(content, kit.mailbox, self._site, self._cargo)
        self.log_info(fl_ctx, f"{self._site}: {len(content)} bytes in the inbox")
        return Outcome.DELIVERED

    def _confirmation(self) -> Task:
        return Task(ACKNOWLEDGE, Shareable({DIGEST: self._digest}), timeout=_CONFIRMATION_SECONDS)


class StudentController(_OneSite):
    """One student to one site; the site answers with a return code alone."""

    def _task_data(self, fl_ctx: FLContext) -> Shareable:
        kit = kit_of(fl_ctx)
        content, endorsement = kept_student(kit.students, self._cargo.student, study=kit.study)
        return Shareable({FILE: content, ENDORSEMENT: endorsement})

    def _result(self, answer: Shareable, fl_ctx: FLContext) -> Outcome:
        return _SENT.get(answer.get_return_code(), Outcome.FAILED)
