"""Simulated hospitals around one server, on disk as real ones would be.

    study.toml      what all agreed on
    sites/<site>/   each site's working folder
    inbox/          the one file of each site
    server/         the ledger and the accepted copies
    rounds/         where conventional learning in rounds goes on from

Each step can be repeated: what is already there is not computed again, so an interrupted
simulation goes on where it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from envoi.checkpoint import Checkpoint
from envoi.errors import Problem, StudyError
from envoi.files import file_digest, write_text
from envoi.networks.classifier import chosen_device
from envoi.progress import OnStep, ignore_step
from envoi.results import SiteResult
from envoi.seeding import derive_seed
from envoi.server.collect import accepted, collect
from envoi.server.teacher import Teachers
from envoi.settings import TrainingSettings, problems_of
from envoi.simulation.multi_round import RoundSettings
from envoi.simulation.partition import Natural, Partition, partition
from envoi.simulation.rounds import RoundModel, rounds_fingerprint, run_rounds
from envoi.site.export import release
from envoi.site.job import job_fingerprint
from envoi.site.train import TrainedSite, train
from envoi.study import StatisticsPolicy, Study, write_study
from envoi.study.contract import Initialisation, WeightFormat
from envoi.submission import (
    describe,
    network_bytes,
    open_submission,
    public_text,
    write_submission,
)
from envoi.types import DataSet, ImageSet, ImageSpec

# Simulations run on public or generated images, and their sites are small: correlations may leave
# from a hundred images on, where a real study would ask for more.
STATISTICS = StatisticsPolicy(
    release=("class_counts", "feature_moments"), minimum_covariance_images=100
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """What a simulated federation is like.

    Attributes:
        partition: How the training images are spread over sites.
        sites: Number of sites; ignored where the data's own column decides.
        networks: Architectures, dealt to the sites in turn; the first is the student's.
        training: How each site trains.
        weight_format: How weights travel.
        statistics: What leaves beside the network.
        backbone: Checkpoint that every network starts from (`envoi.networks.backbone`), in place
            of the seed; it fits one architecture alone.
        seed: Of the partition, the shared initialisation and every site's training.
    """

    partition: Partition
    sites: int = 5
    networks: tuple[str, ...] = ("resnet10-small",)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    weight_format: WeightFormat = "fp16"
    statistics: StatisticsPolicy = STATISTICS
    backbone: Path | None = None
    seed: int = 0


class Federation:
    """Sites with their parts of one data set, and the server's folder.

    Args:
        data: Only its training images are given to sites.
        settings: Partition, networks, training, seed.
        folder: Where files are kept; equal settings may go on in it.
        shared: Folder that several federations on the same data have in common: the pooled
            reference does not depend on the partition and is trained once.
        device: Where sites train; None is the first GPU, or else the CPU.
    """

    def __init__(
        self,
        data: DataSet,
        settings: FederationSettings,
        folder: Path,
        *,
        shared: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.device = chosen_device(device)
        self.data, self.settings, self.folder = data, settings, folder
        self._shared = shared or folder / "sites" / "pooled"
        parts = partition(
            data.train,
            scheme=settings.partition,
            sites=settings.sites,
            seed=derive_seed(settings.seed, "partition"),
        )
        self.images = {
            f"site-{number}": data.train.subset(part) for number, part in enumerate(parts, start=1)
        }
        self.study = _study_of(data, settings, list(self.images))
        write_study(folder / "study.toml", self.study)

    def train_sites(self, on_step: OnStep = ignore_step) -> list[SiteResult]:
        """Each site trains on its own images and leaves its one file in the inbox."""
        return [self._submit(site, on_step) for site in self.images]

    @property
    def image_bytes_per_site(self) -> int:
        """What a site would move on average if images could travel: their stored pixels."""
        return round(self.data.train.images.nbytes / len(self.images))

    def teachers(self) -> Teachers:
        """What the server makes of the inbox: verified submissions, as teachers."""
        collect(self.folder / "inbox", self.folder / "server", study=self.study)
        return Teachers.from_submissions(
            accepted(self.folder / "server", study=self.study), self.study
        )

    def train_pooled(self, on_step: OnStep = ignore_step) -> TrainedSite:
        """The upper reference: the same network and settings on all images together."""
        architecture = self.study.architectures[0]
        return self._train("pooled", self.data.train, architecture, on_step, self._shared)

    def rounds(
        self, milestones: Sequence[int], settings: RoundSettings, on_step: OnStep = ignore_step
    ) -> Iterator[RoundModel]:
        """Conventional learning by the same sites: the model after each number of rounds."""
        if not milestones:
            return iter(())
        seed = self.settings.seed
        fingerprint = rounds_fingerprint(
            self.images, study=self.study, settings=settings, seed=seed
        )
        path = self.folder / "rounds" / f"{fingerprint[:16]}.checkpoint"
        return run_rounds(
            self.images,
            milestones,
            study=self.study,
            settings=settings,
            seed=seed,
            checkpoint=Checkpoint(path, fingerprint=fingerprint),
            on_step=on_step,
            device=self.device,
        )

    def _submit(self, site: str, on_step: OnStep) -> SiteResult:
        number = list(self.images).index(site)
        file = self.folder / "inbox" / f"{site}.safetensors"
        seconds = self.folder / "sites" / site / "seconds"
        if not file.exists():
            trained = self._train(
                site, self.images[site], self._architecture(number), on_step, seconds.parent
            )
            write_text(seconds, f"{trained.seconds:.1f}")
            write_submission(
                file,
                release(trained, self.images[site], study=self.study),
                study=self.study,
                site=site,
                sequence=1,
                key=simulated_key(self.settings.seed, site),
            )
        sent = open_submission(file, study=self.study)
        return SiteResult(
            site=site,
            architecture=sent.architecture,
            class_counts=sent.class_counts,
            bytes_sent=sent.bytes,
            train_seconds=float(seconds.read_text()),
            statement=tuple(describe(sent.manifest, self.study.classes, asked=self.study.training)),
            network_bytes=network_bytes(self.study, sent.architecture),
            origin=self._origin(site),
        )

    def _origin(self, site: str) -> str:
        """The hospital that the data's own column names, where that column made the sites."""
        named = self.images[site].sites
        natural = isinstance(self.settings.partition, Natural)
        return str(named[0]) if natural and named is not None else ""

    def _train(
        self, name: str, images: ImageSet, architecture: str, on_step: OnStep, folder: Path
    ) -> TrainedSite:
        seed = self.settings.seed
        fingerprint = job_fingerprint(
            images,
            study=self.study,
            architecture=architecture,
            settings=self.study.training,
            seed=seed,
            name=name,
        )
        path = folder / f"{fingerprint[:16]}.checkpoint"
        return train(
            images,
            study=self.study,
            architecture=architecture,
            seed=seed,
            name=name,
            checkpoint=Checkpoint(path, fingerprint=fingerprint),
            on_step=on_step,
            device=self.device,
        )

    def _architecture(self, site: int) -> str:
        return self.settings.networks[site % len(self.settings.networks)]


