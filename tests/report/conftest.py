"""A finished run, as real ones look: five sites, eight classes, nine methods, a gallery."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from envoi.evaluation import evaluate
from envoi.report import write_report
from envoi.results import (
    CLOSED_FORM,
    CalibrationBin,
    Interval,
    MethodResult,
    Metrics,
    Picture,
    Refusal,
    RunFolder,
    Say,
    SiteResult,
    StepInfo,
    StudyResult,
)

CELLS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
SKILLS = {
    "pooled": 2.9,
    "local/aarhus": 1.1,
    "local/bern": 1.5,
    "local/coimbra": 0.9,
    "local/dresden": 1.8,
    "local/espoo": 0.7,
    "fedavg": 1.2,
    "ensemble_mean_logits": 1.6,
    "ensemble_mean_probabilities": 1.7,
    "ensemble_size": 1.7,
    "ensemble_class_count": 2.4,
    "fedisca": 2.1,
}
HOSPITALS = ("aarhus university hospital", "bern")
CHANGES = (
    "outer_epochs: 100 -> 12",
    "synthesis_steps: 500 -> 60",
    "batch_size: 256 -> 64",
    "student_optimiser: sgd -> adam",
)
STATEMENT = (
    "The weights of one resnet10-small network: 78,432 numbers in 16 bits.",
    "The number of images of each class, rounded to 10, classes below 10 left out.",
    "No image, no patient identifier, no date and no name.",
)


def metrics_of(
    skill: float,
    *,
    classes: int = 8,
    images: int = 600,
    seed: int = 0,
    hospitals: Sequence[str] = (),
) -> Metrics:
    """Metrics of a classifier that is the better the higher `skill` is."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(classes, images, p=shares(classes))
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), labels] += skill
    exponentials = np.exp(1.4 * logits)
    sites = np.resize(np.array(hospitals), images) if hospitals else None
    answers = exponentials / exponentials.sum(axis=1, keepdims=True)
    return evaluate(answers, labels, resamples=60, sites=sites)


def shares(classes: int) -> np.ndarray:
    weights = np.linspace(1, 3, classes)
    return weights / weights.sum()


def method_of(name: str, metrics: Metrics | None) -> MethodResult:
    trained = name == "pooled" or name.startswith("local/")
    seconds = {"fedisca": 94.2, "pooled": 61.0, "fedavg": 0.08}.get(name, 1.4)
    return MethodResult(
        method=name,
        metrics=metrics,
        server_seconds=0.0 if name.startswith("local/") else seconds,
        server_flop=2.1e12,
        bytes_per_site=0 if trained else 163_424,
        peak_bytes=412_000_000,
        changes=CHANGES if name == "fedisca" else (),
    )


def site_of(name: str, counts: tuple[int, ...], *, sent: int = 163_424) -> SiteResult:
    return SiteResult(name, "resnet10-small", counts, sent, 38.4, STATEMENT)


def course(phase: str, epochs: int, steps: int, *, level: float) -> list[StepInfo]:
    """What a training tells: a loss each step, and at an epoch's end what it came to."""
    told = []
    for epoch in range(1, epochs + 1):
        loss = level * (0.25 + math.exp(-epoch / (0.3 * epochs)))
        for step in range(1, steps + 1):
            number = (epoch - 1) * steps + step
            told.append(StepInfo(phase, number, epochs * steps, {"loss": loss}, epoch))
        ends = {
            "train_loss": loss,
            "validation_loss": 1.2 * loss,
            "validation_accuracy": 1 - loss / (2 + level),
        }
        told.append(StepInfo(phase, epoch * steps, epochs * steps, ends, epoch))
    return told


def distillation(epochs: int = 6, steps: int = 40) -> list[StepInfo]:
    told = []
    for epoch in range(1, epochs + 1):
        for step in range(1, steps + 1):
            noise = math.exp(-step / 12)
            losses = {
                "class_loss": 0.15 + 2.2 * noise,
                "variation": 40 + 260 * noise,
                "statistics": 0.4 + 30 * noise,
                "distillation": 6 / epoch + noise,
            }
            number = (epoch - 1) * steps + step
            told.append(StepInfo("fedisca", number, epochs * steps, losses, epoch))
    return told


@pytest.fixture(scope="session")
def result() -> StudyResult:
    """The whole result of the run."""
    generator = np.random.default_rng(3)
    names = [name.removeprefix("local/") for name in SKILLS if name.startswith("local/")]
    counts = [
        tuple((10 * np.round(40 * generator.dirichlet(np.full(8, 0.5)))).astype(int).tolist())
        for _ in names
    ]
    methods = {
        name: method_of(name, metrics_of(skill, hospitals=HOSPITALS))
        for name, skill in SKILLS.items()
    }
    experts = [*names, CLOSED_FORM]
    heard = np.round(generator.dirichlet(np.full(len(experts), 2.0), size=8).T, 5).tolist()
    says = tuple(Say(expert, tuple(own)) for expert, own in zip(experts, heard, strict=True))
    methods["fedisca"] = replace(methods["fedisca"], says=says)
    return StudyResult(
        name="Blood smears of five hospitals",
        partition="dirichlet-0.3",
        network="resnet10-small",
        seed=20,
        class_names=CELLS,
        sites=tuple(site_of(*pair) for pair in zip(names, counts, strict=True)),
        methods=methods,
        refusals=(
            Refusal(1, "sequence number: expected above 2, found 2."),
            Refusal(2, "signature: expected a key of the roster, found none."),
        ),
        gallery=tuple(
            Picture(f"gallery/{index}.png", f"step {step} of 60")
            for index, step in enumerate((0, 6, 15, 30, 60))
        ),
        environment={"envoi": "0.1.0", "torch": "2.13.0", "device": "cpu (2 cores)"},
        wall_seconds=211.0,
    )


