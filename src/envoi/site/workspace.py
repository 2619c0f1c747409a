"""A site's working folder: what stays at the hospital between `train` and `submit`.

    training.safetensors   checkpoint of a training that is under way
    trained.safetensors    the finished training, all that a submission is made of
    sent.json              number of the last file that was written for the server

Each names the site that it belongs to, and is refused as another's. No image, path, host or user
name is kept; of the images of a finished training there are digests (`envoi.site.seen`).
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int64
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from envoi.checkpoint import State, pack, unpack
from envoi.errors import Problem, SettingsError, StorageError, StudyError
from envoi.files import canonical_json, check_folder, digest, read_text, write_bytes, write_json
from envoi.site.audit import SiteAudit
from envoi.study import Study
from envoi.submission import Moments, Release, TrainingCard

NUMBER_REMEDY = "Remove it, and give a number above your last submission's with --sequence."
_TRAIN_FIRST = "Run `envoi site train` with this working folder."
_TRAINED_ON = "trained_on"
_BINDING = {"classes", "image", "seed", "initialisation", "weight_format", "statistics", "training"}


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished training, all that a submission is made of.

    Attributes:
        release: Raw; writing applies the study's policy.
        accuracy_as_sent: On the validation part, of the weights in the study's format, or None.
        seconds: Wall time of the training.
        fingerprint: Of the job that trained it (`job_fingerprint`).
        audit: What attacks on it came to; None of trainings before there were audits.
        trained_on: Digests of the images it has seen (`envoi.site.seen`); None of trainings from
            before they were kept.
    """

    release: Release
    accuracy_as_sent: float | None
    seconds: float
    fingerprint: str
    audit: SiteAudit | None = None
    trained_on: Int64[Tensor, " image"] | None = None


@dataclass(frozen=True, slots=True)
class _Record:
    """What stands in the metadata of trained.safetensors."""

    site: str
    binding: str
    architecture: str
    class_counts: tuple[int, ...]
    card: TrainingCard
    temperature: float | None
    accuracy_as_sent: float | None
    seconds: float
    fingerprint: str
    audit: SiteAudit | None = None
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True)
class _Sent:
    """What stands in sent.json."""

    site: str
    sequence: int


