"""One call of `DataFree.fit`: everything that its loop carries from step to step."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.checkpoint import (
    State,
    optimiser_state,
    pack,
    restore_module,
    restore_optimiser,
    unpack,
)
from envoi.results import StepInfo
from envoi.server.adapt import Adaptation, adapted_networks, adapted_to_path
from envoi.server.distil import distillation_loss, prepare_student, rate_at, student_optimiser
from envoi.server.learned import LearnedWeighting, LearnedWeights
from envoi.server.synthesis.scene import Scene, Synthesis
from envoi.server.teacher import Teachers, Weighting, site_logits
from envoi.settings import Budget

if TYPE_CHECKING:
    from envoi.server.methods.data_free import DataFree

Images = Float[Tensor, "batch channel height width"]
Terms = dict[str, Tensor]


class Job:
    """The state of a distillation: always that between two steps.

    Attributes:
        epoch: Outer epoch that the next step belongs to, from 0.
        step: Index of the next step in its epoch, from 0.
    """

    def __init__(
        self,
        method: "DataFree",
        teachers: Teachers,
        student: nn.Module,
        budget: Budget,
        generator: torch.Generator,
    ) -> None:
        self.epoch = self.step = 0
        self._method, self._teachers, self._budget = method, teachers, budget
        self._networks: list[nn.Module] = [member.network for member in teachers.members]
        self._swept = method.adaptation is Adaptation.EMA
        self._adapted = [] if self._swept else adapted_networks(self._networks, method.adaptation)
        self._student = prepare_student(student, teachers, budget)
        self._optimiser = student_optimiser(student, budget)
        self._weighting = _started(method.weighting, len(self._networks))
        self._scene = Scene(teachers, student, self._weighting, budget, generator)
        self._synthesis: Synthesis | None = None

    @property
    def resumable(self) -> bool:
        """Whether the state of this moment can be saved (a swept epoch is repeated whole)."""
        return not self._swept or self.step == 0

    def path(self) -> Iterator[tuple[Images, Terms]]:
        """The epoch's images from noise to realistic, each made when it is asked for.

        Only the `EMA` adaptation has to see the whole path before the first is distilled.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.epoch, self._budget)
        if self._synthesis is None:
            self._synthesis = self._method.synthesis(self._scene)
        synthesis = self._synthesis
        path = (synthesis.advance() for _ in range(self.step, self._budget.synthesis_steps))
        if self._swept:
            kept = list(path)
            self._adapted = adapted_to_path(self._networks, [images for images, _ in kept])
            path = (pair for pair in kept)
        return path

    def learn(self, images: Images) -> Tensor:
        """One step of the student on one batch; the loss before it.

        L = a KD(g, F) + (1 - a) KD(g, F~), a from 0 (noise) to (T-1)/T (realistic).
        """
        realistic = self.step / self._budget.synthesis_steps
        self._weigh(images)
        if self._method.perturbation:
            images = self._method.perturbation(self._scene, images)
        answers = self._student(images)
        loss = self._distance(answers, images, self._networks)
        if self._method.adaptation is not Adaptation.NONE:
            adapted = self._distance(answers, images, self._adapted)
            loss = realistic * loss + (1 - realistic) * adapted
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.detach()

    def finish_step(self, terms: Mapping[str, Tensor]) -> StepInfo:
        """Move on to the next step; what to tell about this one."""
        budget = self._budget
        info = StepInfo(
            phase=self._method.name,
            step=self.epoch * budget.synthesis_steps + self.step + 1,
            steps=budget.outer_epochs * budget.synthesis_steps,
            losses={name: float(term) for name, term in terms.items()},
            epoch=self.epoch + 1,
        )
        self.step += 1
        if self.step == budget.synthesis_steps:
            self.epoch, self.step = self.epoch + 1, 0
            if self._synthesis and not self._synthesis.lasting:
                self._synthesis = None
        return info

    def state(self) -> State:
        """All of it as tensors, for a checkpoint."""
        position = {
            "epoch": torch.tensor(self.epoch),
            "step": torch.tensor(self.step),
            "generator": self._scene.generator.get_state(),
        }
        learned = self._weighting if isinstance(self._weighting, LearnedWeighting) else None
        return {
            **position,
            **pack("student", self._student.state_dict()),
            **pack("optimiser", optimiser_state(self._optimiser)),
            **pack("synthesis", self._synthesis.state() if self._synthesis else {}),
            **pack("weighting", learned.state() if learned else {}),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved `state`."""
        if synthesis := unpack("synthesis", state):
            self._synthesis = self._method.synthesis(self._scene)
            self._synthesis.restore(synthesis)
        if isinstance(self._weighting, LearnedWeighting):
            self._weighting.restore(unpack("weighting", state))
        restore_module(self._student, unpack("student", state))
        restore_optimiser(self._optimiser, unpack("optimiser", state))
        self._scene.generator.set_state(state["generator"])
        self.epoch, self.step = int(state["epoch"]), int(state["step"])

    def _weigh(self, images: Images) -> None:
        """One step of the sites' weights, where they are learned."""
        if isinstance(self._weighting, LearnedWeighting) and self._synthesis:
            with torch.no_grad():
                logits = site_logits(self._networks, images)
            self._weighting.learn(logits, self._synthesis.targets)

    def _distance(self, answers: Tensor, images: Images, networks: list[nn.Module]) -> Tensor:
        with torch.no_grad():
            wanted = self._scene.combined(site_logits(networks, images))
        return distillation_loss(answers, wanted, self._budget.temperature)


def _started(weighting: Weighting | LearnedWeights, sites: int) -> Weighting:
    return weighting(sites) if isinstance(weighting, LearnedWeights) else weighting
