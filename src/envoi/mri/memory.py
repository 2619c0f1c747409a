"""Peak memory and arithmetic of a model, predicted without allocating it.

The very code that trains or samples runs once on tensors that have a shape and no content
(`FakeTensorMode`), while a ledger counts the bytes that live at any time. The prediction is
of tensors: the scratch space of kernels, the libraries and the allocator's rounding come on
top. Arithmetic is that of products of matrices, convolutions and attention, a multiplication and an
addition counting as two (`envoi.meter.flop_counter`).
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from envoi.meter import flop_counter
from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import VolumeModel
from envoi.mri.modes import Plan, model_of
from envoi.mri.population import Population
from envoi.mri.slabs import Plane
from envoi.precision import computing
from envoi.settings import Precision

Phase = Literal["sample", "train"]
# Something of the step before may still live; the third is the first to look ahead, the last never.
_STEPS, _STEPS_OF_OTHERS = 4, 2
# Volumes in fp32, and coarse pairs of each person; `benchmarks/mri_memory.py` measures them.
_PREPARING, _COARSE = 18, 5


@dataclass(frozen=True, slots=True)
class Use:
    """How a model is used, as far as memory depends on it.

    Attributes:
        phase: Sampling one volume, or one training step.
        batch: Items of a training step.
        checkpointed: Whether training computes maps again in place of keeping them.
        slabs_at_once: Slabs that sampling denoises together.
        precision: Of the networks.
        people: Whom a training learns from.
    """

    phase: Phase
    batch: int = 1
    checkpointed: bool = False
    slabs_at_once: int = 1
    precision: Precision = "fp32"
    people: int = 1


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations make while it is active.

    Attributes:
        live_bytes: Now.
        peak_bytes: The most so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = self.peak_bytes = 0
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operation gives)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        return result

    def count(self, tensor: Tensor) -> None:
        """Add a tensor's storage, once; it is taken off when nothing holds it any more."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001  (its only identity)
        if key in self._seen:
            return

        def gone(_: object) -> None:
            self._seen.pop(key, None)
            self.live_bytes -= size

        self._seen[key] = weakref.ref(storage, gone)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def predicted_bytes(plan: Plan, use: Use) -> int:
    """The most bytes of tensors that live at once: weights, what training adds to them, and maps.

    Training holds the weights' average and two moments beside the weights, and all gradients at
    its end; of weights that Muon learns it holds one moment, which is not taken off. What `joint`
    takes from a population before its first step needs memory too, which counts where steps are
    made to need less.
    """
    alone = replace(use, people=1)
    peak = max(_peak_bytes(plan, alone, only) for only in _planes(plan))
    return max(peak, _preparing_bytes(plan, use.people)) if use.phase == "train" else peak


def _preparing_bytes(plan: Plan, people: int) -> int:
    """Of `VolumeModel.prepare`, whose arrays no ledger counts; beside the volumes learnt from."""
    if not isinstance(plan, JointPlan):
        return 0
    pair = 2 * prod(plan.coarse_shape)
    return 4 * (_PREPARING * prod(plan.shape) + _COARSE * people * pair)


def predicted_flop(plan: Plan, steps: int) -> float:
    """Operations of drawing one volume: those of a few steps, the mean over planes, for `steps`.

    How many slabs a step of `joint` cuts depends on where it cuts, so that this is a mean.
    """
    looked_at, counted = 4 if isinstance(plan, JointPlan) else 1, []
    for planes in _planes(plan):
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = _model(plan, Use("sample"), planes).eval()
            with flop_counter() as counter:
                model.draw(torch.zeros(1, 2), steps=looked_at, generator=torch.Generator())
        counted.append(counter.get_total_flops())
    return steps * fmean(counted) / looked_at


def parameters_of(plan: Plan) -> int:
    """How many weights a model learns."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        return sum(value.numel() for value in model_of(plan).parameters())


def _planes(plan: Plan) -> list[tuple[Plane, ...]]:
    """Those whose slabs are of different sizes, each alone."""
    if not isinstance(plan, JointPlan):
        return [()]
    each: list[tuple[Plane, ...]] = [(plane,) for plane in Plane]
    return each[: 1 if len(set(plan.shape)) == 1 else 3]


def _model(plan: Plan, use: Use, planes: tuple[Plane, ...]) -> VolumeModel:
    """A model whose slabs all lie in these planes."""
    model = model_of(plan, checkpointed=use.checkpointed, slabs_at_once=use.slabs_at_once)
    if isinstance(model, JointModel):
        model.slab.planes = planes
    return model


@lru_cache
def _peak_bytes(plan: Plan, use: Use, planes: tuple[Plane, ...]) -> int:
    """The peak if all slabs lie in these planes."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = _model(plan, use, planes)
        ledger = Ledger()
        weights = [*model.parameters(), *model.buffers()]
        beside = [torch.empty_like(weight) for weight in model.parameters() for _ in range(3)]
        for tensor in [*weights, *(beside if use.phase == "train" else [])]:
            ledger.count(tensor)
        generator = torch.Generator().manual_seed(0)
        with ledger, computing(use.precision, model.device):
            if use.phase == "train":
                terms = model.train().heaviest_losses(_nobody(plan.shape), use.batch, generator)
                torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            else:
                steps = _STEPS if isinstance(plan, JointPlan) else _STEPS_OF_OTHERS
                model.eval().draw(torch.zeros(1, 2), steps=steps, generator=generator)
    return ledger.peak_bytes


def _nobody(shape: tuple[int, int, int]) -> Population:
    return Population(torch.zeros(1, *shape, dtype=torch.half), torch.zeros(1, 2))