@pytest.fixture(scope="session")
def steps() -> list[StepInfo]:
    """What the run told while it ran."""
    told = [
        course(f"{site}/train", 12, 6, level=1.4 + 0.2 * index)
        for index, site in enumerate(("aarhus", "bern", "coimbra", "dresden", "espoo"))
    ]
    return [*chain.from_iterable(told), *course("pooled/train", 12, 30, level=1.2), *distillation()]


def draw_gallery(folder: Path, pictures: tuple[Picture, ...], *, rows: int = 1) -> None:
    """Rows of round cells that come out of noise, at each picture's moment."""
    generator = np.random.default_rng(0)
    grid = np.linspace(-1, 1, 28)
    disc = np.hypot(*np.meshgrid(grid, grid)) < 0.6
    cell = np.where(disc[..., None], (150, 90, 170), (236, 214, 222))
    for index, picture in enumerate(pictures):
        clear = index / max(len(pictures) - 1, 1)
        noise = generator.integers(0, 256, (rows * 28, 16 * 28, 3))
        pixels = clear * np.tile(cell, (rows, 16, 1)) + (1 - clear) * noise
        file = folder / picture.file
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(file)


def folder_of(path: Path, result: StudyResult, steps: Sequence[StepInfo] = ()) -> RunFolder:
    folder = RunFolder(path)
    folder.write_result(result)
    lines = [json.dumps(asdict(step)) + "\n" for step in steps]
    (path / "steps.jsonl").write_text("".join(lines), encoding="utf-8")
    draw_gallery(path, result.gallery)
    return folder


@pytest.fixture
def make_folder(tmp_path) -> Callable[..., RunFolder]:
    """Write a run's folder out of a result and steps."""
    return partial(folder_of, tmp_path)


@pytest.fixture(scope="session")
def method() -> Callable[..., MethodResult]:
    """Make a method with hand-made values, the same for balanced accuracy unless given."""

    def make(name: str, value: float, *, balanced: float | None = None, half: float = 0.02):
        def interval(middle: float) -> Interval:
            return Interval(middle, middle - half, middle + half)

        right = round(100 * value)
        metrics = Metrics(
            accuracy=interval(value),
            balanced_accuracy=interval(value if balanced is None else balanced),
            auroc=interval(0.8),
            ece=interval(0.1),
            confusion=(
                (right // 2, 50 - right // 2),
                (50 - right + right // 2, right - right // 2),
            ),
            calibration=(CalibrationBin(0.7, value, 100),),
        )
        return replace(method_of(name, metrics), changes=())

    return make


@pytest.fixture(scope="session")
def study(result) -> Callable[..., StudyResult]:
    """A two-class study of these methods."""

    def make(*methods: MethodResult) -> StudyResult:
        return replace(
            result,
            class_names=("normal", "pneumonia"),
            sites=(site_of("a", (100, 300)), site_of("b", (400, 10))),
            methods={method.method: method for method in methods},
        )

    return make


@pytest.fixture(scope="session")
def report(tmp_path_factory, result, steps) -> Path:
    """The report of the whole run."""
    return write_report(folder_of(tmp_path_factory.mktemp("run"), result, steps))


@pytest.fixture(scope="session")
def page(report) -> str:
    """The text of that report."""
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def large(result: StudyResult) -> StudyResult:
    """Fifty sites with long names, twenty classes."""
    classes = tuple(f"class {index} with a rather long descriptive name" for index in range(20))
    generator = np.random.default_rng(5)
    names = [f"university-hospital-of-a-long-named-city-{index:02d}" for index in range(50)]
    sites = tuple(site_of(name, tuple(generator.integers(0, 90, 20).tolist())) for name in names)
    skills = {"pooled": 3.0, "fedavg": 1.0, "fedisca": 2.0}
    tested = {name: metrics_of(skill, classes=20) for name, skill in skills.items()}
    tested |= dict.fromkeys([f"local/{name}" for name in names], metrics_of(0.5, classes=20))
    methods = {name: method_of(name, metrics) for name, metrics in tested.items()}
    return replace(result, class_names=classes, sites=sites, methods=methods)


@pytest.fixture(scope="session")
def large_report(tmp_path_factory, large) -> Path:
    """The report of that large study."""
    return write_report(folder_of(tmp_path_factory.mktemp("large"), large))
