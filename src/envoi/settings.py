"""Settings of the two long jobs, and how they are put together.

`TrainingSettings` is what a site does; `Budget` is the one dial of the server. Both are frozen
dataclasses whose defaults are the paper's (FedISCA, MICCAI 2023, doi
10.1007/978-3-031-43895-0_49). `resolved` lays files and flags over a preset.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from envoi.errors import EnvoiError, Problem, SettingsError
from envoi.wording import did_you_mean, expected_by

Schedule = Literal["steps", "one-cycle"]
Preset = Literal["smoke", "short", "full"]
Precision = Literal["auto", "fp32", "bf16"]
PRESETS: tuple[Preset, ...] = ("smoke", "short", "full")

Settings = TypeVar("Settings")

_POSITIVE = (
    "outer_epochs",
    "synthesis_steps",
    "batch_size",
    "student_rate",
    "temperature",
    "bank_images",
    "bank_steps",
    "bank_rate",
)
# What a submission's manifest has room for.
_ABSURD = 10**9
_MILESTONES = 32

_NEVER_NEGATIVE = (
    "pixel_rate",
    "jitter_px",
    "class_weight",
    "variation_weight",
    "statistics_weight",
    "student_momentum",
    "student_weight_decay",
    "bank_patience",
    "bank_matrix_rate",
)


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a site trains; the defaults are the paper's for 28-pixel sets.

    Attributes:
        epochs: Passes over the site's training part.
        batch_size: Images of one step.
        rate: Learning rate of SGD before its first milestone.
        momentum: Of SGD.
        weight_decay: Of SGD.
        milestones: Fractions of all epochs at which the rate falls tenfold.
        schedule: `steps` (the paper's milestones) or `one-cycle` (warm up, then down to zero).
        validation_fraction: Part of the site's images that only validates.
        patience: Epochs without a better validation loss before training stops; 0 never stops.
        augment: Random changes to each image: shifts by up to two pixels, and what the next say.
        flip: With `augment`, mirror left and right at random. Training leaves it out where class
            names tell left from right.
        crop_area: With `augment`, the least share of an image's area that a random crop keeps,
            resized to the whole (the paper's 224-pixel sets: 0.08), in place of shifts; 1 crops
            nothing.
        brightness: With `augment`, by what share an image may become brighter or darker (0.15).
        contrast: The same of its contrast (0.1).
        rotation_degrees: With `augment`, how far an image may turn either way (fundus, skin: 50).
        shear: With `augment`, how far rows may be pushed aside, in parts of their distance from
            the middle (skin: 0.1).
        class_weights: Weigh each class by the inverse of the site's own count.
        logit_adjustment: Power (tau) of the site's own class mix that the loss takes out of the
            answers: it sees logits + tau log pi (arXiv:2007.07314); 1 is the balanced softmax
            (arXiv:2007.10740). Not beside `class_weights`, which take out the whole mix.

    Raises:
        SettingsError: A value is wrong; all of them at once.
    """

    epochs: int = 100
    batch_size: int = 128
    rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    schedule: Schedule = "steps"
    validation_fraction: float = 0.1
    patience: int = 0
    augment: bool = False
    flip: bool = True
    crop_area: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    rotation_degrees: float = 0.0
    shear: float = 0.0
    class_weights: bool = False
    logit_adjustment: float = 0.0

    def __post_init__(self) -> None:
        problems = _problems_of_training(self)
        if problems:
            raise SettingsError(*problems)

    @property
    def mix_power(self) -> float:
        """Networks so trained answer as if their site's class mix were itself to this power."""
        return 0.0 if self.class_weights else 1.0 - self.logit_adjustment


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much the server computes; the defaults are the paper's for 28-pixel sets.

    Attributes:
        outer_epochs: Batches that are synthesised, each anew from noise.
        synthesis_steps: Steps of Adam on the pixels of one batch; as many distillation steps.
        batch_size: Images of one batch.
        pixel_rate: Adam's rate on the pixels.
        jitter_px: Largest circular shift before each synthesis step, in pixels.
        class_weight: Of the cross-entropy to the wanted classes.
        variation_weight: Of the total variation.
        statistics_weight: Of the batch-norm statistics.
        statistics_mean: Average the statistics term over sites and layers in place of the sum.
        coarse_share: Part of an inversion's steps that work at half the height and width; methods
            that do not invert take no notice.
        student_optimiser: `sgd` (the paper's) or `adam`.
        student_rate: Learning rate of the student before its first milestone.
        student_momentum: Of SGD.
        student_weight_decay: Of the student's optimiser.
        milestones: Fractions of the outer epochs at which the student's rate falls tenfold.
        temperature: Of the distillation (tau).
        student_start: `seed` (the study's initialisation) or `average` (of the sites' weights;
            sites of equal architecture only).
        student_statistics: `batch` (batch norm as in training) or `frozen` (evaluation mode with
            the statistics that the start brought).
        bank_images: Images that methods which learn from a bank make before they distil.
        bank_steps: Steps of the student on the bank.
        bank_batch: Images of one such step.
        bank_rate: Peak of the student's learning rate on the bank.
        bank_matrix_rate: The same of weights that are matrices, which Muon learns
            (`envoi.optimisers`); 0 leaves them to AdamW.
        bank_patience: Checks of a held-out part of the bank (40 in a whole job) without a better
            answer before the job ends; 0 never ends it, and holds nothing out.
        bank_compiled: Compile the student before it learns from the bank (`torch.compile`; on GPUs
            its steps are recorded as CUDA graphs). Takes a C++ compiler or Triton, and time before
            the first step; one process alone.
        precision: Of networks of methods that learn from a bank: `fp32`, `bf16`, or `auto`, which
            is bf16 on GPUs that support it and fp32 elsewhere.
    """

    outer_epochs: int = 100
    synthesis_steps: int = 500
    batch_size: int = 256
    pixel_rate: float = 0.05
    jitter_px: int = 2
    class_weight: float = 1.0
    variation_weight: float = 2.5e-5
    statistics_weight: float = 10.0
    statistics_mean: bool = False
    coarse_share: float = 0.0
    student_optimiser: Literal["sgd", "adam"] = "sgd"
    student_rate: float = 1e-3
    student_momentum: float = 0.9
    student_weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (0.5, 0.75)
    temperature: float = 20.0
    student_start: Literal["seed", "average"] = "seed"
    student_statistics: Literal["batch", "frozen"] = "batch"
    bank_images: int = 30_000
    bank_steps: int = 12_000
    bank_batch: int = 128
    bank_rate: float = 2e-3
    bank_matrix_rate: float = 0.0
    bank_patience: int = 0
    bank_compiled: bool = False
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        _require_positive(self, *_POSITIVE)
        _require(self.bank_batch > 1, self, "bank_batch", "2 or more")
        for name in _NEVER_NEGATIVE:
            _require(getattr(self, name) >= 0, self, name, "0 or more")
        _require(0 <= self.coarse_share <= 1, self, "coarse_share", "0 to 1")
        _require(
            self.student_statistics == "batch" or self.student_start == "average",
            self,
            "student_statistics",
            "'batch' with student_start 'seed' (a fresh network has no statistics to freeze)",
        )

    @classmethod
    def preset(cls, name: Preset, *, size_px: int = 28) -> "Budget":
        """The budget called `name` for images of `size_px` pixels.

        `full` is the paper's setting: at 28 pixels the defaults, at larger sizes 50 images,
        1000 steps and shifts of 30 pixels. `short` and `smoke` are for CPUs.

        Raises:
            SettingsError: There is no such preset.
        """
        if name == "full":
            large = {"batch_size": 50, "synthesis_steps": 1000, "jitter_px": 30}
            large |= {"bank_images": 10_000, "bank_batch": 64}
            return cls(**(large if size_px > 64 else {}))  # type: ignore[arg-type]
        if name not in PRESETS:
            raise SettingsError(
                Problem(
                    f"one of {', '.join(PRESETS)}", repr(name), "budget", "Choose a known preset."
                )
            )
        # Few epochs leave no time to learn from noise: one long path to realistic images, the
        # sites' average as the start, and statistics and smoothness that small batches can meet.
        cpu = cls(
            outer_epochs=2,
            synthesis_steps=200,
            batch_size=32,
            variation_weight=1e-2,
            statistics_weight=5.0,
            statistics_mean=True,
            student_optimiser="adam",
            student_rate=5e-4,
            student_start="average",
            bank_images=8_000 if size_px <= 64 else 2_000,
            bank_steps=1_500 if size_px <= 64 else 500,
            bank_batch=64 if size_px <= 64 else 32,
            bank_rate=4e-3,
        )
        if name == "smoke":
            return cpu
        bank = {"bank_images": 2 * cpu.bank_images, "bank_steps": 3 * cpu.bank_steps}
        return replace(cpu, outer_epochs=6, batch_size=64, **bank)  # type: ignore[arg-type]

    @property
    def coarse_steps(self) -> int:
        """Steps of each inversion at half the height and width, before all others."""
        return round(self.coarse_share * self.synthesis_steps)

    def changes_from(self, other: "Budget") -> tuple[str, ...]:
        """Each setting that differs from `other`, as `name: other -> self`."""
        return tuple(
            f"{field.name}: {getattr(other, field.name)} -> {getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )


def resolved(preset: Settings, *layers: Mapping[str, Any], where: str) -> Settings:
    """`preset` with each layer laid over it (later layers win), checked as a whole.

    Args:
        preset: A settings dataclass.
        layers: Values by field name, such as a file's table and then the flags.
        where: Named in messages, such as the file.

    Raises:
        SettingsError: A key is unknown (the nearest known one is named) or a value is wrong.
    """
    kind = type(preset)
    values = {**asdict(preset), **{k: v for layer in layers for k, v in layer.items()}}  # type: ignore[call-overload]
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as err:
        known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        raise SettingsError(*problems_of(err, where=where, known=known)) from err


def problems_of(err: ValidationError, *, where: str, known: list[str]) -> list[Problem]:
    """A pydantic error as problems; an unknown key is answered with the nearest of `known`."""
    problems: list[Problem] = []
    for item in err.errors():
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, EnvoiError):
            problems += [replace(p, where=f"{where}, {p.where}") for p in cause.problems]
            continue
        key = ".".join(str(part) for part in item["loc"]) or "the whole"
        if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            name = str(item["loc"][-1])
            remedy = did_you_mean(name, known, otherwise="Remove it.", cutoff=0.0)
            problem = Problem("a known key", repr(name), f"{where}, {key}", remedy)
        else:
            found = "nothing" if item["type"] == "missing" else repr(item["input"])[:80]
            problem = Problem(expected_by(item), found, f"{where}, {key}", f"Correct {key}.")
        problems.append(problem)
    return problems


def _problems_of_training(settings: TrainingSettings) -> list[Problem]:
    """Every value that no training can use; what is no number (NaN) is outside any range."""
    fractions, schedules = settings.milestones, get_args(Schedule)
    right = {
        "epochs": (_is_whole(settings.epochs, 1), "a whole number from 1 to below 1e9"),
        "batch_size": (
            _is_whole(settings.batch_size, 2),
            "a whole number from 2 to below 1e9",
        ),
        "rate": (0 < settings.rate < _ABSURD, "a value above 0 and below 1e9"),
        "momentum": (0 <= settings.momentum < 1, "0 up to below 1"),
        "weight_decay": (0 <= settings.weight_decay < _ABSURD, "0 up to below 1e9"),
        "milestones": (
            len(fractions) <= _MILESTONES and all(0 <= value <= 1 for value in fractions),
            f"at most {_MILESTONES} values from 0 to 1",
        ),
        "schedule": (settings.schedule in schedules, f"one of {', '.join(schedules)}"),
        "validation_fraction": (0 <= settings.validation_fraction < 1, "0 up to below 1"),
        "patience": (_is_whole(settings.patience, 0), "a whole number from 0 to below 1e9"),
        "crop_area": (0 < settings.crop_area <= 1, "above 0 up to 1"),
        "brightness": (0 <= settings.brightness < 1, "0 up to below 1"),
        "contrast": (0 <= settings.contrast < 1, "0 up to below 1"),
        "rotation_degrees": (0 <= settings.rotation_degrees <= 180, "0 to 180"),
        "shear": (0 <= settings.shear <= 1, "0 to 1"),
        "logit_adjustment": (
            0 <= settings.logit_adjustment <= (0 if settings.class_weights else 1),
            "0 beside class_weights" if settings.class_weights else "0 to 1",
        ),
    }
    remedies = {
        "batch_size": "Use larger batches: batch norm has nothing to normalise by in one image.",
        "milestones": "Give fractions of all epochs, such as [0.5, 0.75], in place of epochs.",
        "logit_adjustment": "Choose one of the two: each takes the class mix out of the answers."
        if settings.class_weights
        else None,
    }
    return [
        _wrong(settings, name, expected, remedies.get(name))
        for name, (is_right, expected) in right.items()
        if not is_right
    ]


def _is_whole(value: int, least: int) -> bool:
    """Whether it is a whole number from `least` on that is not absurd."""
    return isinstance(value, int) and least <= value < _ABSURD


def _wrong(settings: object, name: str, expected: str, remedy: str | None = None) -> Problem:
    found = repr(getattr(settings, name))[:80]
    return Problem(expected, found, name, remedy or f"Correct {name}.")


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        _require(getattr(settings, name) > 0, settings, name, "a value above 0")


def _require(condition: bool, settings: object, name: str, expected: str) -> None:  # noqa: FBT001
    if not condition:
        raise SettingsError(_wrong(settings, name, expected))
