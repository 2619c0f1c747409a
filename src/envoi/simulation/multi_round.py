"""What is asked of conventional federated learning: an algorithm, its settings, its rounds.

A benchmark names them `fedavg_rounds_R` and `fedprox_rounds_R`, for any number of rounds R.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from envoi.errors import MethodError, Problem, SettingsError
from envoi.settings import TrainingSettings

_NAME = re.compile(r"(fedavg_rounds|fedprox_rounds)(?:_(.*))?", re.DOTALL)
_ROUNDS = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSettings:
    """How sites and server learn in rounds.

    The rate is constant, as in arXiv:1602.05629 and arXiv:1812.06127: a schedule would have to
    know how many rounds there will be. 0.02 was chosen on the sites' validation images, never
    on test images: skin28, 5 sites, dirichlet-0.3, convnet-small, batches of 32, augmentation,
    momentum 0.9, seeds 0 to 2. Validation loss (accuracy) of the averaged model, mean of rounds
    8 to 10 and of the seeds: 0.005: 0.904 (69.6 %), 0.01: 0.893 (70.0 %), 0.02: 0.878 (70.4 %),
    0.05: 0.888 (69.7 %), which also jumps by up to 0.16 from round to round. It is flat around
    the choice; other data may want another.

    Attributes:
        rate: Learning rate of every step of every round.
        local_epochs: Passes over a site's training part in one round (E).
        mu: Weight of the proximal term; 0 is federated averaging.
    """

    rate: float = 0.02
    local_epochs: int = 1
    mu: float = 0.0

    def __post_init__(self) -> None:
        # A step along the proximal term alone goes (rate mu) of the way back to w_t: above 1 it
        # overshoots, and soon diverges.
        checks = {
            "rate": (self.rate > 0, "a value above 0"),
            "local_epochs": (self.local_epochs >= 1, "1 or more"),
            "mu": (0 <= self.mu * self.rate <= 1, "0 up to 1 / rate"),
        }
        problems = [
            Problem(expected, repr(getattr(self, name)), name, f"Correct {name}.")
            for name, (holds, expected) in checks.items()
            if not holds
        ]
        if problems:
            raise SettingsError(*problems)

    @property
    def algorithm(self) -> str:
        """`fedavg_rounds` or `fedprox_rounds`."""
        return "fedprox_rounds" if self.mu else "fedavg_rounds"

    def local(self, training: TrainingSettings) -> TrainingSettings:
        """The sites' `training` with this rate, constant, and no early stopping."""
        return replace(
            training,
            rate=self.rate,
            epochs=self.local_epochs,
            schedule="steps",
            milestones=(),
            patience=0,
        )


@dataclass(frozen=True, slots=True)
class MultiRound:
    """Conventional federated learning of so many rounds: a row of a benchmark.

    Those of one benchmark whose settings are equal share one run, to the largest `rounds`.
    """

    rounds: int
    settings: RoundSettings = field(default_factory=RoundSettings)

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingsError(
                Problem("1 or more", repr(self.rounds), "rounds", "Ask for one round at least.")
            )


# mu is one of the four that arXiv:1812.06127 tries on real data (0.001, 0.01, 0.1, 1).
ALGORITHMS = {"fedavg_rounds": RoundSettings(), "fedprox_rounds": RoundSettings(mu=0.01)}


def multi_round_called(name: str) -> MultiRound | None:
    """What `fedavg_rounds_R` or `fedprox_rounds_R` asks for; None for any other kind of name.

    Raises:
        MethodError: R is missing, or not a whole number from 1.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    algorithm, rounds = found.groups()
    if not _ROUNDS.fullmatch(rounds or ""):
        raise MethodError(
            Problem(
                f"{algorithm}_R with a number of rounds R from 1",
                repr(name)[:80],
                "method",
                f"Write the rounds at the end, such as {algorithm}_20.",
            )
        )
    return MultiRound(int(rounds), ALGORITHMS[algorithm])


def check_one_architecture(networks: Iterable[str], methods: Iterable[str]) -> None:
    """Refuse multi-round `methods` where sites have networks that cannot be averaged.

    Raises:
        MethodError: There is such a method and more than one architecture.
    """
    names, found = list(methods), list(dict.fromkeys(networks))
    if names and len(found) > 1:
        raise MethodError(
            Problem(
                "one architecture at all sites",
                ", ".join(found),
                names[0],
                "Leave out the multi-round methods, or give all sites the same network.",
            )
        )
