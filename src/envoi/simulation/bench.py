"""One run of the benchmark: a federation, its references and its methods, on one test set.

Every classifier is the last one of its training; nothing is chosen on test images. Each row is
kept as soon as it is known, so an interrupted run goes on where it was.
"""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

import envoi
from envoi.evaluation import check_test_labels, evaluate
from envoi.files import write_bytes, write_text
from envoi.meter import device_name, metered
from envoi.progress import OnStep, ignore_step, logged
from envoi.results import MethodResult, Metrics, Picture, RunFolder, SiteResult, StudyResult
from envoi.server.build import Distilled, distil, predict
from envoi.server.gallery import write_gallery
from envoi.server.methods import Method
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.averaging import averaging_flop, bytes_moved
from envoi.simulation.federation import Federation, FederationSettings
from envoi.simulation.multi_round import MultiRound, check_one_architecture
from envoi.simulation.rounds import RoundModel
from envoi.types import DataSet

_METHOD: TypeAdapter[MethodResult] = TypeAdapter(MethodResult)
_SITE: TypeAdapter[SiteResult] = TypeAdapter(SiteResult)


def run_bench(
    data: DataSet,
    settings: FederationSettings,
    methods: Mapping[str, Method | MultiRound],
    folder: Path,
    *,
    budget: Budget,
    on_step: OnStep = ignore_step,
    shared: Path | None = None,
) -> StudyResult:
    """Run, or go on with, one federation and all of `methods`; write the run folder.

    The rows `pooled` (all images together) and `local/<site>` are always there.

    Args:
        data: Its test images measure every classifier.
        settings: Of the federation.
        methods: By name; multi-round ones train the sites anew, from their own images.
        folder: Of this run.
        budget: For every method.
        on_step: Told about each step of every training.
        shared: See `Federation`.

    Raises:
        DataError: The test images cannot measure anything, or do not suffice for the partition.
        MethodError: A multi-round method cannot average networks of several architectures.
        SettingsError: The folder holds a run with other settings.
    """
    in_rounds = {name: m for name, m in methods.items() if isinstance(m, MultiRound)}
    check_one_architecture(settings.networks, in_rounds)
    check_test_labels(data.test.labels, classes=len(data.test.class_names))
    run = RunFolder(folder)
    decisive = _decisive(data, settings, budget)
    run.claim(decisive, what="the settings")
    # As methods may join a run later, theirs are written down but claim nothing.
    run.write_settings({**decisive, "rounds": {n: asdict(m) for n, m in in_rounds.items()}})
    federation = Federation(data, settings, folder, shared=shared)
    bench = _Bench(federation, run, budget, logged(run, on_step))
    began = time.monotonic()
    sites = bench.sites()
    rows = {"pooled": bench.pooled(), **bench.local()}
    one_shot = {n: bench.row(n, m) for n, m in methods.items() if not isinstance(m, MultiRound)}
    found = one_shot | bench.rounds(in_rounds)
    rows |= {name: found[name] for name in methods}
    result = StudyResult(
        name=data.name,
        partition=str(settings.partition),
        network=settings.networks[0],
        seed=settings.seed,
        class_names=data.train.class_names,
        sites=tuple(sites),
        methods=rows,
        gallery=bench.gallery(),
        environment=environment(),
        wall_seconds=bench.wall_seconds(time.monotonic() - began),
    )
    run.write_result(result)
    return result


