"""The site's approved file: what `envoi site submit` has written into the outbox."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from envoi.errors import EnvoiError, Problem, StorageError, SubmissionError
from envoi.files import digest
from envoi.study import Study
from envoi.submission import largest_submission_bytes, open_submission
from envoi.submission.intake import intake

_REMEDY = "Write the file with `envoi site submit ... --out OUTBOX/` and look at what it tells."


@dataclass(frozen=True, slots=True)
class Approved:
    """A file that may leave.

    Attributes:
        name: Of the file.
        sequence: Its number among the site's.
        content: All of it.
    """

    name: str
    sequence: int
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest(self.content)


def approved_file(outbox: Path, *, study: Study, site: str, scratch: Path) -> Approved:
    """The valid submission of the site with the highest number.

    Other files of the outbox are passed over.

    Args:
        outbox: The folder.
        study: Judges the files.
        site: Whose file it must be.
        scratch: For a copy while it is checked.

    Raises:
        StorageError: There is none.
        SubmissionError: There are files, and none is valid; the first one's problem.
    """
    found: list[Approved] = []
    refusals: list[EnvoiError] = []
    paths = sorted(outbox.glob("*.safetensors")) if outbox.is_dir() else []
    for path in paths:
        try:
            with intake(path) as source:
                content = source.read(min(source.size, largest_submission_bytes(study) + 1))
            sequence = checked(content, study=study, site=site, scratch=scratch)
            found.append(Approved(path.name, sequence, content))
        except SubmissionError as err:
            refusals.append(err)
    if found:
        return max(found, key=lambda file: file.sequence)
    if refusals:
        raise refusals[0]
    raise StorageError(Problem("an approved file", "none", outbox.name, _REMEDY))


def checked(content: bytes, *, study: Study, site: str, scratch: Path) -> int:
    """The number of the submission whose bytes are `content`, after every check.

    Args:
        content: Of a whole file.
        study: Judges it.
        site: Whose file it must be.
        scratch: An existing folder that no other user can enter.

    Raises:
        SubmissionError: It is no valid submission of the site.
    """
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=f"{site}.", suffix=".part") as file:
        file.write(content)
        file.flush()
        sent = open_submission(Path(file.name), study=study)
    if sent.site != site:
        remedy = "Take that file out of the outbox."
        raise SubmissionError(Problem(f"a file of {site}", f"one of {sent.site}", site, remedy))
    return sent.sequence
