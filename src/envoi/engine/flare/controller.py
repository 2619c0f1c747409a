"""At the server: asks one site for its file, writes it into the inbox, then confirms it.

The order is the promise: the file is synced in the inbox before the confirmation is sent. A
kill in between leaves a file that the site has no receipt for; the next job brings the same bytes
under the same name.

A site that dies in the middle ends its job and no other. FLARE alone would wait for ever once the
site's process has come back: it comes back under a new token, which FLARE 2.9 does not find among
those of the job. So the site is put on FLARE's watch list again and again; its job process takes
itself off by its heartbeat, every few seconds.

Judges nothing but the size, so that a site cannot fill the disk: `envoi server collect` does.
"""

import time

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from envoi.engine.flare import ACKNOWLEDGE, DELIVER, DIGEST, SUBMISSION
from envoi.engine.flare.executor import kit_of
from envoi.engine.flare.inbox import Outcome, deliver, note_outcome
from envoi.engine.flare.kit import OUTCOMES
from envoi.errors import EnvoiError, Problem, StudyError
from envoi.submission import largest_submission_bytes

# The confirmation is a courtesy: without it the file is as safe, and the site asks by telephone.
_CONFIRMATION_SECONDS = 60
_LOOK_SECONDS = 0.2
_OUTCOMES = {
    ReturnCode.EMPTY_RESULT: Outcome.NOTHING,
    ReturnCode.BAD_REQUEST_DATA: Outcome.REFUSED,
    ReturnCode.TASK_RESULT_FILTER_ERROR: Outcome.STOPPED,
}


class SubmissionController(Controller):
    """One delivery from one site.

    Args:
        site: Its id in the roster.
        watch_seconds: A site without a sign of life for so long is taken to be dead; noticed after
            twice this time at the latest.
    """

    def __init__(self, site: str, watch_seconds: float) -> None:
        super().__init__()
        self._site, self._watch_seconds = site, watch_seconds
        self._outcome, self._digest = Outcome.SILENT, ""

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Make sure that the site is one of the study.

        Raises:
            StudyError: It is not.
        """
        if self._site not in kit_of(fl_ctx).study.sites:
            remedy = "Provision anew with the study.toml that names it."
            raise StudyError(Problem("a site of the roster", self._site, "job", remedy))

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Ask, write, confirm."""
        asked = Task(DELIVER, Shareable(), result_received_cb=self._received)
        self._wait_for(asked, abort_signal, fl_ctx)
        folder = kit_of(fl_ctx).root / OUTCOMES
        note_outcome(folder, self._site, job=fl_ctx.get_job_id(), outcome=self._outcome)
        if self._outcome is not Outcome.DELIVERED:
            self.system_panic(f"{self._site}: {self._outcome}", fl_ctx)
            return
        confirmation = Task(
            ACKNOWLEDGE, Shareable({DIGEST: self._digest}), timeout=_CONFIRMATION_SECONDS
        )
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
        code, content = answer.get_return_code(), answer.get(SUBMISSION)
        if code != ReturnCode.OK or not isinstance(content, bytes):
            self._outcome = _OUTCOMES.get(code, Outcome.FAILED)
            return
        try:
            kit = kit_of(fl_ctx)
            if len(content) > largest_submission_bytes(kit.study):
                self._outcome = Outcome.OVERSIZED
                return
            self._digest = deliver(content, kit.mailbox, self._site)
        except EnvoiError as err:
            self.log_error(fl_ctx, f"the file of {self._site} could not be kept: {err}")
            return
        self._outcome = Outcome.DELIVERED
        self.log_info(fl_ctx, f"{self._site}: {len(content)} bytes in the inbox")
