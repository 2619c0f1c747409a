"""One run of `envoi server distil`: methods, measurements and pictures into a run folder."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import nn

from envoi.cli.images import read_images
from envoi.cli.show import say_counts
from envoi.evaluation import check_test_labels, evaluate
from envoi.progress import OnStep, logged
from envoi.results import MethodResult, Metrics, Refusal, RunFolder, SiteResult, StudyResult
from envoi.server.build import distil, predict
from envoi.server.collect import accepted
from envoi.server.gallery import write_gallery
from envoi.server.ledger import Ledger, State
from envoi.server.methods import Method
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.bench import environment
from envoi.study import Study
from envoi.submission import describe
from envoi.types import ImageSet


class DistilRun:
    """Accepted files to students, each measured if there are public test images.

    Args:
        study: What the files belong to.
        accepted_in: The server's folder.
        run: Where all results go; the student of each method is `<method>.safetensors`.
        budget: Of every method.
        seed: Of the server's random streams.
        test: Public test images, or None.
    """

    def __init__(
        self,
        study: Study,
        accepted_in: Path,
        run: RunFolder,
        budget: Budget,
        *,
        seed: int,
        test: Path | None,
    ) -> None:
        self._study, self._run, self._budget, self._seed = study, run, budget, seed
        submissions = list(accepted(accepted_in, study=study))
        self._sites = [
            SiteResult(
                site=submission.site,
                architecture=submission.architecture,
                class_counts=submission.class_counts,
                bytes_sent=submission.bytes,
                train_seconds=0.0,
                statement=tuple(describe(submission.manifest, study.classes)),
            )
            for submission in submissions
        ]
        self._teachers = Teachers.from_submissions(submissions, study)
        self._test = None if test is None else read_images(test, study=study, own="test")
        if self._test is not None:
            say_counts(self._test, kind="test ", absence="nothing is measured on these classes")
            check_test_labels(self._test.labels, classes=len(study.classes))
        decisive = {
            "study": study.digest,
            "sites": [entry.site for entry in self._sites],
            "budget": asdict(budget),
            "seed": seed,
        }
        run.claim(decisive, what="the study, sites and settings")

    def execute(self, methods: Mapping[str, Method], ledger: Ledger, on_step: OnStep) -> None:
        """Run every method and write the run folder."""
        began = time.monotonic()
        listen = logged(self._run, on_step)
        rows = {name: self._row(name, method, listen) for name, method in methods.items()}
        if self._test is not None:
            rows |= self._local_rows()
        gallery = write_gallery(
            self._run.path / "gallery", self._teachers, self._budget, seed=self._seed
        )
        refusals = [e for e in ledger.entries if e.state is State.REFUSED]
        self._run.write_result(
            StudyResult(
                name=self._study.name,
                partition="natural",
                network=self._study.architectures[0],
                seed=self._seed,
                class_names=self._study.classes,
                sites=tuple(self._sites),
                methods=rows,
                refusals=tuple(Refusal(entry.file, entry.reason) for entry in refusals),
                gallery=gallery,
                environment=environment(),
                wall_seconds=time.monotonic() - began,
            )
        )

    def _row(self, name: str, method: Method, on_step: OnStep) -> MethodResult:
        file = name.replace(":", "_")
        done = distil(
            name,
            method,
            self._teachers,
            study=self._study,
            budget=self._budget,
            seed=self._seed,
            checkpoint=self._run.path / f"{file}.checkpoint",
            on_step=on_step,
        )
        done.save_student(self._run.path / f"{file}.safetensors", self._study)
        return done.result(self._study, self._judge(done.network))

    def _local_rows(self) -> dict[str, MethodResult]:
        return {
            f"local/{member.site}": MethodResult(
                f"local/{member.site}", self._judge(member.network), 0.0, 0.0, 0, 0
            )
            for member in self._teachers.members
        }

    def _judge(self, network: nn.Module) -> Metrics | None:
        test: ImageSet | None = self._test
        if test is None:
            return None
        probabilities = predict(network, test.images, self._study.image)
        return evaluate(probabilities, test.labels, patients=test.patients)
