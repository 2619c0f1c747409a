"""At the site: the last door. A result leaves if it is one valid file of this site and study.

Built from the site's privacy.json, not from the job, for every result of every task. It does not
trust the executor: the bytes are opened and checked here with every check that the server will
make, and a new message is made of them, so that nothing else can ride along. The task's name says
what may leave: a submission, an evaluation or a notice of withdrawal. The result of any other task,
that of a student too, is an empty answer with one of a few return codes.
"""

from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from envoi.engine.flare import FILE
from envoi.engine.flare.approved import checked
from envoi.engine.flare.cargo import LEAVING, Kind
from envoi.engine.flare.executor import kit_of, scratch_of
from envoi.errors import EnvoiError

_CODES = frozenset(
    {
        ReturnCode.OK,
        ReturnCode.EMPTY_RESULT,
        ReturnCode.BAD_REQUEST_DATA,
        ReturnCode.BAD_TASK_DATA,
        ReturnCode.TASK_ABORTED,
        ReturnCode.TASK_UNSUPPORTED,
        ReturnCode.EXECUTION_EXCEPTION,
    }
)


class SignedFileFilter(Filter):
    """Lets a file through that this site has signed and the task asks for, and nothing else."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """A new message of the file in `shareable`, or an empty one with a return code."""
        code = shareable.get_return_code()
        content = shareable.get(FILE)
        task = fl_ctx.get_prop(FLContextKey.TASK_NAME)
        if code != ReturnCode.OK or content is None or task not in LEAVING:
            return make_reply(code if code in _CODES else ReturnCode.EXECUTION_EXCEPTION)
        if not isinstance(content, bytes):
            self.log_error(fl_ctx, "a result was stopped: it is not a file's bytes")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        try:
            kit = kit_of(fl_ctx)
            site = fl_ctx.get_identity_name()
            checked(content, Kind(task), study=kit.study, site=site, scratch=scratch_of(kit))
        except EnvoiError as err:
            self.log_error(fl_ctx, f"a result was stopped: {err}")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        reply = make_reply(ReturnCode.OK)
        reply[FILE] = content
        return reply
