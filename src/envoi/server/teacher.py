"""The sites' networks as teachers, and the ways to combine their answers.

Logits of several sites are `(site, batch, class)`, counts `(site, class)`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.errors import MethodError, Problem
from envoi.networks.classifier import Classifier
from envoi.seeding import torch_generator
from envoi.server.kept import Filed, Held, Kept, Shelf
from envoi.study import Study
from envoi.submission import Moments, Submission, build_network
from envoi.types import ImageSpec

SiteLogits = Float[Tensor, "site batch class"]
Counts = Float[Tensor, "site class"]
PerSite = Float[Tensor, " site"]
Weighting = Callable[[SiteLogits, Counts], Float[Tensor, "batch class"]]

_PROBES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """One site's classifier, frozen, with what the site said about its images.

    Attributes:
        site: Its name in the roster.
        architecture: A key of `ARCHITECTURES`.
        kept: Its network, in evaluation mode and without gradients for its weights.
        class_names: The label map its logits follow.
        class_counts: Images of each class as released; 0 means none or too few to tell.
        moments: Of its images, or None if the study releases none.
        temperature: Divides its logits for calibrated probabilities; 1 if the site sent none.
        mix_power: The class mix behind its answers is the site's own to this power: 1 by plain
            training, 0 (flat) with class weights, in between with logit adjustment.
    """

    site: str
    architecture: str
    kept: Kept
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    moments: Moments | None = None
    temperature: float = 1.0
    mix_power: float = 1.0

    @property
    def network(self) -> Classifier:
        """The network; one that lies in a file is read at each look, and not kept."""
        return self.kept.network()


@dataclass(frozen=True, slots=True, eq=False)
class Teachers:
    """All teachers of one study.

    Attributes:
        members: At least one, all with the same label map, finite weights and finite answers.
        image: What their inputs look like.

    Raises:
        MethodError: There is no teacher, label maps differ, a weight is not finite, or a
            network answers noise with logits that are not.
    """

    members: tuple[Teacher, ...]
    image: ImageSpec

    def __post_init__(self) -> None:
        problems = _problems_of(self.members, self.image)
        if problems:
            raise MethodError(*problems)

    @classmethod
    def from_submissions(cls, submissions: Iterable[Submission], study: Study) -> "Teachers":
        """The teachers behind verified submissions, in memory, ordered by site name.

        The order of arrival must not change a single bit of the result.
        """
        members = [
            _teacher(submission, study, Held(build_network(submission, study)))
            for submission in submissions
        ]
        return cls(_by_site(members), study.image)

    @classmethod
    def from_files(cls, files: Iterable[Callable[[], Submission]], study: Study) -> "Teachers":
        """The same teachers, their networks left in the files: each of `files` reads one.

        Memory: one submission, whatever their number, and the moments of all.
        """
        members = [_teacher(opened(), study, Filed(opened, study)) for opened in files]
        return cls(_by_site(members), study.image)

    @property
    def device(self) -> torch.device:
        """Where the networks and the counts live."""
        return self.members[0].kept.device

    @property
    def networks(self) -> nn.ModuleList | Shelf:
        """All networks: modules that move along if they are in memory, else read at each look."""
        if all(isinstance(member.kept, Held) for member in self.members):
            return nn.ModuleList(member.network for member in self.members)
        return Shelf(tuple(member.kept for member in self.members))

    def on(self, device: torch.device) -> "Teachers":
        """The same teachers on `device`; these stay where they are."""
        if self.device == device:
            return self
        moved = [replace(member, kept=member.kept.on(device)) for member in self.members]
        return Teachers(tuple(moved), self.image)

    def in_memory(self) -> "Teachers":
        """The same teachers with all networks in memory, for what asks them again and again."""
        if all(isinstance(member.kept, Held) for member in self.members):
            return self
        held = [replace(member, kept=Held(member.network)) for member in self.members]
        return Teachers(tuple(held), self.image)

    def alike(self) -> "Teachers":
        """For counting arithmetic: of each architecture one network, which stands for the others.

        Networks that are read while operations are counted stay in memory until Python's
        collector finds them.
        """
        first = {member.architecture: member for member in reversed(self.members)}
        held = {name: Held(member.network) for name, member in first.items()}
        stand_ins = [replace(member, kept=held[member.architecture]) for member in self.members]
        return Teachers(tuple(stand_ins), self.image)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The common label map."""
        return self.members[0].class_names

    @property
    def class_counts(self) -> Counts:
        """Images of each class at each site."""
        counts = [member.class_counts for member in self.members]
        return torch.tensor(counts, dtype=torch.float32, device=self.device)

    @property
    def mix_powers(self) -> PerSite:
        """To which power of its site's class mix each network answers."""
        powers = [member.mix_power for member in self.members]
        return torch.tensor(powers, dtype=torch.float32, device=self.device)

    @property
    def learned_counts(self) -> Counts:
        """The class mix behind each network's answers: its site's, to the network's power."""
        counts = self.class_counts
        return torch.where(counts > 0, counts ** self.mix_powers[:, None], 0.0)

    @property
    def temperatures(self) -> PerSite:
        """What divides each network's logits for calibrated probabilities."""
        temperatures = [member.temperature for member in self.members]
        return torch.tensor(temperatures, dtype=torch.float32, device=self.device)

    @property
    def moments(self) -> list[Moments] | None:
        """Moments of every site's images; None unless all sites sent theirs, with some count."""
        found = [member.moments for member in self.members if member.moments is not None]
        whole = len(found) == len(self.members) and bool(self.class_counts.any())
        return found if whole else None

    @property
    def correlated_moments(self) -> list[Moments] | None:
        """The moments, if any site tells how features vary together; else a Gaussian is a guess."""
        moments = self.moments
        told = moments is not None and any(site.has_correlations for site in moments)
        return moments if told else None

    def moments_for(self, purpose: str) -> list[Moments]:
        """Moments of every site's images, for something that cannot do without.

        Raises:
            MethodError: A site sent none.
        """
        if self.moments is None:
            silent = [member.site for member in self.members if member.moments is None]
            found = f"none from {', '.join(silent[:5])}" if silent else "no class large enough"
            change = "release feature_moments" if silent else "lower its minimum class size"
            remedy = f"Let the study {change}, or choose another method."
            raise MethodError(Problem("moments of every site", found, purpose, remedy))
        return self.moments


