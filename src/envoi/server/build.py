"""From teachers to a student: one method, one budget, one resumable job."""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from envoi.checkpoint import Checkpoint
from envoi.errors import DataError, MethodError, Problem
from envoi.files import canonical_json, digest
from envoi.meter import metered
from envoi.networks.classifier import Classifier, chosen_device
from envoi.processes import current_processes
from envoi.progress import OnStep, ignore_step
from envoi.results import MethodResult, Metrics, StepInfo
from envoi.seeding import torch_generator
from envoi.server.bank import Streaming
from envoi.server.methods import Method
from envoi.server.methods.method import flop_of, streams
from envoi.server.student import StudentCard, write_student
from envoi.server.teacher import Teachers, answers_are_finite
from envoi.settings import Budget
from envoi.study import Study
from envoi.transforms import normalise
from envoi.types import ImageSpec


@dataclass(frozen=True, slots=True, eq=False)
class Distilled:
    """A method's classifier and what it cost the server.

    Attributes:
        method: Its name.
        network: In evaluation mode, on the device of the job.
        budget: That it was given.
        seconds: Wall time of the whole job; of a part that a kill undid nothing is known.
        flop: Floating-point operations of the whole job; 0 where the method does not tell.
        peak_bytes: Peak memory.
        iterative: Whether it took steps of the budget, now or before a kill.
    """

    method: str
    network: nn.Module
    budget: Budget
    seconds: float
    flop: float
    peak_bytes: int
    iterative: bool

    def result(self, study: Study, metrics: Metrics | None, *, bytes_per_site: int) -> MethodResult:
        """The row of a table.

        Args:
            study: Its image size decides which budget is the paper's.
            metrics: What the classifier was measured to be worth.
            bytes_per_site: The most that a site has sent.
        """
        full = Budget.preset("full", size_px=study.image.size_px)
        return MethodResult(
            method=self.method,
            metrics=metrics,
            server_seconds=self.seconds,
            server_flop=self.flop,
            bytes_per_site=bytes_per_site,
            peak_bytes=self.peak_bytes,
            changes=self.budget.changes_from(full) if self.iterative else (),
        )

    def save_student(self, file: Path, study: Study) -> None:
        """Write the student with all that is needed to use it without its study.toml.

        An ensemble, which is no single network, is not written.
        """
        if isinstance(self.network, Classifier):
            card = StudentCard(
                architecture=study.architectures[0],
                class_names=study.classes,
                image=study.image,
                method=self.method,
                study=study.digest,
            )
            write_student(file, self.network, card)


def distil(  # noqa: PLR0913  (a job's inputs, each of another kind)
    name: str,
    method: Method,
    teachers: Teachers,
    *,
    study: Study,
    budget: Budget,
    seed: int = 0,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
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
        checkpoint: File that makes the job resumable, on any device; cleared at its end. Of several
            processes the first one writes it, and all read it.
        device: Where to compute; None is the first GPU, or else the CPU.
        on_step: Told about each step.

    Raises:
        MethodError: The method cannot work with these teachers, a loss is no longer finite, or
            the classifier does not answer with finite logits.
        SettingsError: The checkpoint belongs to another job.
    """
    device = chosen_device(device)
    teachers, student = teachers.on(device), study.network().to(device)
    if not streams(method):
        teachers = teachers.in_memory()
    settings = re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(method))  # where functions lie in memory
    job = [name, settings, _inputs(teachers, student), asdict(budget), seed]
    state = Checkpoint(checkpoint, fingerprint=digest(canonical_json(job).encode()))
    flop = flop_of(method, teachers, student, budget=budget)
    iterative = state.load() is not None

    def watch(info: StepInfo) -> None:
        nonlocal iterative
        iterative = True
        _check_losses(info)
        on_step(info)

    with metered(device) as cost:
        network = method.fit(
            teachers,
            study.network().to(device),
            budget=budget,
            generator=torch_generator(seed, "server", name),
            on_step=watch,
            checkpoint=state,
        )
    if not answers_are_finite(network, study.image, device):
        raise _diverged("a classifier with finite logits", "NaN or infinity", name)
    if current_processes().first:
        state.clear()
    seconds = state.earlier_seconds + cost.wall_seconds
    return Distilled(name, network, budget, seconds, flop, cost.peak_bytes, iterative)


def predict(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    spec: ImageSpec,
    *,
    batch_size: int = 256,
    device: torch.device | None = None,
) -> Float[NDArray[np.float64], "image class"]:
    """Class probabilities of stored pixels `(image, channel, height, width)`, 0..255.

    Args:
        network: In evaluation mode; it stays where it is.
        pixels: Of at least one image.
        spec: How they become inputs.
        batch_size: Images that are classified at once.
        device: Where to compute; None is where the network's weights are.

    Raises:
        DataError: There is no image.
    """
    if not len(pixels):
        raise DataError(Problem("at least one image", "none", "images", "Give images to classify."))
    held = itertools.chain(network.parameters(), network.buffers())
    here = next((tensor.device for tensor in held), torch.device("cpu"))
    device = here if device is None else chosen_device(device)
    there = network if device == here else copy.deepcopy(network).to(device)
    inputs = _Inputs(pixels, spec, batch_size, device)
    with torch.inference_mode():
        if isinstance(there, Streaming):
            logits = there.over(inputs)
        else:
            logits = torch.cat([there(images) for images in inputs])
    return logits.double().softmax(dim=1).cpu().numpy()


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Stored pixels as inputs, some at a time, as often as asked for."""

    pixels: NDArray[np.uint8]
    spec: ImageSpec
    batch_size: int
    device: torch.device

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.pixels), self.batch_size):
            yield normalise(self.pixels[start : start + self.batch_size], self.spec).to(self.device)


def _check_losses(info: StepInfo) -> None:
    """Stop at a loss that is NaN or infinite."""
    if info.diverged:
        found = f"NaN or infinity in {', '.join(info.diverged)}"
        raise _diverged("finite losses", found, f"{info.phase}, step {info.step}")


def _diverged(expected: str, found: str, where: str) -> MethodError:
    remedy = "Lower the budget's rates, or leave out the site whose network is odd."
    return MethodError(Problem(expected, found, where, remedy))


def _inputs(teachers: Teachers, student: nn.Module) -> list[Any]:
    weights = [_weights(student), *(_weights(member.network) for member in teachers.members)]
    moments = [
        digest(b"".join(t.numpy().tobytes() for t in told.encoded().values()))
        for told in teachers.moments or []
    ]
    told = (teachers.class_counts, teachers.learned_counts, teachers.temperatures)
    return [*weights, *moments, *(each.tolist() for each in told), asdict(teachers.image)]


def _weights(network: nn.Module) -> str:
    """The digest of all weights and statistics."""
    tensors = network.state_dict().values()
    return digest(b"".join(t.cpu().contiguous().numpy().tobytes() for t in tensors))