class _Bench:
    """The parts of one run, each remembered in the run folder."""

    def __init__(
        self, federation: Federation, run: RunFolder, budget: Budget, on_step: OnStep
    ) -> None:
        self._federation, self._budget = federation, budget
        self._data, self._settings = federation.data, federation.settings
        self._folder, self._on_step = run.path, on_step
        self._teachers: Teachers | None = None

    def sites(self) -> list[SiteResult]:
        return self._federation.train_sites(self._on_step)

    @property
    def teachers(self) -> Teachers:
        if self._teachers is None:
            self._teachers = self._federation.teachers()
        return self._teachers

    def pooled(self) -> MethodResult:
        def compute() -> MethodResult:
            with metered() as cost:
                trained = self._federation.train_pooled(self._on_step)
            metrics = self._judge(trained.network)
            return MethodResult("pooled", metrics, trained.seconds, 0.0, 0, cost.peak_bytes)

        return self._remembered("pooled", compute)

    def local(self) -> dict[str, MethodResult]:
        """Each site's network as the server received it, after quantisation."""

        def of(site: str, network: nn.Module) -> MethodResult:
            with metered() as cost:
                metrics = self._judge(network)
            return MethodResult(f"local/{site}", metrics, 0.0, 0.0, 0, cost.peak_bytes)

        return {
            f"local/{member.site}": self._remembered(
                f"local-{member.site}",
                lambda m=member: of(m.site, m.network),  # type: ignore[misc]
            )
            for member in self.teachers.members
        }

    def row(self, name: str, method: Method) -> MethodResult:
        def compute() -> MethodResult:
            done = distil(
                name,
                method,
                self.teachers,
                study=self._federation.study,
                budget=self._budget,
                seed=self._settings.seed,
                checkpoint=self._folder / "methods" / f"{name}.checkpoint",
                on_step=self._on_step,
            )
            study = self._federation.study
            done.save_student(self._folder / "methods" / f"{name}.safetensors", study)
            return done.result(study, self._judge(done.network))

        return self._remembered(name, compute)

    def rounds(self, methods: Mapping[str, MultiRound]) -> dict[str, MethodResult]:
        """Multi-round learning; methods of equal settings are milestones of one run."""
        found: dict[str, MethodResult] = {}
        by_rounds = dict(sorted(methods.items(), key=lambda item: item[1].rounds))
        for settings in dict.fromkeys(method.settings for method in methods.values()):
            names = [name for name, method in by_rounds.items() if method.settings == settings]
            missing = [name for name in names if not self._file(name).exists()]
            milestones = [methods[name].rounds for name in missing]
            models = self._federation.rounds(milestones, settings, self._on_step)
            for name in names:
                found[name] = self._remembered(name, partial(self._reached, name, models))
        return {name: found[name] for name in methods}

    def _reached(self, name: str, models: Iterator[RoundModel]) -> MethodResult:
        """The row of the next milestone; its peak memory is of the rounds since the last."""
        with metered() as cost:
            model = next(models)
        network, study = model.network, self._federation.study
        done = Distilled(
            method=name,
            network=network,
            budget=self._budget,
            seconds=model.server_seconds,
            flop=model.rounds * averaging_flop(network, sites=len(self._federation.images)),
            peak_bytes=cost.peak_bytes,
            iterative=False,
        )
        done.save_student(self._folder / "methods" / f"{name}.safetensors", study)
        return replace(
            done.result(study, self._judge(network)),
            bytes_per_site=bytes_moved(network, rounds=model.rounds),
            site_seconds=model.site_seconds,
        )

    def gallery(self) -> tuple[Picture, ...]:
        return write_gallery(
            self._folder / "gallery", self.teachers, self._budget, seed=self._settings.seed
        )

    def wall_seconds(self, now: float) -> float:
        """Wall time of this and all earlier attempts at the run, kept in a small file."""
        file = self._folder / "wall_seconds"
        total = now + (float(file.read_text()) if file.exists() else 0.0)
        write_text(file, f"{total:.1f}\n")
        return total

    def _judge(self, network: nn.Module) -> Metrics:
        test = self._data.test
        probabilities = predict(network, test.images, self._federation.study.image)
        return evaluate(probabilities, test.labels, patients=test.patients)

    def _file(self, name: str) -> Path:
        return self._folder / "methods" / f"{name}.json"

    def _remembered(self, name: str, compute: Callable[[], MethodResult]) -> MethodResult:
        file = self._file(name)
        if file.exists():
            return _METHOD.validate_json(file.read_bytes())
        result = compute()
        write_bytes(file, _METHOD.dump_json(result, indent=2))
        return result


def environment() -> dict[str, str]:
    """Versions and device: what a reader needs to judge figures. No host or user name."""
    return {
        "envoi": envoi.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(),
    }


def _decisive(data: DataSet, settings: FederationSettings, budget: Budget) -> dict[str, Any]:
    """All that decides a run's result, as plain values."""
    federation = {
        **asdict(settings),
        "partition": str(settings.partition),
        "statistics": settings.statistics.model_dump(),
    }
    return {"data": data.name, "federation": federation, "budget": asdict(budget)}
