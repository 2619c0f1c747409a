"""One run of the benchmark: a federation, its references and its methods, on one test set.

Every classifier is the last one of its training; nothing is chosen on test images. Each row is
kept as soon as it is known, so an interrupted run goes on where it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from envoi.errors import MethodError, Problem, SettingsError
from envoi.meter import environment, metered
from envoi.networks.classifier import chosen_device
from envoi.progress import OnStep, ignore_step, logged
from envoi.results import MethodResult, RunFolder, SiteResult, StudyResult
from envoi.server.build import Distilled
from envoi.server.comparison import Comparison, Judge
from envoi.server.methods import Method
from envoi.server.rows import Rows
from envoi.settings import Budget
from envoi.simulation.averaging import averaging_flop, bytes_moved
from envoi.simulation.federation import Federation, FederationSettings, backbone_digest
from envoi.simulation.judge import ImageJudge
from envoi.simulation.multi_round import MultiRound, check_one_architecture
from envoi.simulation.rounds import RoundModel
from envoi.types import DataSet, ImageSpec


def run_bench(  # noqa: PLR0913  (a run's inputs, each of another kind)
    data: DataSet,
    settings: FederationSettings,
    methods: Mapping[str, Method | MultiRound],
    folder: Path,
    *,
    budget: Budget,
    on_step: OnStep = ignore_step,
    shared: Path | None = None,
    device: torch.device | None = None,
) -> StudyResult:
    """Run, or go on with, one federation and all of `methods`; write the run folder.

    The rows `pooled` (all images together) and `local/<site>` are always there, and so are
    those of methods that were run in the folder before.

    Args:
        data: Its test images measure every classifier.
        settings: Of the federation.
        methods: By name; multi-round ones train the sites anew, from their own images.
        folder: Of this run.
        budget: For every method.
        on_step: Told about each step of every training.
        shared: See `Federation`.
        device: Where sites and server compute; None is the first GPU, or else the CPU.

    Raises:
        DataError: The test images cannot measure anything, or do not suffice for the partition.
        MethodError: A multi-round method cannot average networks of several architectures; or
            methods failed, such as one that diverged: the result, written by then, lacks them.
        SettingsError: The folder holds a run with other settings.
    """
    in_rounds = {name: m for name, m in methods.items() if isinstance(m, MultiRound)}
    check_one_architecture(settings.networks, in_rounds)
    spec, device = ImageSpec.of(*data.test.images.shape[1:3]), chosen_device(device)
    judge, run = ImageJudge(data.test, spec, device), claimed(folder, data, settings, budget)
    # As methods may join a run later, theirs are written down but claim nothing.
    told = run.settings()
    rounds = {**told.get("rounds", {}), **{n: asdict(m) for n, m in in_rounds.items()}}
    run.write_settings({**told, "rounds": rounds})
    federation = Federation(data, settings, folder, shared=shared, device=device)
    rows = Rows(folder)
    bench = _Bench(federation, rows, judge, budget, logged(run, on_step))
    with rows.timed() as seconds:
        sites = bench.sites
        references = [bench.pooled(), *bench.comparison.local()]
        for name, method in methods.items():
            if not isinstance(method, MultiRound):
                bench.try_method(name, method)
        bench.try_rounds(in_rounds)
        done = [method for name, method in methods.items() if name in rows]
        result = StudyResult(
            name=data.name,
            partition=str(settings.partition),
            network=settings.networks[0],
            seed=settings.seed,
            class_names=data.train.class_names,
            sites=tuple(sites),
            methods=rows.in_order([*(row.method for row in references), *methods]),
            gallery=bench.comparison.gallery(folder / "gallery", done, on_step=on_step),
            environment=environment(device),
            wall_seconds=seconds(),
        )
    run.write_result(result)
    if bench.problems:
        raise MethodError(*bench.problems)
    return result


def claimed(folder: Path, data: DataSet, settings: FederationSettings, budget: Budget) -> RunFolder:
    """The folder, which belongs to a run on this data with these settings from now on.

    Raises:
        SettingsError: It belongs to another run.
    """
    run = RunFolder(folder)
    run.claim(_decisive(data, settings, budget), what="the data and settings")
    return run


class _Bench:
    """The parts of one run, each remembered in the run folder.

    Attributes:
        problems: Of methods that failed; the others have their turn all the same.
    """

    def __init__(
        self, federation: Federation, rows: Rows, judge: Judge, budget: Budget, on_step: OnStep
    ) -> None:
        self._federation, self._rows, self._judge = federation, rows, judge
        self._budget, self._on_step = budget, on_step
        self.problems: list[Problem] = []

    @cached_property
    def sites(self) -> list[SiteResult]:
        """What each site did and sent."""
        return self._federation.train_sites(self._on_step)

    @cached_property
    def comparison(self) -> Comparison:
        """Of the methods that need no more than what sites sent."""
        return Comparison(
            teachers=self._federation.teachers().on(self._federation.device),
            study=self._federation.study,
            rows=self._rows,
            budget=self._budget,
            seed=self._federation.settings.seed,
            judge=self._judge,
            bytes_per_site=max(site.bytes_sent for site in self.sites),
        )

    def pooled(self) -> MethodResult:
        def compute() -> MethodResult:
            with metered(self._federation.device) as cost:
                trained = self._federation.train_pooled(self._on_step)
            metrics = self._judge(trained.network)
            moved = self._federation.image_bytes_per_site
            return MethodResult("pooled", metrics, trained.seconds, 0.0, moved, cost.peak_bytes)

        return self._rows.remembered("pooled", compute)

    def try_method(self, name: str, method: Method) -> None:
        """Make the row of a method."""
        student = self._rows.file(name, ".safetensors")
        try:
            self.comparison.distilled(name, method, student=student, on_step=self._on_step)
        except MethodError as err:
            self.problems += err.problems

    def try_rounds(self, methods: Mapping[str, MultiRound]) -> None:
        """Make the rows of multi-round learning; those of equal settings are stops of one run."""
        by_rounds = dict(sorted(methods.items(), key=lambda item: item[1].rounds))
        for settings in dict.fromkeys(method.settings for method in methods.values()):
            names = [name for name, method in by_rounds.items() if method.settings == settings]
            missing = [name for name in names if name not in self._rows]
            milestones = [methods[name].rounds for name in missing]
            models = self._federation.rounds(milestones, settings, self._on_step)
            try:
                for name in names:
                    self._rows.remembered(name, partial(self._reached, name, models))
            except SettingsError as err:  # a site's training diverged
                self.problems += err.problems

    def _reached(self, name: str, models: Iterator[RoundModel]) -> MethodResult:
        """The row of the next milestone; its peak memory is of the rounds since the last."""
        with metered(self._federation.device) as cost:
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
        done.save_student(self._rows.file(name, ".safetensors"), study)
        moved = bytes_moved(network, rounds=model.rounds)
        row = done.result(study, self._judge(network), bytes_per_site=moved)
        return replace(row, site_seconds=model.site_seconds)


def _decisive(data: DataSet, settings: FederationSettings, budget: Budget) -> dict[str, Any]:
    """All that decides a run's result, as plain values."""
    federation = {
        **asdict(settings),
        "partition": str(settings.partition),
        "statistics": settings.statistics.model_dump(),
        "backbone": "",
    }
    if settings.backbone is not None:  # not its path, which is this machine's
        federation["backbone"] = backbone_digest(settings.backbone)
    images = {"name": data.name, "train": data.train.digest, "test": data.test.digest}
    return {"data": images, "federation": federation, "budget": asdict(budget)}
