"""`Study` and its parts: checked when built, frozen afterwards."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PrivateAttr,
    StrictInt,
    StrictStr,
    TypeAdapter,
    field_validator,
)

from envoi.errors import Problem, StudyError
from envoi.files import canonical_json, digest, file_digest
from envoi.networks import build
from envoi.settings import TrainingSettings
from envoi.study import checks
from envoi.study.server_keys import ServerKeys
from envoi.types import ImageSpec

if TYPE_CHECKING:
    from envoi.networks.classifier import Classifier

Statistic = Literal["class_counts", "feature_moments", "temperature"]
WeightFormat = Literal["fp32", "fp16", "int8"]
_LATER_PARTS = ("audit", "server")
_LATER_TRAINING = ("crop_area", "brightness", "contrast", "rotation_degrees", "shear")


class StatisticsPolicy(BaseModel):
    """Which statistics may leave a hospital, and how far they are coarsened.

    Attributes:
        release: `class_counts` (images of each class), `feature_moments` (mean of each class
            and one shrunk covariance of a fixed description of the images, the same at every
            site), `temperature` (which calibrates the model).
        minimum_class_size: A class with fewer images is told as 0 and has no mean.
        count_rounding: Counts are rounded to multiples of this.
        minimum_covariance_images: A site with fewer images tells how far each part of the
            description varies, and not how parts vary together.
        moment_rank: How parts vary together is told by so many common factors, the rest of each
            part taken for its own; 0 tells all pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: tuple[Statistic, ...] = ("class_counts",)
    minimum_class_size: Annotated[StrictInt, Field(ge=1, le=10**6)] = 10
    count_rounding: Annotated[StrictInt, Field(ge=1, le=10**6)] = 1
    minimum_covariance_images: Annotated[StrictInt, Field(ge=2, le=10**6)] = 1000
    # Above half the description's length, factors take as many numbers as all pairs.
    moment_rank: Annotated[StrictInt, Field(ge=0, le=128)] = 0

    @field_validator("release")
    @classmethod
    def _check_release(cls, release: tuple[Statistic, ...]) -> tuple[Statistic, ...]:
        problems = checks.problems_of_repetition(release, "release")
        if "feature_moments" in release and "class_counts" not in release:
            problems.append(
                Problem(
                    "class_counts wherever feature_moments are released",
                    "feature_moments alone",
                    "release",
                    "Add class_counts: means of unknown weight cannot be pooled.",
                )
            )
        _raise(problems)
        return tuple(sorted(release))

    def released_count(self, count: int) -> int:
        """What is told of a class with `count` images: 0 stands for fewer than the minimum."""
        if count < self.minimum_class_size:
            return 0
        step = self.count_rounding
        nearest = (2 * count + step) // (2 * step) * step
        return max(nearest, -(-self.minimum_class_size // step) * step)


class AuditPolicy(BaseModel):
    """What a site's audit must come to before its file may leave.

    Attributes:
        maximum_membership: The largest area under the ROC curve of the audit's attacks, from 0.5
            (guessing) to 1; a file above it is not written, and not taken. 1 asks for the audit
            and refuses nothing but its absence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maximum_membership: Annotated[FiniteFloat, Field(ge=0.5, le=1)] = 1.0


class Initialisation(BaseModel):
    """The backbone checkpoint that every site starts from.

    Attributes:
        file: Name of a safetensors or .pth file with torchvision's names, beside study.toml.
        sha256: Its digest, 64 hexadecimal digits; another file is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: StrictStr
    sha256: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{64}\z")]

    @field_validator("file")
    @classmethod
    def _check_file(cls, file: str) -> str:
        _raise(checks.problems_of_file_name(file))
        return file


class Study(BaseModel):
    """What all parties agree on. `load_study` reads one from a file.

    Built directly, a wrong value raises pydantic's `ValidationError` (a `ValueError`).

    Attributes:
        name: For people.
        classes: Class names; their order is the meaning of labels and logits.
        image: What one image looks like.
        architectures: Networks that sites may choose from; the first is the default and the
            student's.
        seed: Of the shared initialisation.
        minimum_sites: Submissions that the server waits for.
        deadline: When the server stops waiting, in UTC; None is never.
        initialisation: The backbone that every site starts from; None is the seed alone.
        weight_format: How weights travel.
        statistics: What may leave beside the network.
        training: How sites are asked to train.
        audit: What sites have to find out about their files before these leave; None asks nothing.
        server: Public keys of the server; None if it writes no receipts and files travel open.
        sites: Public key of each site by its id, `ed25519:<base64>`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: StrictStr
    classes: tuple[StrictStr, ...]
    image: ImageSpec
    architectures: tuple[StrictStr, ...]
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    minimum_sites: Annotated[StrictInt, Field(ge=1, le=10_000)] = 2
    deadline: AwareDatetime | None = None
    initialisation: Initialisation | None = None
    weight_format: WeightFormat = "fp32"
    statistics: StatisticsPolicy = StatisticsPolicy()
    training: TrainingSettings = TrainingSettings()
    audit: AuditPolicy | None = None
    server: ServerKeys | None = None
    sites: dict[StrictStr, StrictStr] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default=Path())

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        _raise(checks.problems_of_name(name, "name"))
        return name

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        _raise(checks.problems_of_classes(classes))
        return classes

    @field_validator("image")
    @classmethod
    def _check_image(cls, image: ImageSpec) -> ImageSpec:
        # Rebuilt, so that a caller's 0 and a file's 0.0 have the same digest.
        spec: ImageSpec = TypeAdapter(ImageSpec).validate_python(asdict(image))
        _raise(checks.problems_of_image(spec))
        return spec

    @field_validator("architectures")
    @classmethod
    def _check_architectures(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        _raise(checks.problems_of_architectures(names))
        return names

    @field_validator("deadline")
    @classmethod
    def _check_deadline(cls, deadline: datetime | None) -> datetime | None:
        if deadline is None:
            return None
        if not 2000 <= deadline.year <= 9000:
            found = f"{deadline.year}"
            raise StudyError(Problem("a year from 2000", found, "deadline", "Correct deadline."))
        return deadline.astimezone(UTC)

    @field_validator("initialisation")
    @classmethod
    def _check_initialisation(
        cls,
        initialisation: Initialisation | None,
        info: Any,  # noqa: ANN401  (pydantic's protocol cannot be checked at run time)
    ) -> Initialisation | None:
        names = info.data.get("architectures", ())
        if initialisation is not None and len(names) > 1:
            raise StudyError(
                Problem(
                    "one architecture beside an initialisation file, which fits only one",
                    f"{len(names)}",
                    "architectures",
                    "Keep one architecture, or start from the seed.",
                )
            )
        return initialisation

    @field_validator("training")
    @classmethod
    def _check_training(cls, training: TrainingSettings) -> TrainingSettings:
        adapter: TypeAdapter[TrainingSettings] = TypeAdapter(TrainingSettings)
        return adapter.validate_python(asdict(training))

    @field_validator("sites")
    @classmethod
    def _check_sites(
        cls,
        sites: dict[str, str],
        info: Any,  # noqa: ANN401  (as above)
    ) -> dict[str, str]:
        problems = checks.problems_of_roster(sites)
        wanted = info.data.get("minimum_sites", 0)
        if sites and wanted > len(sites):
            problems.append(
                Problem(
                    f"at most {len(sites)}, the number of sites in the roster",
                    f"{wanted}",
                    "minimum_sites",
                    "Lower minimum_sites, or add the keys of the other sites.",
                )
            )
        server = info.data.get("server")
        owner = next((id_ for id_, key in sites.items() if server and key == server.receipts), None)
        if owner is not None:
            found, where = "the server's key for receipts", f"sites.{owner}"
            remedy = "Let the server have a key of its own: `envoi server keygen`."
            problems.append(Problem("a key of its own", found, where, remedy))
        _raise(problems)
        return sites

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the whole study, 64 hexadecimal digits.

        A study that uses no key that came later is the study that it was before there was one.
        """
        content = self.model_dump(mode="json")
        for name in _LATER_PARTS:
            if content[name] is None:
                del content[name]
        plain = asdict(TrainingSettings())
        for name in _LATER_TRAINING:
            if content["training"][name] == plain[name]:
                del content["training"][name]
        return digest(canonical_json(content).encode())

    @property
    def server_keys(self) -> dict[str, str]:
        """The server's public keys by what they are for: receipts, encryption."""
        return {} if self.server is None else self.server.model_dump(exclude_none=True)

    @property
    def label_map_digest(self) -> str:
        """SHA-256 over the canonical JSON of the class names in order."""
        return digest(canonical_json(list(self.classes)).encode())

    def placed(self, folder: Path) -> "Study":
        """The same study, with its initialisation file looked for in `folder`."""
        study = self.model_copy()
        study._folder = folder  # noqa: SLF001  (not a part of what was agreed on)
        return study

    def network(self, architecture: str | None = None) -> "Classifier":
        """A fresh network, the same at every site, in training mode.

        Args:
            architecture: One of the study's; None is the first.

        Raises:
            StudyError: The study does not allow the architecture, or the initialisation file
                (looked for beside study.toml, else in the working folder) is missing or not
                the one agreed on.
        """
        name = self.architectures[0] if architecture is None else architecture
        if name not in self.architectures:
            raise StudyError(
                Problem(
                    f"one of {', '.join(self.architectures)}",
                    ascii(name)[:80],
                    "architecture",
                    "Choose an architecture that the study allows.",
                )
            )
        channels, classes = self.image.channels, len(self.classes)
        network = build(name, channels=channels, classes=classes, seed=self.seed)
        if self.initialisation is None:
            return network
        from envoi.networks.backbone import load_backbone  # noqa: PLC0415  (loads torch)

        return load_backbone(network, _agreed_file(self._folder, self.initialisation))


def study_warnings(study: Study, *, now: datetime | None = None) -> list[str]:
    """What is legal in `study` and yet doubtful, one sentence each.

    Args:
        study: The study.
        now: The time to judge the deadline by; None is the clock.
    """
    policy, deadline, training = study.statistics, study.deadline, study.training
    sides = checks.mirrored_classes(study.classes)
    doubts = {
        "No site is in the roster yet: every submission will be refused.": not study.sites,
        "The deadline has passed: the server goes on with the submissions that it has.": (
            deadline is not None and deadline < (now or datetime.now(UTC))
        ),
        "minimum_sites is 1: the student may be a copy of one hospital's network.": (
            study.minimum_sites == 1
        ),
        f"minimum_class_size is {policy.minimum_class_size}: counts of fewer than 5 images may "
        "point at single patients.": policy.minimum_class_size < 5,
        "Feature moments are released: whoever has a site's file can draw the coarse average "
        "image of each class, of as few as minimum_class_size images, and can test whether an "
        "image was among a site's, the surer the fewer minimum_covariance_images allows. The "
        "method envoi reads them; leave them out if no such method is planned.": (
            "feature_moments" in policy.release
        ),
        f"Classes {' and '.join(sides or ())} tell left from right: no image will be flipped.": (
            sides is not None and training.augment and training.flip
        ),
    }
    return [sentence for sentence, doubtful in doubts.items() if doubtful]


def _agreed_file(folder: Path, initialisation: Initialisation) -> Path:
    path = folder / initialisation.file
    try:
        found = file_digest(path)
    except OSError as err:
        raise StudyError(
            Problem(
                "the study's initialisation file",
                err.strerror or "an unreadable file",
                initialisation.file,
                "Put the file beside study.toml.",
            )
        ) from err
    if found != initialisation.sha256:
        raise StudyError(
            Problem(
                f"a file with the SHA-256 {initialisation.sha256}",
                found,
                initialisation.file,
                "Ask the coordinator for the file that the study agreed on.",
            )
        )
    return path


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise StudyError(*problems)
