"""Opening a submission: everything is checked, nothing is believed, nothing is executed.

The order: a regular file; its exact size; the header's length; strict JSON; the manifest's
schema; the signature against the roster; the study; replay; the header, byte for byte; every
tensor's digest; every number's range. The bytes that are checked are the bytes that are used:
the file is read once, through one descriptor.

Memory: the network in fp32, plus one tensor, plus a few MiB. A file that is refused never takes
more, whatever it claims of itself.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from envoi.networks import build
from envoi.networks.classifier import Classifier
from envoi.networks.initialisation import load_trained
from envoi.study import Study
from envoi.submission.intake import Intake, intake
from envoi.submission.layout import (
    FEATURE_MEANS,
    LENGTH_BYTES,
    Layout,
    NumberType,
    layout_of,
)
from envoi.submission.manifest import Manifest
from envoi.submission.moments import Moments, problem_of_moments
from envoi.submission.quantise import decoded
from envoi.submission.refusal import OTHER_SIZE, refused
from envoi.submission.values import problem_of_values
from envoi.submission.verify import verified_manifest
from envoi.submission.write import bytes_of

_NOTHING_RECEIVED: Mapping[str, int] = MappingProxyType({})
_NUMBERS: dict[NumberType, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "I8": torch.int8,
}


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A file that passed every check, in memory.

    Attributes:
        manifest: Signed by the site.
        state: The network's tensors in fp32 by parameter name, without batch counters.
        class_counts: Images of each class; 0 is fewer than the policy's minimum. All are 0 if
            the study releases no counts.
        moments: Of the site's images; None if the study releases none.
        temperature: For calibrated probabilities, or None.
        bytes: Size of the file.
    """

    manifest: Manifest
    state: dict[str, Tensor]
    class_counts: tuple[int, ...]
    moments: Moments | None
    temperature: float | None
    bytes: int

    @property
    def site(self) -> str:
        """Id of the site in the roster."""
        return self.manifest.site

    @property
    def architecture(self) -> str:
        """Of the network."""
        return self.manifest.architecture

    @property
    def sequence(self) -> int:
        """Number of this file among the site's."""
        return self.manifest.sequence


def open_submission(
    path: Path, *, study: Study, received: Mapping[str, int] = _NOTHING_RECEIVED
) -> Submission:
    """Read a site's file, or say in one line why it is refused.

    Args:
        path: The file.
        study: That it must belong to.
        received: Highest sequence number seen of each site; a file must be above it.

    Raises:
        SubmissionError: The file is refused; always with exactly one problem.
        SignatureError: Its site did not sign it.
        ReplayError: It was received before, or is older than what was.
    """
    layouts = {name: layout_of(study, name) for name in study.architectures}
    manifest, tensors, size = read_file(path, layouts=layouts, study=study, received=received)
    moments = Moments.taken_from(tensors)
    return Submission(
        manifest=manifest,
        state=decoded(tensors),
        class_counts=manifest.class_counts or (0,) * len(study.classes),
        moments=moments,
        temperature=manifest.temperature,
        bytes=size,
    )


def read_file(
    path: Path, *, layouts: Mapping[str, Layout], study: Study, received: Mapping[str, int]
) -> tuple[Manifest, dict[str, Tensor], int]:
    """The manifest, the stored tensors and the size of a file, all checked.

    Args:
        path: The file.
        layouts: What a file may look like, by architecture.
        study: That it must belong to.
        received: Highest sequence number seen of each site.

    Raises:
        SubmissionError: The file is refused; always with exactly one problem.
    """
    with intake(path) as source:
        possible = _of_size(source, layouts)
        length = int.from_bytes(source.read(LENGTH_BYTES), "little")
        possible = {name: plan for name, plan in possible.items() if plan.header_bytes == length}
        if not possible:
            raise refused(source.where, "the header length of the study's files", f"{length}")
        manifest = verified_manifest(
            source.read(length),
            layouts=possible,
            study=study,
            received=received,
            where=source.where,
        )
        tensors = _tensors(source, manifest, possible[manifest.architecture])
        source.require_end()
    if FEATURE_MEANS in tensors:
        fault = problem_of_moments(
            tensors,
            manifest.class_counts or (),
            minimum_images=study.statistics.minimum_covariance_images,
        )
        if fault is not None:
            raise refused(source.where, *fault)
    return manifest, tensors, source.size


def build_network(submission: Submission, study: Study) -> Classifier:
    """The site's network in evaluation mode, on the CPU."""
    network = build(
        submission.architecture,
        channels=study.image.channels,
        classes=len(study.classes),
        seed=study.seed,
    )
    return load_trained(network, submission.state).eval()


def _of_size(source: Intake, layouts: Mapping[str, Layout]) -> dict[str, Layout]:
    possible = {name: plan for name, plan in layouts.items() if plan.file_bytes == source.size}
    if not possible:
        sizes = sorted({plan.file_bytes for plan in layouts.values()})
        expected = " or ".join(f"{size}" for size in sizes)
        raise refused(source.where, f"{expected} bytes", f"{source.size} bytes", OTHER_SIZE)
    return possible


def _tensors(source: Intake, manifest: Manifest, layout: Layout) -> dict[str, Tensor]:
    tensors = {}
    for place in layout.places:
        tensor = torch.empty(place.shape, dtype=_NUMBERS[place.numbers])
        content = bytes_of(tensor)
        source.read_into(content)
        if hashlib.sha256(content).hexdigest() != manifest.tensors[place.name]:
            expected = f"the tensor {place.name} that the manifest names"
            remedy = "Copy the file again; it was changed on its way."
            raise refused(source.where, expected, "other bytes", remedy)
        fault = problem_of_values(place.name, tensor)
        if fault is not None:
            expected, found = fault
            remedy = "Ask the site to look at its training."
            raise refused(source.where, f"{expected} in {place.name}", found, remedy)
        tensors[place.name] = tensor
    return tensors
