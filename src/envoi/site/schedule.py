"""The learning rate as a pure function of the step, so that a resumed loop needs no scheduler."""

import math

from envoi.settings import TrainingSettings

_WARM_UP_FRACTION = 0.3
_START_DIVISOR = 25.0
_END_DIVISOR = 1e4


def learning_rate(settings: TrainingSettings, *, step: int, steps_per_epoch: int) -> float:
    """The rate of the step with index `step`, counted from 0 over all epochs.

    `steps` falls tenfold at each milestone, at the start of an epoch. `one-cycle` rises along a
    cosine to `settings.rate` and falls along one to nearly nothing (arXiv:1708.07120, with
    PyTorch's defaults: 30 % warm-up from a 25th, down to a 10,000th of the start).
    """
    if settings.schedule == "steps":
        epoch = step // steps_per_epoch
        passed = sum(epoch >= fraction * settings.epochs for fraction in settings.milestones)
        return settings.rate * 0.1**passed
    last = settings.epochs * steps_per_epoch - 1
    if last == 0:
        return settings.rate
    peak = _WARM_UP_FRACTION * (last + 1) - 1
    start = settings.rate / _START_DIVISOR
    if step <= peak:
        return _cosine(start, settings.rate, step / peak)
    return _cosine(settings.rate, start / _END_DIVISOR, (step - peak) / (last - peak))


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
