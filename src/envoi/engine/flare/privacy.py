"""At the site: the last door. A result leaves if it is one valid submission of this site and study.

Built from the site's privacy.json, not from the job, for every result of every task. It does not
trust the executor: the bytes are opened and checked here with every check that the server will
make, and a new message is made of them, so that nothing else can ride along.

What passes beside a submission: an empty answer with one of a few return codes.
"""

from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply

from envoi.engine.flare import SUBMISSION
from envoi.engine.flare.approved import checked
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


class SubmissionFilter(Filter):
    """Lets a submission through, and nothing else."""

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """A new message of the submission in `shareable`, or an empty one with a return code."""
        code = shareable.get_return_code()
        content = shareable.get(SUBMISSION)
        if code != ReturnCode.OK or content is None:
            return make_reply(code if code in _CODES else ReturnCode.EXECUTION_EXCEPTION)
        if not isinstance(content, bytes):
            self.log_error(fl_ctx, "a result was stopped: its submission is not a file's bytes")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        try:
            kit = kit_of(fl_ctx)
            site = fl_ctx.get_identity_name()
            checked(content, study=kit.study, site=site, scratch=scratch_of(kit))
        except EnvoiError as err:
            self.log_error(fl_ctx, f"a result was stopped: {err}")
            return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)
        reply = make_reply(ReturnCode.OK)
        reply[SUBMISSION] = content
        return reply
