"""Where every byte of a submission stands: a function of the study and the architecture alone.

A file is a plain safetensors file: eight bytes of header length (little-endian), a JSON header
filled up with spaces, the tensors without gaps. Tensors stand by falling size of their numbers
(fp32, fp16, int8), then by name, so that all are aligned.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Literal

from envoi.networks import architecture as architecture_of
from envoi.study import Study, WeightFormat

NumberType = Literal["F32", "F16", "I8"]
NUMBER_BYTES: dict[NumberType, int] = {"F32": 4, "F16": 2, "I8": 1}
NETWORK = "network/"
SCALE = "scale/"
FEATURE_MEANS = "statistics/feature_means"
FEATURE_DEVIATIONS = "statistics/feature_deviations"
FEATURE_CORRELATIONS = "statistics/feature_correlations"
FEATURE_FACTORS = "statistics/feature_factors"
FACTOR_SCALES = f"{SCALE}feature_factors"

LENGTH_BYTES = 8
# Upper bounds: the manifest without counts and tensor digests, escaped, with its signature; one
# count; one digest without the tensor's name.
_MANIFEST_ROOM = 2560
_COUNT_ROOM = 12
_AUDIT_ROOM = 176
_DIGEST_ROOM = 80


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor of a file: what it is and where its bytes stand in the data part."""

    name: str
    numbers: NumberType
    shape: tuple[int, ...]
    start: int
    stop: int

    def entry(self) -> dict[str, Any]:
        """The tensor's entry in a safetensors header."""
        offsets = [self.start, self.stop]
        return {"dtype": self.numbers, "shape": list(self.shape), "data_offsets": offsets}


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of all tensors, and the length of the header in bytes."""

    places: tuple[Place, ...]
    header_bytes: int

    @classmethod
    def of(
        cls,
        tensors: Iterable[tuple[str, NumberType, tuple[int, ...]]],
        *,
        classes: int,
        audited: bool = False,
    ) -> "Layout":
        """The layout of `tensors` (name, numbers, shape), with room for counts of `classes`."""
        ordered = sorted(tensors, key=lambda item: (-NUMBER_BYTES[item[1]], item[0]))
        places, start = [], 0
        for name, numbers, shape in ordered:
            stop = start + prod(shape) * NUMBER_BYTES[numbers]
            places.append(Place(name, numbers, shape, start, stop))
            start = stop
        entries = len(_dumped({place.name: place.entry() for place in places}))
        digests = sum(len(place.name) + _DIGEST_ROOM for place in places)
        room = entries + digests + _MANIFEST_ROOM + _COUNT_ROOM * classes + _AUDIT_ROOM * audited
        return cls(tuple(places), -(-room // 8) * 8)

    @property
    def data_bytes(self) -> int:
        """Bytes of all tensors."""
        return self.places[-1].stop if self.places else 0

    @property
    def network_bytes(self) -> int:
        """Bytes of the network's numbers and of their scales."""
        told = self.places  # the factors' scales bear the same prefix
        places = [
            p for p in told if p.name.startswith((NETWORK, SCALE)) and p.name != FACTOR_SCALES
        ]
        return sum(place.stop - place.start for place in places)

    @property
    def data_start(self) -> int:
        """Where the tensors begin in the file."""
        return LENGTH_BYTES + self.header_bytes

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.data_start + self.data_bytes

    def header(self, manifest: str, signature: str) -> bytes:
        """The header of a file with this manifest, without its length; the only valid one.

        Raises:
            ValueError: The manifest is longer than any valid one.
        """
        metadata = {"__metadata__": {"manifest": manifest, "signature": signature}}
        entries = {place.name: place.entry() for place in self.places}
        header = _dumped({**metadata, **entries}).encode("ascii")
        if len(header) > self.header_bytes:
            raise ValueError(f"a header of {len(header)} bytes")
        return header.ljust(self.header_bytes)


def layout_of(study: Study, architecture: str) -> Layout:
    """The layout of a submission to `study` with a network of `architecture`.

    Raises:
        StudyError: There is no such architecture.
    """
    return _layout(
        architecture,
        study.image.channels,
        study.image.size_px,
        len(study.classes),
        study.weight_format,
        study.statistics.moment_rank if "feature_moments" in study.statistics.release else None,
        study.audit is not None,
    )


def submission_bytes(study: Study, architecture: str) -> int:
    """Exact size in bytes of a submission to `study` with a network of `architecture`.

    Raises:
        StudyError: There is no such architecture.
    """
    return layout_of(study, architecture).file_bytes


def network_bytes(study: Study, architecture: str) -> int:
    """Bytes of the network's numbers alone in such a submission.

    Raises:
        StudyError: There is no such architecture.
    """
    return layout_of(study, architecture).network_bytes


def largest_submission_bytes(study: Study) -> int:
    """Size in bytes of the largest submission that `study` allows."""
    return max(submission_bytes(study, name) for name in study.architectures)


def is_coded(shape: tuple[int, ...]) -> bool:
    """Whether a network tensor may be stored in fewer bits than fp32.

    Convolution and linear weights are. Biases, affine parameters and batch-norm statistics stay
    fp32: they are under one percent of the bytes, they scale whole channels, and variances
    range over more orders of magnitude than fp16 holds.
    """
    return len(shape) > 1


@lru_cache(maxsize=64)
def _layout(
    architecture: str,
    channels: int,
    size_px: int,
    classes: int,
    weight_format: WeightFormat,
    moment_rank: int | None,
    audited: bool,  # noqa: FBT001  (by position, for the cache)
) -> Layout:
    from envoi.networks.descriptor import Descriptor  # noqa: PLC0415  (loads torch)
    from envoi.networks.initialisation import state_shapes  # noqa: PLC0415

    shapes = state_shapes(architecture_of(architecture), channels=channels, classes=classes)
    tensors: list[tuple[str, NumberType, tuple[int, ...]]] = []
    for name, shape in shapes.items():
        coded: NumberType = {"fp32": "F32", "fp16": "F16", "int8": "I8"}[weight_format]  # type: ignore[assignment]
        numbers: NumberType = coded if is_coded(shape) else "F32"
        tensors.append((NETWORK + name, numbers, shape))
        if numbers == "I8":
            tensors.append((SCALE + name, "F32", shape[:1]))
    if moment_rank is not None:
        features = Descriptor(channels, size_px).dimension
        tensors.append((FEATURE_MEANS, "F32", (classes, features)))
        tensors.append((FEATURE_DEVIATIONS, "F32", (features,)))
        tensors += _correlations(features, moment_rank)
    return Layout.of(tensors, classes=classes, audited=audited)


def _correlations(features: int, rank: int) -> list[tuple[str, NumberType, tuple[int, ...]]]:
    """All of them, or as factors of so small a rank."""
    if rank == 0:
        return [(FEATURE_CORRELATIONS, "F16", (features * (features - 1) // 2,))]
    return [(FEATURE_FACTORS, "I8", (features, rank)), (FACTOR_SCALES, "F32", (features,))]


def _dumped(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
