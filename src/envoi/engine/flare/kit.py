"""A kit: the folder that one party gets, with its certificate, its policies and its own settings.

    startup/             certificates and addresses, from `envoi flare provision`
    local/               policies, study.toml and envoi.toml, the party's own settings
    outbox/              a site: where its approved files lie
    confirmed/           a site: what has arrived, by the server's word; not signed
    students/            a site: students that the server sent; the server: those that it sends
    inbox/               the server: where files arrive
    outcomes/            the server: how the last jobs of each site ended
    store/, temporary/   what FLARE keeps

local/envoi.toml is read at the site alone and never sent. No job can name another folder: paths
come from here and from nowhere else.
"""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import read_text
from envoi.study import Study, load_study
from envoi.wording import did_you_mean

SETTINGS = Path("local", "envoi.toml")
STUDY = Path("local", "study.toml")
CONFIRMED, OUTCOMES, STORE, TEMPORARY = "confirmed", "outcomes", "store", "temporary"
STUDENTS = "students"
_REMEDY = "Give the folder of a kit that `envoi flare provision` made."


class Role(StrEnum):
    """Who a kit is for; the name of FLARE's startup file."""

    SERVER = "fed_server.json"
    SITE = "fed_client.json"
    COORDINATOR = "fed_admin.json"


MAILBOX = {Role.SERVER: "inbox", Role.SITE: "outbox"}
_ADVICE = {
    Role.SERVER: "Where sites' files arrive, relative to the kit or absolute.",
    Role.SITE: "Where this site's approved files lie, relative to the kit or absolute.",
}
_STUDENTS_ADVICE = "Where students of the study are put, relative to the kit or absolute."


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit at its place.

    Attributes:
        root: Its folder.
        role: Who it is for.
        study: That it serves.
    """

    root: Path
    role: Role
    study: Study

    @property
    def mailbox(self) -> Path:
        """The site's outbox or the server's inbox, as local/envoi.toml says.

        Raises:
            SettingsError: local/envoi.toml says something else.
            StorageError: It cannot be read.
        """
        return self._folder(MAILBOX[self.role])

    @property
    def students(self) -> Path:
        """Where students are kept; a site may name another folder in local/envoi.toml.

        Raises:
            SettingsError: local/envoi.toml says something else.
            StorageError: It cannot be read.
        """
        return self._folder(STUDENTS, default=STUDENTS)

    def _folder(self, key: str, *, default: str = "") -> Path:
        where = SETTINGS.name
        text = read_text(self.root / SETTINGS, what="the settings of a kit", remedy=_REMEDY)
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            problem = Problem("a TOML file", str(err)[:200], where, "Correct that place.")
            raise SettingsError(problem) from err
        known = [MAILBOX[self.role], *([STUDENTS] if self.role is Role.SITE else [])]
        unknown = sorted(values.keys() - set(known))
        if unknown:
            remedy = did_you_mean(unknown[0], known, otherwise="Remove it.", cutoff=0.0)
            expected = f"{' and '.join(known)} alone"
            raise SettingsError(Problem(expected, ascii(unknown[0])[:80], where, remedy))
        folder = values.get(key, default)
        if not isinstance(folder, str) or not folder:
            raise SettingsError(Problem("a folder", "none", f"{where}, {key}", f"Set {key}."))
        return self.root / folder


def load_kit(root: Path) -> Kit:
    """The kit in `root`.

    Raises:
        StorageError: There is none, or a file of it cannot be read.
        StudyError: Its study.toml is wrong.
    """
    root = root.absolute()
    roles = [role for role in Role if (root / "startup" / role).is_file()]
    if len(roles) != 1:
        raise StorageError(Problem("a kit", "a folder without one", root.name, _REMEDY))
    return Kit(root, roles[0], load_study(root / STUDY))


def settings_text(role: Role) -> str:
    """local/envoi.toml of a new kit."""
    key = MAILBOX[role]
    students = f'# {_STUDENTS_ADVICE}\n{STUDENTS} = "{STUDENTS}"\n' if role is Role.SITE else ""
    return f'# {_ADVICE[role]}\n{key} = "{key}"\n{students}'


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone can enter.

    Raises:
        OSError: It cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
