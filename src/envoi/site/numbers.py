"""The numbers of a site's files: none that is known is used twice, whatever folder wrote the file.

    WORK/sent.json    number of the last file of a working folder (`Workspace`)
    KEY.sent.json     numbers of the last files that were signed with a key, by site

The second outlives a working folder that was lost or begun anew. It is kept where that can be
done: a key may lie where nobody may write.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import read_text, write_json
from envoi.site.workspace import NUMBER_REMEDY, Workspace


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is known of the numbers that a site has used.

    Attributes:
        site: Its id.
        key: Its private key file, beside which numbers are kept.
        workspace: Its working folder, where there is one.
    """

    site: str
    key: Path
    workspace: Workspace | None = None

    @property
    def path(self) -> Path:
        """Where the numbers of the key are kept."""
        return self.key.with_name(f"{self.key.name}.sent.json")

    def of_folder(self) -> int:
        """The last number that the working folder knows, 0 before the first.

        Raises:
            StorageError: Its sent.json is damaged.
            StudyError: It is another site's.
        """
        return 0 if self.workspace is None else self.workspace.last_sequence()

    def of_key(self) -> int:
        """The last number that is known beside the key, 0 where there is none.

        Raises:
            StorageError: The file cannot be read, or is not what `reserve` writes.
        """
        return self._kept().get(self.site, 0)

    def last(self) -> int:
        """The highest number that is known, 0 before the first.

        Raises:
            StorageError: As `of_folder` and `of_key`.
            StudyError: As `of_folder`.
        """
        return max(self.of_folder(), self.of_key())

    def reserve(self, sequence: int) -> None:
        """Note `sequence` as used, before the file is written.

        Raises:
            SettingsError: It is not above the last one.
            StorageError: The working folder cannot be written, or what is known is damaged.
            StudyError: The working folder is another site's.
        """
        last = self.last()
        if sequence <= last:
            remedy = "Choose a larger one, or leave --sequence out."
            expected = f"a number above {last}, that of the last file"
            raise SettingsError(Problem(expected, f"{sequence}", "--sequence", remedy))
        if self.workspace is not None:
            self.workspace.reserve(sequence)
        self._keep(sequence)

    def note(self, sequence: int) -> None:
        """Have later files go above `sequence`, which a withdrawal took, where it can be noted."""
        with suppress(StorageError):
            if self.workspace is not None and sequence > self.of_folder():
                self.workspace.reserve(sequence)
        with suppress(StorageError):
            if sequence > self.of_key():
                self._keep(sequence)

    def _keep(self, sequence: int) -> None:
        with suppress(StorageError):
            write_json(self.path, {**self._kept(), self.site: sequence})

    def _kept(self) -> dict[str, int]:
        if not self.path.exists():
            return {}
        what = "numbers of submissions"
        text = read_text(self.path, what=what, remedy=NUMBER_REMEDY)
        try:
            return TypeAdapter(dict[str, int]).validate_json(text, strict=True)
        except ValidationError as err:
            problem = Problem(what, "something else", self.path.name, NUMBER_REMEDY)
            raise StorageError(problem) from err


def above_all(day: date) -> int:
    """A number that no counting comes to, below that of any later day: 20301231240000.

    A notice up to it takes back all that a site can have sent, and leaves numbers for a site that
    comes back.
    """
    return int(f"{day:%Y%m%d}240000")
