"""What a run leaves behind: one folder that reports, tables and programs read.

    run.toml       resolved settings
    steps.jsonl    one line for each logged step
    result.json    a `StudyResult`
    gallery/       synthetic images, PNG

Loads no torch. Nothing here holds a path, a host or a user name.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import tomlkit
from pydantic import TypeAdapter, ValidationError
from tomlkit.exceptions import ParseError

from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import canonical_json, read_json, read_text, write_bytes, write_text
from envoi.wording import counted, differences

CLOSED_FORM = "closed form"
"""Name of the expert that is no site: the classifier on the moments of all sites together."""


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step of a loop, as told to `OnStep` callbacks and written to steps.jsonl.

    Attributes:
        phase: What is running, such as `site-1/train`, `pooled/train`, `fedisca`.
        step: Steps done so far, from 1.
        steps: Steps in all.
        losses: Loss terms by name (JSON key order is kept).
        epoch: Epoch or outer epoch, from 1; 0 where there are none.
    """

    phase: str
    step: int
    steps: int
    losses: Mapping[str, float]
    epoch: int = 0

    @property
    def diverged(self) -> list[str]:
        """Names of the loss terms that are NaN or infinite: no later step can heal them."""
        return [name for name, loss in self.losses.items() if not math.isfinite(loss)]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Predictions whose confidence falls into one of equal-width bins."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class SiteMetrics:
    """How well one classifier does on the test images of one site.

    Measures that need two classes are left out: a site's test images may be of one.

    Attributes:
        accuracy: Fraction of right answers.
        balanced_accuracy: Mean recall over the classes present in the site's test images.
        confusion: Counts, true class by predicted class.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well one classifier does on one test set.

    Attributes:
        accuracy: Fraction of right answers.
        balanced_accuracy: Mean recall over the classes present in the test set.
        auroc: Macro one-against-rest area under the ROC curve.
        ece: Expected calibration error, 15 equal-width bins.
        confusion: Counts, true class by predicted class.
        calibration: The bins of `ece`, empty ones left out.
        by_site: The same images, those of each site apart, where the test set names two sites or
            more; keys are the test set's own names of them.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval
    ece: Interval
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[CalibrationBin, ...]
    by_site: dict[str, SiteMetrics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassRecall:
    """The share of one class's test images that teacher and student recognise.

    Attributes:
        teacher: Of the teacher.
        student: Of the student.
        difference: Student less teacher, in -1..1; its interval draws the same images for both.
    """

    teacher: Interval
    student: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Distillation:
    """A student beside the teacher that it learned from, on the common test images.

    Attributes:
        teacher: How well the teacher does.
        recalls: In label order; None for a class without test images.
        agreement: Fraction of images to which both give the same answer, right or wrong.
    """

    teacher: Metrics
    recalls: tuple[ClassRecall | None, ...]
    agreement: Interval


@dataclass(frozen=True, slots=True)
class Say:
    """How much one expert counts in a teacher's answer.

    Attributes:
        expert: A site's network, by the site's name, or `CLOSED_FORM`.
        shares: Of all experts' weight on each class, in label order. The shares of a class sum to
            one over the experts, or to zero where no expert has a say.
    """

    expert: str
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SiteResult:
    """What one site did and sent.

    Attributes:
        site: Its name in the roster.
        architecture: Of its network.
        class_counts: Images of each class as released (rounded and suppressed by the study).
        bytes_sent: Size of its submission.
        train_seconds: Wall time of its training.
        statement: What left the hospital, one line each, in plain words.
        network_bytes: Of its submission, those of the network's numbers; 0 where it is not known.
        origin: The name that the data set's own column gives the site; empty where no column
            decided.
    """

    site: str
    architecture: str
    class_counts: tuple[int, ...]
    bytes_sent: int
    train_seconds: float
    statement: tuple[str, ...] = ()
    network_bytes: int = 0
    origin: str = ""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One classifier and what it cost.

    Attributes:
        method: Its name, such as `fedisca` or `pooled`.
        metrics: On the common test set; None where the server has no test images.
        server_seconds: Wall time at the server.
        server_flop: Arithmetic at the server; 0 where there is none, or it is not known (`pooled`).
        bytes_per_site: Bytes that a site moved, the most of any: its largest submission, or all
            transfers of its rounds. `pooled` moves the images themselves: their stored 8-bit
            pixels, shared out equally over the sites.
        peak_bytes: Peak resident memory (peak device memory on GPUs) while it ran.
        changes: How its budget differs from the paper's setting, one line each.
        site_seconds: Wall time, summed over sites, of the training that it alone asked of them;
            0 where the sites' submissions were enough.
        distillation: It beside its teacher; None where it has no one teacher, or was not tested.
        says: Whom its teacher listens to; empty where the answer is no weighted sum over experts.
    """

    method: str
    metrics: Metrics | None
    server_seconds: float
    server_flop: float
    bytes_per_site: int
    peak_bytes: int
    changes: tuple[str, ...] = ()
    site_seconds: float = 0.0
    distillation: Distillation | None = None
    says: tuple[Say, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was not accepted, and why.

    Its name stays with the coordinator: a stranger chose it, and it may name a patient.

    Attributes:
        number: Position among the refused files, from 1, as `envoi server status` lists them.
        reason: In a line.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A gallery image of the run folder, with what it shows."""

    file: str
    caption: str


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Everything a run found out; the content of result.json.

    Attributes:
        name: The study's or data set's name.
        partition: How images were spread over sites: `iid`, `dirichlet-0.3`, `natural`, ...
        network: Architecture of the student.
        seed: Of the run.
        class_names: In label order.
        sites: What each site sent.
        methods: By name; reference rows (`pooled`, `local/<site>`) included.
        refusals: Files that were refused.
        gallery: Synthetic images, from noise to realistic.
        environment: Versions and device.
        wall_seconds: Of the whole run.
    """

    name: str
    partition: str
    network: str
    seed: int
    class_names: tuple[str, ...]
    sites: tuple[SiteResult, ...]
    methods: dict[str, MethodResult]
    refusals: tuple[Refusal, ...] = ()
    gallery: tuple[Picture, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    wall_seconds: float = 0.0


class RunFolder:
    """A run's folder; each file in it is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the resolved settings as run.toml (None has no TOML form and is left out)."""
        write_text(self.path / "run.toml", tomlkit.dumps(_without_none(settings)))

    def settings(self) -> dict[str, Any]:
        """What run.toml tells.

        Raises:
            StorageError: It is missing or damaged.
        """
        remedy = "Name a folder in which a run was started."
        text = read_text(self.path / "run.toml", what="the settings of a run", remedy=remedy)
        try:
            return tomlkit.parse(text).unwrap()
        except ParseError as err:
            found, remedy = "a damaged file", "Restore the file, or repeat the run."
            raise StorageError(Problem("the settings of a run", found, "run.toml", remedy)) from err

    @property
    def is_claimed(self) -> bool:
        """Whether a run was started here."""
        return self._marker.exists()

    @property
    def _marker(self) -> Path:
        return self.path / "settings.json"

    def claim(self, settings: Mapping[str, Any], *, what: str) -> None:
        """Write run.toml, or make sure that the folder belongs to a run with these settings.

        A folder that is claimed already is not changed.

        Args:
            settings: All that decides the run's result.
            what: They in words, for the message.

        Raises:
            SettingsError: The folder holds a run with others.
            StorageError: What the folder tells of its run is damaged.
        """
        text = canonical_json(settings)
        if not self.is_claimed:
            self.write_settings(settings)
            write_text(self._marker, text)
            return
        remedy = "Name another folder, or restore the file."
        before = read_json(self._marker, what="the settings of a run", remedy=remedy)
        if canonical_json(before) != text:
            found = f"others ({'; '.join(differences(before, json.loads(text)))})"
            remedy = "Name another folder, or give the earlier settings again."
            expected = f"{what} that the folder was started with"
            raise SettingsError(Problem(expected, found, self.path.name, remedy))

    def append_step(self, info: StepInfo) -> None:
        """Add one line to steps.jsonl, in place of one that a kill cut off."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "steps.jsonl").open("a+b") as file:
            _drop_cut_off_line(file)
            file.write(json.dumps(asdict(info)).encode() + b"\n")

    def steps(self) -> list[StepInfo]:
        """All logged steps in order, those repeated after a kill once.

        A last line that a kill cut off is ignored.

        Raises:
            StorageError: Another line is damaged.
        """
        file = self.path / "steps.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        try:
            told = [StepInfo(**json.loads(line)) for line in lines if line.endswith("}\n")]
        except (ValueError, TypeError) as err:
            remedy = "Restore the file, or repeat the run in another folder."
            problem = Problem("the steps of a run", "a damaged line", file.name, remedy)
            raise StorageError(problem) from err
        return list({(s.phase, s.step, "train_loss" in s.losses): s for s in told}.values())

    def write_result(self, result: StudyResult) -> None:
        """Write result.json."""
        content = TypeAdapter(StudyResult).dump_json(result, indent=2)
        write_bytes(self.path / "result.json", content + b"\n")

    def result(self) -> StudyResult:
        """Read result.json.

        Raises:
            StorageError: It is missing, or not a result of this version.
        """
        text = read_text(
            self.path / "result.json",
            what="the result of a finished run",
            remedy="Finish the run, or name another folder.",
        )
        try:
            return TypeAdapter(StudyResult).validate_json(text)
        except ValidationError as err:
            found = counted(err.error_count(), "wrong field")
            raise StorageError(
                Problem("a result of this version", found, "result.json", "Repeat the run.")
            ) from err


def _drop_cut_off_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) not in {b"", b"\n"}:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _without_none(value: Any) -> Any:  # noqa: ANN401  (any TOML value)
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    return list(value) if isinstance(value, tuple) else value