class Ensemble(nn.Module):
    """All teachers as one classifier; its logits are a `Weighting` of theirs."""

    def __init__(self, teachers: Teachers, weighting: Weighting) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in teachers.members)
        self.weighting = weighting
        self.counts = teachers.class_counts
        self.eval()

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Combined logits of normalised images."""
        return self.weighting(site_logits(self.networks, images), self.counts.to(images.device))


def answers_are_finite(network: nn.Module, image: ImageSpec, device: torch.device) -> bool:
    """Whether `network`, as it is, answers a batch of seeded noise with finite logits.

    Finite weights do not suffice: sums of products of large ones overflow.
    """
    size = (_PROBES, image.channels, image.size_px, image.size_px)
    noise = torch.randn(size, generator=torch_generator(0, "probe")).to(device)
    with torch.inference_mode():
        return bool(network(noise).isfinite().all())


def site_logits(
    networks: Iterable[nn.Module], images: Float[Tensor, "batch channel height width"]
) -> SiteLogits:
    """The logits of each network, stacked."""
    return torch.stack([network(images) for network in networks])


def mean_logits(logits: SiteLogits, counts: Counts) -> Float[Tensor, "batch class"]:  # noqa: ARG001
    """The plain mean, FedISCA's and DENSE's teacher: every site has the same say."""
    return logits.mean(dim=0)


def mean_probabilities(logits: SiteLogits, counts: Counts) -> Float[Tensor, "batch class"]:  # noqa: ARG001
    """The logarithm of the mean probabilities."""
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(len(logits))


def size_weighted(logits: SiteLogits, counts: Counts) -> Float[Tensor, "batch class"]:
    """The logarithm of the mean probabilities, each site weighted by its number of images."""
    sizes = count_shares(counts.sum(dim=1, keepdim=True))
    return (sizes.log()[:, None] + logits.log_softmax(dim=-1)).logsumexp(dim=0)


def class_count_weighted(logits: SiteLogits, counts: Counts) -> Float[Tensor, "batch class"]:
    """Each site has a say on a class in proportion to the images of it that it has.

    Proportional to sum_k n_k(c)/N(c) p_k(c|x): a site that never saw a class no longer votes
    against it.
    """
    weighted = (count_shares(counts).log()[:, None] + logits.log_softmax(dim=-1)).logsumexp(dim=0)
    return weighted.log_softmax(dim=-1)


WEIGHTINGS: dict[str, Weighting] = {
    "mean_logits": mean_logits,
    "mean_probabilities": mean_probabilities,
    "size": size_weighted,
    "class_count": class_count_weighted,
}


def count_shares(counts: Float[Tensor, "site column"]) -> Float[Tensor, "site column"]:
    """Each column divided by its sum; equal shares where nobody reported any image."""
    totals = counts.sum(dim=0)
    return torch.where(totals > 0, counts / totals.clamp_min(1), 1 / len(counts))


def _teacher(submission: Submission, study: Study, kept: Kept) -> Teacher:
    return Teacher(
        submission.site,
        submission.architecture,
        kept,
        tuple(study.classes),
        tuple(submission.class_counts),
        submission.moments,
        submission.temperature or 1.0,
        (submission.manifest.card.settings or study.training).mix_power,
    )


def _by_site(members: Iterable[Teacher]) -> tuple[Teacher, ...]:
    return tuple(sorted(members, key=lambda member: member.site))


def _problems_of(members: tuple[Teacher, ...], image: ImageSpec) -> list[Problem]:
    if not members:
        return [
            Problem("at least one teacher", "none", "teachers", "Collect the submissions first.")
        ]
    problems = []
    for member in members:
        if member.class_names != members[0].class_names:
            expected = f"the label map of {members[0].site}"
            remedy = "Distil only submissions of one study."
            problems.append(Problem(expected, "another one", f"teacher {member.site}", remedy))
        problems += _problems_of_network(member, member.network, image)
    return problems


def _problems_of_network(member: Teacher, network: Classifier, image: ImageSpec) -> list[Problem]:
    where, problems = f"teacher {member.site}", []
    sizes = {network.fc.out_features, len(member.class_counts), len(member.class_names)}
    if len(sizes) > 1:
        problems.append(
            Problem(
                f"logits and counts of {len(member.class_names)} classes",
                f"{network.fc.out_features} and {len(member.class_counts)}",
                where,
                "Give one logit and one count for each class.",
            )
        )
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        problems.append(Problem("finite weights", "NaN or infinity", where, "Leave this site out."))
    elif not answers_are_finite(network, image, member.kept.device):
        remedy = "Leave this site out, and ask it to look at its training."
        expected = "finite logits for noise images"
        problems.append(Problem(expected, "NaN or infinity", where, remedy))
    return problems
