"""Conventional federated learning in rounds, the baselines that one-shot learning is held against.

Federated averaging (arXiv:1602.05629, algorithm 1) with every site in every round, and FedProx
(arXiv:1812.06127, algorithm 2), which adds mu/2 ||w - w_t||^2 to each site's loss. Sites train
as for a one-shot study (batches, augmentation, class weights, momentum, weight decay, split),
but for the learning rate: it is constant. No part of a run depends on how many rounds it has,
so the models after 1, 5, 20 and 100 rounds of one run are those of runs of that length.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from envoi.checkpoint import Checkpoint, State, pack, restore_module, unpack
from envoi.errors import DataError, Problem, SettingsError
from envoi.files import canonical_json, digest
from envoi.networks.classifier import Classifier, chosen_device
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.settings import TrainingSettings
from envoi.simulation.averaging import average, proximal_term
from envoi.simulation.multi_round import RoundSettings
from envoi.site.course import Course
from envoi.site.job import check_images, job_fingerprint
from envoi.site.state import TrainingState
from envoi.site.train import without_harmful_flips
from envoi.study import Study
from envoi.types import ImageSet


@dataclass(frozen=True, slots=True, eq=False)
class RoundModel:
    """The server's model after a number of rounds.

    Attributes:
        rounds: So many.
        network: In evaluation mode, on the CPU.
        server_seconds: Wall time of averaging in all rounds, those before a kill included.
        site_seconds: Wall time of the training steps of all sites in all rounds.
    """

    rounds: int
    network: Classifier
    server_seconds: float
    site_seconds: float


def run_rounds(  # noqa: PLR0913  (a loop's inputs, each of another kind)
    images: Mapping[str, ImageSet],
    milestones: Sequence[int],
    *,
    study: Study,
    settings: RoundSettings,
    seed: int,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = ignore_step,
    device: torch.device | None = None,
) -> Iterator[RoundModel]:
    """The server's model after each number of rounds in `milestones`, in rising order.

    Args:
        images: Each site's own, by its name.
        milestones: Numbers of rounds, from 1.
        study: Its first architecture is that of all sites.
        settings: Of the rounds.
        seed: Of each site's training, as in `envoi.site.train`.
        checkpoint: Written after every round. It stays, so that a later call goes on to later
            milestones; for one that lies before it, the run starts anew.
        on_step: Told of every round: `train_loss` as the sites trained, `validation_loss` and
            `validation_accuracy` of the averaged model on all sites' validation parts.
        device: None is the first GPU, or else the CPU.

    Raises:
        DataError: A site has no image, or its images do not fit the study.
        SettingsError: A milestone below 1, batches of one image, a loss that is no longer
            finite, or the checkpoint of another job.
    """
    _check(images, milestones, study)
    device = chosen_device(device)
    local = without_harmful_flips(settings.local(study.training), study)
    sites = [
        _Site(Course(own, study, local, (seed, name), device), local, len(own))
        for name, own in images.items()
    ]
    run = _Run(study.network().to(device), sites, settings)
    checkpoint = checkpoint or Checkpoint()
    saved = checkpoint.load()
    if saved and int(saved["rounds"]) <= min(milestones):
        run.restore(saved)

    def models() -> Iterator[RoundModel]:
        for milestone in sorted(milestones):
            while run.rounds < milestone:
                losses = run.advance()
                checkpoint.save(run.tensors())
                step, steps = run.rounds, max(milestones)
                on_step(StepInfo(settings.algorithm, step, steps, losses, epoch=step))
            yield run.model(study)

    return models()


def rounds_fingerprint(
    images: Mapping[str, ImageSet], *, study: Study, settings: RoundSettings, seed: int
) -> str:
    """Identifies a run by all that decides its rounds, for its checkpoint."""
    local, architecture = settings.local(study.training), study.architectures[0]
    sites = [
        job_fingerprint(
            own, study=study, architecture=architecture, settings=local, seed=seed, name=name
        )
        for name, own in images.items()
    ]
    return digest(canonical_json([sites, asdict(settings)]).encode())


class _Site:
    """One site: its images and what it does in a round."""

    def __init__(self, course: Course, local: TrainingSettings, images: int) -> None:
        self.course, self.images = course, images
        self._local = local

    def update(self, network: Classifier, start: State, *, rounds: int, mu: float) -> "_Update":
        """Train `network` from `start` for this site's epochs of the round after `rounds`.

        ClientUpdate(k, w_t) of arXiv:1602.05629, algorithm 1. The optimiser is new, so momentum
        does not outlive a round.
        """
        restore_module(network, start)
        state = TrainingState(network, self._local)
        state.epoch = rounds * self._local.epochs
        penalty = partial(proximal_term, start=start, mu=mu) if mu else None
        loss = 0.0
        for _ in range(self._local.epochs):
            self.course.learn(state, penalty=penalty)
            loss = state.mean_loss
            state.finish_epoch(None)
        return _Update(_copied(network), self.images, loss, state.seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Update:
    """What a site sends up, and for the record the loss of its last epoch and its wall time."""

    weights: State
    images: int
    loss: float
    seconds: float


class _Run:
    """The server's model, the sites, and what the rounds have cost so far."""

    def __init__(
        self, network: Classifier, sites: Sequence[_Site], settings: RoundSettings
    ) -> None:
        self._network, self._sites, self._settings = network, sites, settings
        self.rounds = 0
        self._server_seconds = self._site_seconds = 0.0

    def advance(self) -> dict[str, float]:
        """One round: every site trains from the server's weights, the server averages."""
        start, mu = _copied(self._network), self._settings.mu
        updates = [
            site.update(self._network, start, rounds=self.rounds, mu=mu) for site in self._sites
        ]
        began = time.monotonic()
        sizes = [update.images for update in updates]
        restore_module(self._network, average([update.weights for update in updates], sizes))
        self._server_seconds += time.monotonic() - began
        self._site_seconds += sum(update.seconds for update in updates)
        self.rounds += 1
        loss = sum(u.loss * u.images for u in updates) / sum(sizes)
        return {"train_loss": loss, **self._validate()}

    def _validate(self) -> dict[str, float]:
        """Of the averaged model on the validation images of all sites together."""
        parts = [s.course.held_out(self._network) for s in self._sites if s.course.validates]
        if not parts:
            return {}
        logits, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        return {
            "validation_loss": float(cross_entropy(logits, labels)),
            "validation_accuracy": float((logits.argmax(dim=1) == labels).double().mean()),
        }

    def model(self, study: Study) -> RoundModel:
        """The server's model as it is now, on its own."""
        network = study.network()
        restore_module(network, self._network.state_dict())
        return RoundModel(self.rounds, network.eval(), self._server_seconds, self._site_seconds)

    def tensors(self) -> State:
        """Everything that the next round needs."""
        seconds = (self._server_seconds, self._site_seconds)
        return {
            "rounds": torch.tensor(self.rounds),
            "seconds": torch.tensor(seconds, dtype=torch.float64),
            **pack("network", self._network.state_dict()),
        }

    def restore(self, tensors: State) -> None:
        """Go on from what `tensors` gave."""
        self.rounds = int(tensors["rounds"])
        self._server_seconds, self._site_seconds = tensors["seconds"].tolist()
        restore_module(self._network, unpack("network", tensors))


def _copied(network: Classifier) -> State:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _check(images: Mapping[str, ImageSet], milestones: Sequence[int], study: Study) -> None:
    if not milestones or min(milestones) < 1:
        found = ", ".join(map(str, milestones)) or "none"
        remedy = "Ask for one round at least."
        raise SettingsError(Problem("numbers of rounds from 1", found, "milestones", remedy))
    if not images:
        raise DataError(Problem("at least one site", "none", "sites", "Give the sites' images."))
    for own in images.values():
        check_images(own, study)
