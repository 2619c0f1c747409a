"""At the site: hands an approved file to FLARE and notes the receipt; puts a student into place.

Takes no path, name or option from the job. What is wrong stands in the site's log; the server
is told a return code alone.
"""

from datetime import UTC, datetime
from pathlib import Path

from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from envoi.engine.flare import ACKNOWLEDGE, DIGEST, ENDORSEMENT, FILE
from envoi.engine.flare.approved import Approved, approved_file
from envoi.engine.flare.cargo import FILE_DIGITS, LEAVING, Cargo, Kind
from envoi.engine.flare.kit import CONFIRMED, TEMPORARY, Kit, load_kit, make_private
from envoi.engine.flare.students import keep_student
from envoi.errors import EnvoiError, SettingsError, StorageError
from envoi.files import write_json


class OutboxExecutor(Executor):
    """Answers a task named after a kind of file with such a file, `acknowledge` with nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._delivered: Approved | None = None

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        """The answer to a task; every answer passes the site's filter afterwards."""
        if abort_signal.triggered:
            return make_reply(ReturnCode.TASK_ABORTED)
        try:
            if task_name in LEAVING:
                return self._deliver(Kind(task_name), shareable, fl_ctx)
            if task_name == ACKNOWLEDGE:
                return self._acknowledge(shareable, fl_ctx)
        except StorageError as err:
            self.log_error(fl_ctx, f"nothing was sent: {err}")
            return make_reply(ReturnCode.EMPTY_RESULT)
        except EnvoiError as err:
            self.log_error(fl_ctx, f"nothing was sent: {err}")
            return make_reply(ReturnCode.BAD_REQUEST_DATA)
        return make_reply(ReturnCode.TASK_UNSUPPORTED)

    def _deliver(self, kind: Kind, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        try:
            cargo = Cargo(kind, f"{shareable.get(DIGEST, '')}")
        except SettingsError as err:
            self.log_error(fl_ctx, f"nothing was sent: {err}")
            return make_reply(ReturnCode.BAD_TASK_DATA)
        kit, site = kit_of(fl_ctx), fl_ctx.get_identity_name()
        scratch = scratch_of(kit)
        found = approved_file(kit.mailbox, study=kit.study, site=site, scratch=scratch, cargo=cargo)
        self._delivered = found
        for problem in found.refusals:
            self.log_warning(fl_ctx, f"passed over: {problem}")
        message = f"sending {found.name}: {len(found.content)} bytes, sha256 {found.digest}"
        self.log_info(fl_ctx, message)
        reply = make_reply(ReturnCode.OK)
        reply[FILE] = found.content
        return reply

    def _acknowledge(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        sent = self._delivered
        if sent is None or shareable.get(DIGEST) != sent.digest:
            self.log_error(fl_ctx, "the server confirmed another file; nothing was noted")
            return make_reply(ReturnCode.BAD_TASK_DATA)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note = {"file": sent.name, DIGEST: sent.digest, "confirmed": now}
        path = kit_of(fl_ctx).root / CONFIRMED / f"{sent.name}.{sent.digest[:FILE_DIGITS]}.json"
        if not path.exists():  # sent again: it was confirmed at that time
            write_json(path, note)
        self.log_info(fl_ctx, f"the server has {sent.name}")
        return make_reply(ReturnCode.OK)


class StudentExecutor(Executor):
    """Answers one task, `student`: puts what the server signed into place, and says a code."""

    def execute(
        self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal
    ) -> Shareable:
        """OK once the student and its endorsement are synced, or why not."""
        if abort_signal.triggered:
            return make_reply(ReturnCode.TASK_ABORTED)
        if task_name != Kind.STUDENT:
            return make_reply(ReturnCode.TASK_UNSUPPORTED)
        content, endorsement = shareable.get(FILE), shareable.get(ENDORSEMENT)
        if not isinstance(content, bytes) or not isinstance(endorsement, bytes):
            self.log_error(fl_ctx, "a student was refused: it is not a file's bytes")
            return make_reply(ReturnCode.BAD_TASK_DATA)
        try:
            kit = kit_of(fl_ctx)
            path = keep_student(
                content, endorsement, kit.students, study=kit.study, scratch=scratch_of(kit)
            )
        except StorageError as err:
            self.log_error(fl_ctx, f"a student could not be kept: {err}")
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)
        except EnvoiError as err:
            self.log_error(fl_ctx, f"a student was refused: {err}")
            return make_reply(ReturnCode.BAD_TASK_DATA)
        self.log_info(fl_ctx, f"the server's student is in place: {path.name}")
        return make_reply(ReturnCode.OK)


def kit_of(fl_ctx: FLContext) -> Kit:
    """The kit that this process was started from.

    Raises:
        StorageError: A file of it cannot be read.
        StudyError: Its study.toml is wrong.
    """
    return load_kit(Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).root_dir))


def scratch_of(kit: Kit) -> Path:
    """A folder for copies that are being checked."""
    folder = kit.root / TEMPORARY
    make_private(folder)
    return folder