def simulated_key(seed: int, site: str) -> Ed25519PrivateKey:
    """A simulated site's key: drawn from the seed, so worth nothing outside simulations."""
    secret = b"".join(derive_seed(seed, "key", site, part).to_bytes(8, "big") for part in range(4))
    return Ed25519PrivateKey.from_private_bytes(secret)


def _study_of(data: DataSet, settings: FederationSettings, sites: Sequence[str]) -> Study:
    shape = data.train.images.shape
    folder, initialisation = Path(), None
    if settings.backbone is not None:
        folder, digest = settings.backbone.parent, backbone_digest(settings.backbone)
        initialisation = Initialisation(file=settings.backbone.name, sha256=digest)
    try:
        study = Study(
            name=data.name,
            classes=data.train.class_names,
            image=ImageSpec.of(shape[1], shape[2]),
            architectures=tuple(dict.fromkeys(settings.networks)),
            seed=settings.seed,
            minimum_sites=len(sites),
            weight_format=settings.weight_format,
            statistics=settings.statistics,
            training=settings.training,
            sites={site: public_text(simulated_key(settings.seed, site)) for site in sites},
            initialisation=initialisation,
        )
    except ValidationError as err:
        raise StudyError(*problems_of(err, where="simulated study", known=[])) from err
    return study.placed(folder)


def backbone_digest(path: Path) -> str:
    """SHA-256 of a checkpoint.

    Raises:
        StudyError: It cannot be read.
    """
    try:
        return file_digest(path)
    except OSError as err:
        remedy = "Name a safetensors or .pth file with torchvision's names."
        raise StudyError(Problem("a checkpoint file", "none", path.name, remedy)) from err
