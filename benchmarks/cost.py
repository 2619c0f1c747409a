"""What `envoi` costs the server beside FedISCA at its published setting, on the same networks.

    python benchmarks/cost.py skin28.npz --out benchmarks/results/cost.json

Five sites send one network each and the moments of their images; weights are those of the seed,
as no training changes what a step costs. Arithmetic is that of the matrix products of the whole
job (`flop`), for a small network and for the paper's. Seconds are measured with the small one,
both methods in turn in one process:

- `envoi` at budget `smoke` runs whole. At `full` an image is charged what one took at `smoke`,
  and a few steps are timed and multiplied.
- FedISCA at its published setting (`full`: 100 epochs of 500 steps of 256 images) takes hours on
  one core. A few steps are timed after a first one, and multiplied: an extrapolation, of a loop
  whose steps are all alike.

Seconds of the processor stand beside those of the clock on the wall: other work on the machine
lengthens the latter alone.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import environment
from envoi.networks import build
from envoi.networks.descriptor import Descriptor
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.server.kept import Held
from envoi.server.methods import Method
from envoi.server.methods.data_free import DataFree
from envoi.server.methods.envoi import envoi
from envoi.server.methods.fedisca import fedisca
from envoi.server.methods.method import flop_of
from envoi.server.teacher import Teacher, Teachers
from envoi.settings import Budget
from envoi.simulation.partition import partition
from envoi.site.moments import feature_moments
from envoi.transforms import normalise
from envoi.types import ImageSet, ImageSpec

SITES = 5
COUNTED = ("convnet-small", "resnet18")
TIMED = COUNTED[0]
COUNTED_IMAGES = 4
SMOKE, FULL = Budget.preset("smoke"), Budget.preset("full")
JOBS: dict[str, tuple[Method, Budget]] = {
    "envoi_smoke": (envoi(), SMOKE),
    "envoi_full": (envoi(), FULL),
    "fedisca_full": (fedisca(), FULL),
}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
Ticks = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Seconds by one clock.

    Attributes:
        envoi_smoke: Of the whole job.
        envoi_image: Of drawing one image and answering on it with all teachers.
        envoi_step: Of one student step at `full`.
        fedisca_step: Of one step of synthesis and distillation at `full`.
    """

    envoi_smoke: float
    envoi_image: float
    envoi_step: float
    fedisca_step: float

    def jobs(self) -> dict[str, float]:
        """Of each whole job."""
        bank = FULL.bank_images * self.envoi_image + FULL.bank_steps * self.envoi_step
        steps = FULL.outer_epochs * FULL.synthesis_steps
        return {
            "envoi_smoke": self.envoi_smoke,
            "envoi_full": bank,
            "fedisca_full": steps * self.fedisca_step,
        }


