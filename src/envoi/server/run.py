"""One run of the server: the accepted files to students, rows and pictures in a run folder.

    <method>.safetensors   the student of each method that makes one
    methods/               rows and checkpoints (`envoi.server.rows`)
    gallery/               synthetic images

Killed at any time, it goes on where it was; methods may join later. Not known here: where test
images come from. They are a `Judge`, and without one nothing is measured.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from envoi.errors import MethodError, Problem
from envoi.meter import environment
from envoi.networks.classifier import chosen_device
from envoi.processes import current_processes
from envoi.progress import OnStep, ignore_step, logged
from envoi.results import Refusal, RunFolder, SiteResult, StudyResult
from envoi.server.collect import accepted_copy
from envoi.server.comparison import Comparison, Judge
from envoi.server.ledger import State, check_study, load_ledger
from envoi.server.methods import Method
from envoi.server.methods.from_bank import FromBank
from envoi.server.rows import Rows, file_stem
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.study import Study
from envoi.submission import Submission, describe, network_bytes


class ServerRun:
    """Accepted files to students, each measured if there is a judge.

    Args:
        study: What the files belong to.
        accepted_in: The server's folder.
        run: Where all results go.
        budget: Of every method.
        seed: Of the server's random streams.
        judge: Measures the students, or None.
        device: Where to compute; None is the first GPU, or else the CPU.

    Raises:
        SettingsError: The folder holds a run of other files or settings.
        StorageError: There is no ledger, or an accepted copy is missing or changed.
        StudyError: The server's folder belongs to another study.
    """

    def __init__(
        self,
        study: Study,
        accepted_in: Path,
        run: RunFolder,
        budget: Budget,
        *,
        seed: int = 0,
        judge: Judge | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._study, self._run = study, run
        ledger = load_ledger(accepted_in)
        check_study(ledger, study)
        files = ledger.current()
        opened = [partial(accepted_copy, accepted_in, file, study=study) for file in files]
        self._sites = tuple(_site_result(read(), study) for read in opened)
        refused = [entry for entry in ledger.entries if entry.state is State.REFUSED]
        self._refusals = tuple(
            Refusal(number, entry.reason) for number, entry in enumerate(refused, start=1)
        )
        self._comparison = Comparison(
            teachers=Teachers.from_files(opened, study).on(chosen_device(device)),
            study=study,
            rows=Rows(run.path),
            budget=budget,
            seed=seed,
            judge=judge,
            bytes_per_site=max((site.bytes_sent for site in self._sites), default=0),
        )
        decisive = {
            "study": study.digest,
            "files": {f"{file.site}-{file.sequence}": file.digest for file in files},
            "test_images": None if judge is None else judge.digest,
            "budget": asdict(budget),
            "seed": seed,
        }
        if current_processes().first:
            run.claim(decisive, what="the study, files, test images and settings")

    def execute(self, methods: Mapping[str, Method], on_step: OnStep = ignore_step) -> StudyResult:
        """Run every method that has no row yet, and write the run folder.

        The result has the rows of all methods that were ever run in the folder.

        Raises:
            MethodError: Several processes were started for a method that cannot share its work.
        """
        _check_shared(methods)
        comparison, listen = self._comparison, logged(self._run, on_step)
        with comparison.rows.timed() as seconds:
            for name, method in methods.items():
                comparison.distilled(name, method, student=self._student(name), on_step=listen)
            local = {row.method: row for row in comparison.local()}
            rows = comparison.rows.in_order(methods)
            result = StudyResult(
                name=self._study.name,
                partition="natural",
                network=self._study.architectures[0],
                seed=comparison.seed,
                class_names=self._study.classes,
                sites=self._sites,
                methods={name: row for name, row in rows.items() if name not in local} | local,
                refusals=self._refusals,
                gallery=comparison.gallery(
                    self._run.path / "gallery", methods.values(), on_step=on_step
                ),
                environment=environment(comparison.teachers.device),
                wall_seconds=seconds(),
            )
        self._run.write_result(result)
        return result

    def assist(self, methods: Mapping[str, Method]) -> None:
        """What all processes but the first do: they share the work, and write nothing.

        Raises:
            MethodError: See `execute`.
        """
        _check_shared(methods)
        for name, method in methods.items():
            self._comparison.assist(name, method)

    def students(self, methods: Iterable[str]) -> list[Path]:
        """The files of those of `methods` that made a student."""
        return [file for file in map(self._student, methods) if file.exists()]

    def _student(self, method: str) -> Path:
        return self._run.path / f"{file_stem(method)}.safetensors"


def _check_shared(methods: Mapping[str, Method]) -> None:
    alone = [name for name, method in methods.items() if not isinstance(method, FromBank)]
    if alone and current_processes().count > 1:
        expected = "methods that learn from a bank, such as envoi"
        remedy = "Run the others without torchrun."
        raise MethodError(Problem(expected, ", ".join(alone), "several processes", remedy))


def _site_result(submission: Submission, study: Study) -> SiteResult:
    return SiteResult(
        site=submission.site,
        architecture=submission.architecture,
        class_counts=submission.class_counts,
        bytes_sent=submission.bytes,
        train_seconds=0.0,
        statement=tuple(describe(submission.manifest, study.classes, asked=study.training)),
        network_bytes=network_bytes(study, submission.architecture),
    )
