"""One dial, `--memory-gib`: the fastest way to use a model that stays within so much memory.

Ways are tried in order, by their predicted peaks (`envoi.mri.memory`), with a reserve for what the
prediction does not know, and beside what lives all the while (volumes that are learnt from):
larger batches before smaller ones, maps that are kept before maps that are computed again, fp32
before bfloat16. Networks are never changed to fit when sampling; for training a thinner slab is the
last resort.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from envoi.errors import Problem, SettingsError
from envoi.mri.joint_plan import JointPlan
from envoi.mri.memory import Phase, Use, predicted_bytes
from envoi.mri.modes import Plan
from envoi.mri.population import volume_bytes
from envoi.settings import Precision
from envoi.wording import counted

GIB = 2**30
_RESERVE = 1.15
_BATCHES = (8, 4, 2, 1)
_THINNEST = 4


@dataclass(frozen=True, slots=True)
class Fit:
    """A way to use a model, and the peak that it is predicted to have, volumes included."""

    plan: Plan
    use: Use
    bytes: int

    @property
    def words(self) -> str:
        """The way, for people."""
        use = self.use
        if use.phase == "sample":
            slabs = f"{counted(use.slabs_at_once, 'slab')} at once, "
            return f"{slabs if isinstance(self.plan, JointPlan) else ''}{use.precision}"
        again = ", maps computed again" if use.checkpointed else ""
        thick = f", slabs of {self.plan.thickness}" if isinstance(self.plan, JointPlan) else ""
        return f"batches of {use.batch}{thick}{again}, {use.precision}"


def fitted(
    plan: Plan,
    phase: Phase,
    memory_bytes: float,
    precisions: Sequence[Precision] = ("fp32",),
    *,
    people: int = 0,
) -> Fit:
    """The first way that fits.

    Args:
        plan: Of the model.
        phase: What it is used for.
        memory_bytes: To stay within, a reserve included.
        precisions: That may be used, the best one first.
        people: Whose volumes live in the same memory all the while.

    Raises:
        SettingsError: None does; the least that would is named.
    """
    beside_bytes = people * volume_bytes(plan.shape)
    ways = [(shape, replace(use, people=people)) for shape, use in _ways(plan, phase, precisions)]
    least = (beside_bytes + predicted_bytes(*ways[-1])) * _RESERVE
    for shape, use in ways if least <= memory_bytes else ():
        fit = Fit(shape, use, beside_bytes + predicted_bytes(shape, use))
        if fit.bytes * _RESERVE <= memory_bytes:
            return fit
    volumes = f", {beside_bytes / GIB:.2f} of them for volumes" if beside_bytes else ""
    size = "x".join(map(str, plan.shape))
    raise SettingsError(
        Problem(
            f"at least {least / GIB:.2f} GiB to {phase} at {size}{volumes}",
            f"{memory_bytes / GIB:.2f} GiB",
            "memory",
            "Give more memory, or prepare smaller volumes.",
        )
    )


def _ways(plan: Plan, phase: Phase, precisions: Sequence[Precision]) -> Iterator[tuple[Plan, Use]]:
    """Plans and uses, the best first and the smallest last."""
    for precision in precisions:
        yield from _ways_of(plan, phase, precision)
    if phase == "train" and isinstance(plan, JointPlan):
        yield from _thinner(plan, precisions)


def _ways_of(plan: Plan, phase: Phase, precision: Precision) -> Iterator[tuple[Plan, Use]]:
    joint = isinstance(plan, JointPlan)
    if phase == "sample":
        for slabs in _BATCHES if joint else (1,):
            yield plan, Use("sample", slabs_at_once=slabs, precision=precision)
        return
    for checkpointed in (False, True) if joint else (False,):
        for batch in _BATCHES:
            yield plan, Use("train", batch, checkpointed=checkpointed, precision=precision)


def _thinner(plan: JointPlan, precisions: Sequence[Precision]) -> Iterator[tuple[Plan, Use]]:
    thickness = plan.thickness // 2
    while thickness >= _THINNEST:
        thin = replace(plan, thickness=thickness, overlap=min(plan.overlap, thickness // 2))
        for precision in precisions:
            yield thin, Use("train", 1, checkpointed=True, precision=precision)
        thickness //= 2