def main() -> None:
    """Count, measure in turn, and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed in each repeat")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = load_medmnist(options.data).train
    flop = {network: counted(make_teachers(images, network)) for network in COUNTED}
    teachers = make_teachers(images, TIMED)
    repeats = [measured(teachers, options.steps) for _ in range(options.repeats)]
    report = {
        "data": options.data.stem,
        "image": asdict(teachers.image),
        "sites": SITES,
        "environment": environment(),
        "budgets": {name: asdict(budget) for name, (_, budget) in JOBS.items()},
        "flop": flop,
        "flop_ratio": {network: ratios(jobs) for network, jobs in flop.items()},
        "network_of_seconds": TIMED,
        "repeats": options.repeats,
        "steps_timed_in_each_repeat": options.steps,
        "extrapolated": ["envoi_full", "fedisca_full"],
        "seconds": {clock: summary([found[clock] for found in repeats]) for clock in CLOCKS},
    }
    write_json(options.out, report)
    print(json.dumps(report, indent=2))


def make_teachers(images: ImageSet, network: str) -> Teachers:
    """Sites of a Dirichlet partition: the network of the seed, and the moments of the images."""
    spec, classes = ImageSpec.of(*images.images.shape[1:3]), len(images.class_names)
    features = Descriptor(spec.channels, spec.size_px)(normalise(images.images, spec)).numpy()
    members = []
    for site, part in enumerate(partition(images, scheme="dirichlet-0.3", sites=SITES, seed=0)):
        labels = images.labels[part]
        moments = feature_moments(
            features[part], labels, classes=classes, minimum=10, minimum_covariance=100
        )
        counts = tuple(np.bincount(labels, minlength=classes).tolist())
        model = build(network, channels=spec.channels, classes=classes, seed=0)
        kept = Held(model)
        members.append(Teacher(f"site-{site}", network, kept, images.class_names, counts, moments))
    return Teachers(tuple(members), spec)


def counted(teachers: Teachers) -> dict[str, float]:
    """Floating-point operations of each job."""
    return {name: _flop(method, teachers, budget) for name, (method, budget) in JOBS.items()}


def measured(teachers: Teachers, steps: int) -> dict[str, Pieces]:
    """One repeat: both methods in turn; the pieces by each clock."""
    few = replace(FULL, outer_epochs=1, synthesis_steps=steps + 1)
    few = replace(few, bank_images=FULL.bank_batch, bank_steps=steps + 1)
    smoke = ticked(envoi(), teachers, SMOKE)
    path = ticked(fedisca(), teachers, few)
    bank = ticked(envoi(), teachers, few)
    return {clock: _pieces(smoke[clock], bank[clock], path[clock]) for clock in CLOCKS}


def ticked(method: Method, teachers: Teachers, budget: Budget) -> Ticks:
    """What the clocks show before `fit` and after each of its steps."""
    ticks: Ticks = {clock: [now()] for clock, now in CLOCKS.items()}

    def tick(_: StepInfo) -> None:
        for clock, now in CLOCKS.items():
            ticks[clock].append(now())

    draws = torch_generator(0, "cost")
    method.fit(teachers, _student(teachers), budget=budget, generator=draws, on_step=tick)
    return ticks


def summary(repeats: list[Pieces]) -> dict[str, object]:
    """Medians over the repeats of each piece, what they make whole jobs cost, and the ratios."""
    median = Pieces(
        *(statistics.median(values) for values in zip(*map(_values, repeats), strict=True))
    )
    return {
        "jobs": median.jobs(),
        "ratio": ratios(median.jobs()),
        "ratio_in_each_repeat": [ratios(found.jobs()) for found in repeats],
        "pieces": asdict(median),
        "pieces_in_each_repeat": [asdict(found) for found in repeats],
    }


def ratios(jobs: dict[str, float]) -> dict[str, float]:
    """How many times cheaper than FedISCA's the jobs of `envoi` are."""
    return {
        name: jobs["fedisca_full"] / cost for name, cost in jobs.items() if name != "fedisca_full"
    }


def _flop(method: Method, teachers: Teachers, budget: Budget) -> float:
    """Of the whole job; those of a batch of FedISCA are counted on fewer images, to fit memory."""
    share = budget.batch_size / COUNTED_IMAGES if isinstance(method, DataFree) else 1.0
    few = replace(budget, batch_size=COUNTED_IMAGES)
    return share * flop_of(method, teachers, _student(teachers), budget=few)


def _pieces(smoke: list[float], bank: list[float], path: list[float]) -> Pieces:
    filling = smoke[1] - smoke[0] - _step(smoke)
    return Pieces(
        envoi_smoke=smoke[-1] - smoke[0],
        envoi_image=filling / SMOKE.bank_images,
        envoi_step=_step(bank),
        fedisca_step=_step(path),
    )


def _step(ticks: list[float]) -> float:
    """Median seconds of a step; the first, with all preparations in it, is left out."""
    return statistics.median(after - before for before, after in pairwise(ticks[1:]))


def _student(teachers: Teachers) -> torch.nn.Module:
    spec, classes = teachers.image, len(teachers.class_names)
    network = teachers.members[0].architecture
    return build(network, channels=spec.channels, classes=classes, seed=0)


def _values(pieces: Pieces) -> tuple[float, ...]:
    return tuple(asdict(pieces).values())


if __name__ == "__main__":
    main()
