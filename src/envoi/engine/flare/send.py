"""The coordinator's other part: a student goes back to each hospital by the way its file came.

Checked before anything starts: the student's study, and the server's signature beside it. A copy
lies in the server's kit, where jobs find it by its checksum.
"""

from collections.abc import Sequence
from pathlib import Path

from envoi.engine.flare import require_flare
from envoi.engine.flare.cargo import Cargo, Kind
from envoi.engine.flare.kit import TEMPORARY, Kit, make_private
from envoi.engine.flare.run import OnNews, Patience, check_parties, run
from envoi.engine.flare.students import keep_student
from envoi.errors import CheckError, Problem, StorageError, StudyError
from envoi.files import digest
from envoi.server.student import check_student_of
from envoi.submission.endorsement import endorsement_of


def send(
    coordinator: Kit,
    server: Kit,
    student: Path,
    *,
    sites: Sequence[str] = (),
    patience: Patience,
    on_news: OnNews,
) -> tuple[str, ...]:
    """Carry a student to each site; the sites that have not got it when time is up.

    Args:
        coordinator: Signs the jobs.
        server: On this machine; it tells who has got the student.
        student: Its file, with its endorsement beside it.
        sites: That get it even if they have it; without any, all that have not.
        patience: How long.
        on_news: Called with a site's id and a line about it.

    Raises:
        MissingExtraError: FLARE is not installed.
        SettingsError: A kit is another one's, or a site is not in the roster.
        StudyError: The student is of another study, or the study names no key of its server.
        CheckError: The endorsement is missing, or does not fit.
        StorageError: A file cannot be read or written.
    """
    require_flare()
    check_parties(coordinator, server, sites)
    cargo = prepared(student, server)
    return run(coordinator, server, cargo, sites=sites, patience=patience, on_news=on_news)


def prepared(student: Path, server: Kit) -> Cargo:
    """Check a student and put it into the server's kit; what jobs are to carry.

    Raises:
        StudyError: It is of another study, or the study names no key of its server.
        CheckError: Its endorsement is missing, or does not fit.
        StorageError: A file cannot be read or written.
    """
    if "receipts" not in server.study.server_keys:
        remedy = "Sites could not tell it from a swapped one: bring it to them by hand."
        raise StudyError(
            Problem("a study that names its server's key", "none", "study.toml", remedy)
        )
    check_student_of(student, server.study)
    endorsement = endorsement_of(student)
    if not endorsement.exists():
        remedy = "Write it with `envoi server endorse`."
        raise CheckError(Problem(f"{endorsement.name} beside it", "none", student.name, remedy))
    try:
        content, signed = student.read_bytes(), endorsement.read_bytes()
        make_private(server.root / TEMPORARY)
    except OSError as err:
        remedy = "Make the student, its endorsement and the kit accessible."
        found = err.strerror or "an error"
        raise StorageError(Problem("a student's file", found, student.name, remedy)) from err
    scratch = server.root / TEMPORARY
    keep_student(content, signed, server.students, study=server.study, scratch=scratch)
    return Cargo(Kind.STUDENT, digest(content))
