"""From teachers to a student: one method, one budget, one resumable job."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.files import canonical_json, digest
from envoi.meter import metered
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.server.methods import Method
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.study import Study
from envoi.transforms import normalise
from envoi.types import ImageSpec


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """A method's classifier and what it cost the server.

    Attributes:
        network: In evaluation mode.
        seconds: Wall time of the part that was run now (not that before a kill).
        flop: Floating-point operations of the whole job.
        peak_bytes: Peak memory.
        steps: Steps that were run now; 0 for methods that do not read the budget.
    """

    network: nn.Module
    seconds: float
    flop: float
    peak_bytes: int
    steps: int


def distil(  # noqa: PLR0913  (a job's inputs, each of another kind)
    name: str,
    method: Method,
    teachers: Teachers,
    *,
    study: Study,
    budget: Budget,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_step: OnStep = ignore_step,
) -> Distilled:
    """Run one method on one study's teachers.

    Args:
        name: The method's name; with the seed it selects the random stream.
        method: Configured.
        teachers: The sites' networks.
        study: Its first architecture is the student's.
        budget: How much to compute.
        seed: Of the server's random streams.
        checkpoint: File that makes the job resumable; cleared at its end.
        on_step: Told about each step.

    Raises:
        MethodError: The method cannot work with these teachers.
        SettingsError: The checkpoint belongs to another job.
    """
    student = study.network()
    settings = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(method))  # where functions lie in memory
    job = [name, settings, _inputs(teachers, student), asdict(budget), seed]
    state = Checkpoint(checkpoint, fingerprint=digest(canonical_json(job).encode()))
    flop = method.flop(teachers, student, budget=budget)
    steps = 0

    def count(info: StepInfo) -> None:
        nonlocal steps
        steps += 1
        on_step(info)

    with metered() as cost:
        network = method.fit(
            teachers,
            study.network(),
            budget=budget,
            generator=torch_generator(seed, "server", name),
            on_step=count,
            checkpoint=state,
        )
    state.clear()
    return Distilled(network, cost.wall_seconds, flop, cost.peak_bytes, steps)


def predict(
    network: nn.Module, pixels: NDArray[np.uint8], spec: ImageSpec, *, batch_size: int = 256
) -> Float[NDArray[np.float64], "image class"]:
    """Class probabilities of stored pixels `(image, channel, height, width)`, 0..255."""
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            inputs = normalise(pixels[start : start + batch_size], spec)
            rows.append(network(inputs).double().softmax(dim=1).numpy())
    return np.concatenate(rows)


def _inputs(teachers: Teachers, student: nn.Module) -> list[Any]:
    networks = [student, *(member.network for member in teachers.members)]
    weights = [
        digest(b"".join(t.cpu().contiguous().numpy().tobytes() for t in state.values()))
        for state in (network.state_dict() for network in networks)
    ]
    return [*weights, teachers.class_counts.tolist(), asdict(teachers.image)]