class Workspace:
    """The working folder of one site in one study.

    Args:
        folder: Need not exist yet.
        site: Its id; what belongs to another site is refused.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.folder, self.site = folder, site

    @property
    def checkpoint_path(self) -> Path:
        """Where a training that is under way leaves its state."""
        return self.folder / "training.safetensors"

    def save(self, finished: Finished, *, study: Study) -> None:
        """Keep a finished training, bound to the parts of the study that decide it.

        Raises:
            StorageError: The folder cannot be written.
        """
        release = finished.release
        record = _Record(
            site=self.site,
            binding=_binding(study),
            architecture=release.architecture,
            class_counts=release.class_counts,
            card=release.card,
            temperature=release.temperature,
            accuracy_as_sent=finished.accuracy_as_sent,
            seconds=finished.seconds,
            fingerprint=finished.fingerprint,
            audit=finished.audit,
            is_encrypted="encryption" in study.server_keys,
        )
        text = TypeAdapter(_Record).dump_json(record).decode()
        moments = {} if release.moments is None else release.moments.encoded()
        seen = {} if finished.trained_on is None else {_TRAINED_ON: finished.trained_on}
        tensors = {**pack("network", release.state), **moments, **seen}
        write_bytes(self._trained, save(tensors, metadata={"record": text}))

    def load(self, *, study: Study) -> Finished:
        """The finished training.

        Raises:
            StorageError: There is none, or it is damaged.
            StudyError: It is another site's, or was made for a study that asked for something
                else, such as encryption where this one does not.
        """
        record, tensors = self._read()
        self._check_owner(record.site, self._trained)
        if record.binding != _binding(study):
            raise StudyError(
                Problem(
                    "a training for this study",
                    "one for other classes, images, weights, statistics or settings",
                    self._trained.name,
                    "Train again with this study.toml, or give the study.toml of the training.",
                )
            )
        if record.is_encrypted and "encryption" not in study.server_keys:
            expected = "a study with the server's key for encryption, as that of the training"
            remedy = "Give the newest study.toml: with this one the file would leave unencrypted."
            raise StudyError(Problem(expected, "one without", "study, server", remedy))
        release = Release(
            architecture=record.architecture,
            state=unpack("network", tensors),
            class_counts=record.class_counts,
            card=record.card,
            moments=Moments.taken_from(tensors),
            temperature=record.temperature,
            audit=None if record.audit is None else record.audit.told,
        )
        return Finished(
            release,
            record.accuracy_as_sent,
            record.seconds,
            record.fingerprint,
            record.audit,
            tensors.get(_TRAINED_ON),
        )

    def finished_job(self, fingerprint: str, *, study: Study) -> Finished | None:
        """The finished training of the job of this fingerprint, or None before it is finished.

        Raises:
            StorageError: The folder is a file, or holds the training of another job or a damaged
                one.
            StudyError: The folder is another site's, or the training was made for another study.
        """
        check_folder(self.folder)
        self.last_sequence()  # refuses a folder that another site has submitted from
        if not self._trained.exists():
            return None
        finished = self.load(study=study)
        if finished.fingerprint != fingerprint:
            found = "the finished training of other images or settings"
            remedy = "Choose another working folder, or add --again to drop that training."
            raise StorageError(
                Problem("a training of this job, or none", found, self._trained.name, remedy)
            )
        return finished

    def clear(self) -> None:
        """Drop the training, finished or not; the number of the last file stays.

        Raises:
            StudyError: The folder is another site's; nothing is dropped.
        """
        self.last_sequence()  # refuses a folder that another site has submitted from
        with suppress(StorageError):  # one that is damaged is dropped whosever it was
            self._check_owner(self._read()[0].site, self._trained)
        self._trained.unlink(missing_ok=True)
        self.checkpoint_path.unlink(missing_ok=True)

    def last_sequence(self) -> int:
        """Number of the last file written for the server, 0 before the first.

        Raises:
            StorageError: sent.json is unreadable or not what `reserve` writes.
            StudyError: It is another site's.
        """
        path, what = self._sent, "the number of the last submission"
        if not path.exists():
            return 0
        text = read_text(path, what=what, remedy=NUMBER_REMEDY)
        try:
            sent = TypeAdapter(_Sent).validate_json(text, strict=True)
        except ValidationError as err:
            raise StorageError(Problem(what, "something else", path.name, NUMBER_REMEDY)) from err
        self._check_owner(sent.site, path)
        return sent.sequence

    def reserve(self, sequence: int) -> None:
        """Note `sequence` as used, before the file is written: no number is ever used twice.

        Raises:
            SettingsError: It is not above the last one.
            StorageError: The folder cannot be written, or sent.json is damaged.
            StudyError: sent.json is another site's.
        """
        last = self.last_sequence()
        if sequence <= last:
            remedy = "Choose a larger one, or leave --sequence out."
            expected = f"a number above {last}, that of the last file"
            raise SettingsError(Problem(expected, f"{sequence}", "--sequence", remedy))
        write_json(self._sent, {"site": self.site, "sequence": sequence})

    @property
    def _trained(self) -> Path:
        return self.folder / "trained.safetensors"

    @property
    def _sent(self) -> Path:
        return self.folder / "sent.json"

    def _check_owner(self, owner: str, file: Path) -> None:
        if owner != self.site:
            remedy = f"Give {self.site} a working folder of its own."
            expected = f"the working folder of {self.site}"
            raise StudyError(Problem(expected, f"that of {owner}", file.name, remedy))

    def _read(self) -> tuple[_Record, State]:
        name = self._trained.name
        if not self._trained.exists():
            raise StorageError(Problem("a finished training", "none", name, _TRAIN_FIRST))
        try:
            with safe_open(self._trained, framework="pt") as file:
                text = (file.metadata() or {}).get("record", "")
                tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            return TypeAdapter(_Record).validate_json(text), tensors
        except (OSError, SafetensorError, ValidationError) as err:
            found = "a damaged or foreign file"
            raise StorageError(Problem("a finished training", found, name, _TRAIN_FIRST)) from err


def _binding(study: Study) -> str:
    """Digest of what decides a training; the roster and the deadline do not."""
    return digest(canonical_json(study.model_dump(mode="json", include=_BINDING)).encode())
