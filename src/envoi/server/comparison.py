"""Several methods on the same teachers: rows, students and pictures, each made once.

What a run of the server and a run of the benchmark have in common.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from envoi.meter import metered
from envoi.progress import OnStep, ignore_step
from envoi.results import Distillation, MethodResult, Metrics, Picture
from envoi.server.bank import Staged
from envoi.server.build import Distilled, distil
from envoi.server.gallery import existing_gallery, write_gallery, write_stages
from envoi.server.methods import Method
from envoi.server.methods.from_bank import FromBank
from envoi.server.methods.method import synthesises, teacher_of
from envoi.server.rows import Rows
from envoi.server.say import says_of
from envoi.server.teacher import Teacher, Teachers
from envoi.settings import Budget
from envoi.study import Study


@runtime_checkable
class Judge(Protocol):
    """Measures classifiers, all of them on the same images."""

    @property
    def digest(self) -> str:
        """Identifies the images."""
        ...

    def __call__(self, network: nn.Module) -> Metrics:
        """How well `network` does."""
        ...

    def compare(self, student: nn.Module, teacher: nn.Module) -> Distillation:
        """What `student` has kept of `teacher`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What all methods of a run share.

    Attributes:
        teachers: The sites' networks; where they live, everything is computed.
        study: Theirs.
        rows: Of the run.
        budget: Of every method.
        seed: Of the server's random streams.
        judge: Measures every classifier; without one nothing is measured.
        bytes_per_site: Of the largest submission.
    """

    teachers: Teachers
    study: Study
    rows: Rows
    budget: Budget
    seed: int
    judge: Judge | None
    bytes_per_site: int

    def distilled(
        self, name: str, method: Method, *, student: Path, on_step: OnStep = ignore_step
    ) -> MethodResult:
        """The row of a method, whose student is written to a file."""

        def compute() -> MethodResult:
            done = self._distil(name, method, on_step)
            done.save_student(student, self.study)
            metrics = None if self.judge is None else self.judge(done.network)
            row = done.result(self.study, metrics, bytes_per_site=self.bytes_per_site)
            return self._beside_teacher(row, method, done.network)

        return self.rows.remembered(name, compute)

    def _beside_teacher(
        self, row: MethodResult, method: Method, student: nn.Module
    ) -> MethodResult:
        """The row with what its teacher does and whom that listens to."""
        teacher = teacher_of(method, self.teachers)
        if teacher is None:
            return row
        compared = None if self.judge is None else self.judge.compare(student, teacher)
        sites = [member.site for member in self.teachers.members]
        return replace(row, distillation=compared, says=says_of(teacher, sites))

    def assist(self, name: str, method: Method) -> None:
        """Share the work of a method that has no row yet, as a process that is not the first."""
        if name not in self.rows:
            self._distil(name, method)

    def _distil(self, name: str, method: Method, on_step: OnStep = ignore_step) -> Distilled:
        return distil(
            name,
            method,
            self.teachers,
            study=self.study,
            budget=self.budget,
            seed=self.seed,
            checkpoint=self.rows.file(name, ".checkpoint"),
            device=self.teachers.device,
            on_step=on_step,
        )

    def local(self) -> list[MethodResult]:
        """The row of each site's network as the server received it; none without a judge."""
        judge = self.judge
        if judge is None:
            return []

        def row(member: Teacher) -> MethodResult:
            with metered(self.teachers.device) as cost:
                metrics = judge(member.network)
            return MethodResult(f"local/{member.site}", metrics, 0.0, 0.0, 0, cost.peak_bytes)

        return [
            self.rows.remembered(f"local/{member.site}", lambda m=member: row(m))  # type: ignore[misc]
            for member in self.teachers.members
        ]

    def gallery(
        self, folder: Path, methods: Iterable[object], *, on_step: OnStep = ignore_step
    ) -> tuple[Picture, ...]:
        """Pictures of the synthesis, if one of `methods` synthesises or one before them did."""
        asked = list(methods)
        drawn = [
            picture
            for method in asked
            if isinstance(method, FromBank)
            for picture in self._stages(folder, method)
        ]
        if not any(map(synthesises, asked)):
            return (*drawn, *existing_gallery(folder, self.budget))
        inverted = write_gallery(
            folder, self.teachers.in_memory(), self.budget, seed=self.seed, on_step=on_step
        )
        return (*drawn, *inverted)

    def _stages(self, folder: Path, method: FromBank) -> tuple[Picture, ...]:
        source = method.source(self.teachers)
        if not isinstance(source, Staged):
            return ()
        return write_stages(folder, method.name, source, self.teachers, seed=self.seed)
