"""What the sites' networks and the pooled moments say together about an image.

Bayes' rule takes a site's own class mix out of its network's answer: a_kc(x) = log p_k(c|x) -
log pi_k(c) is the log-likelihood of class c, up to an offset b_k(x) that the site's classes share
and that differs from site to site. Where training has taken some of the mix out already, only the
rest is divided out; where the site sent a temperature, its answers are calibrated first. Networks
err more on classes that they saw less of, so

    a_kc(x) = s_c(x) + b_k(x) + noise,  variance of the noise 1 / n_k(c),

and the common log-likelihoods s(x) are the weighted least-squares solution, b eliminated. A
site that never saw a class has no say on it, neither for nor against; sites that share classes
are linked through them. The closed-form classifier on the pooled moments (no offset between
classes, all classes known) joins as one more expert and links what no site links.

s(x) is linear in the answers, with coefficients that depend on the counts alone: experts may be
asked one after another, and only the sum of their shares is kept. So it is as long as images look
alike everywhere. Where moments say that they do not (`shift`), n_k(c) is the number of images of
the class that site k can speak for near x, and the closed form is that of a mixture of sites: a
network has less say on images of a look that it has never seen. Each image then has coefficients
of its own, which depend on the moments and not on the networks.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.errors import MethodError, Problem
from envoi.precision import exactly
from envoi.server.answers import calibrated, own_likelihoods
from envoi.server.closed_form import DescriptorClassifier, log_prior
from envoi.server.kept import Shelf
from envoi.server.pooled import pooled_moments
from envoi.server.shift import SiteDiscriminant, shifted_moments
from envoi.server.teacher import Counts, Teachers
from envoi.server.two_way import normal_matrix
from envoi.submission import Moments
from envoi.types import ImageSpec

# What the closed form weighs for each image behind it, and the power of the target prior: chosen
# on skin28's validation images over five partitions of one seed; both are flat around the choice.
MOMENTS_WEIGHT = 1.0
PRIOR_POWER = 0.8
_RIDGE = 1e-6
# Of all images, or of each.
Operator = Float[Tensor, "*image class expert class"]


class Differences(StrEnum):
    """What may differ from site to site: nothing, all classes alike, or each in its own way."""

    NONE = "none"
    SITES = "sites"
    CLASSES = "classes"


class Consensus(nn.Module):
    """The experts' common answer, as logits under a target prior.

    Args:
        teachers: The sites' networks, with moments or without.
        prior_power: The target prior is proportional to the pooled counts to this power.
        moments_weight: Weight of the closed form for each image; 0 leaves it out.
        networks: Whether the sites' networks have a say.
        differences: Which ones are believed where moments show them (`shift`).

    Where no site tells of correlations, the closed form takes features for independent, is sure of
    everything and often wrong: it has no say beside networks (`benchmarks/silent.py`).

    Memory: one network's activations at a time, and one network where they lie in files; where
    sites differ, coefficients of each image, 4 (sites + 1) classes^2 bytes.

    Raises:
        MethodError: Neither networks nor moments have a say.
        ValueError: There are no differences of this name.
    """

    operator: Tensor
    prior: Tensor

    def __init__(
        self,
        teachers: Teachers,
        *,
        prior_power: float = PRIOR_POWER,
        moments_weight: float = MOMENTS_WEIGHT,
        networks: bool = True,
        differences: Differences | str = Differences.CLASSES,
    ) -> None:
        super().__init__()
        counts = teachers.class_counts.cpu()
        learned = teachers.learned_counts.cpu()
        if not counts.any():  # nobody tells: all sites are taken for alike
            counts = learned = torch.ones_like(counts)
        moments = teachers.correlated_moments if networks else teachers.moments
        moments = moments if moments_weight > 0 else None
        if moments is None and not networks:
            remedy = "Let networks answer, or let the study release feature_moments."
            raise MethodError(Problem("networks or moments", "neither", "consensus", remedy))
        self._networks_weight, self._moments_weight = float(networks), moments_weight
        self._totals = counts.sum(dim=0)
        said = [counts * self._networks_weight]
        self.closed_form: nn.Module | None = None
        self.shift: SiteDiscriminant | None = None
        if moments is not None:
            self.closed_form = DescriptorClassifier(pooled_moments(moments, counts), teachers.image)
            self.shift = _shift(moments, counts, teachers.image, Differences(differences))
            said.append(moments_weight * counts.sum(dim=0, keepdim=True))
        self.networks: nn.ModuleList | Shelf = teachers.networks if networks else nn.ModuleList()
        self.counts, self.temperatures = learned, teachers.temperatures
        self.register_buffer("operator", consensus_operator(torch.cat(said)))
        self.register_buffer("prior", log_prior(counts.sum(dim=0), prior_power))
        self.to(teachers.device).eval()

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Logits of normalised images."""
        return self.over([images])

    def over(
        self, batches: Iterable[Float[Tensor, "batch channel height width"]]
    ) -> Float[Tensor, "image class"]:
        """Logits of all batches, which are iterated over once for each expert.

        A network that lies in a file is read once, and gone before the next one is read.
        """
        near = [self._near(images) for images in batches]
        total = torch.cat([self.prior + one.without_networks for one in near])
        for expert in range(len(self.networks)):
            total += self._shares(expert, batches, [one.operator for one in near])
        return total

    def _shares(
        self, expert: int, batches: Iterable[Tensor], operators: list[Operator]
    ) -> Float[Tensor, "image class"]:
        """What one site's answers add to the common ones."""
        network, shares = self.networks[expert], []
        for images, operator in zip(batches, operators, strict=True):
            logits = network(images).float()
            with exactly(logits.device):
                answers = calibrated(logits[None], self.temperatures[[expert]])
                own = own_likelihoods(answers, self.counts[[expert]])[0]
                shares.append(_applied(operator[..., expert, :], own))
        return torch.cat(shares)

    def _near(self, images: Tensor) -> "_Near":
        """The coefficients for images, and what is known of them without the networks."""
        with exactly(images.device):
            if self.shift is not None:
                local = self.shift(images)
                operator = self._operators(local.counts)
                return _Near(operator, _applied(operator[..., -1, :], local.likelihoods))
            if self.closed_form is None:
                return _Near(self.operator, self.prior.new_zeros(len(images), len(self.prior)))
            told = self.closed_form(images)
            return _Near(self.operator, _applied(self.operator[..., -1, :], told))

    def by_look(self) -> tuple[Float[Tensor, " look"], Operator]:
        """Shares of the sites' looks, and the coefficients for images of each; one if all agree."""
        if self.shift is None:
            return self.prior.new_ones(1), self.operator[None]
        return self.shift.shares, self._operators(self.shift.counts_by_look())

    def _operators(self, counts: Float[Tensor, "image site class"]) -> Operator:
        """The coefficients where sites can speak for so many images."""
        totals = self._moments_weight * self._totals.to(counts)
        said = [self._networks_weight * counts, totals.expand(len(counts), 1, -1)]
        return consensus_operator(torch.cat(said, dim=1))


def _shift(
    moments: Sequence[Moments], counts: Counts, image: ImageSpec, believed: Differences
) -> SiteDiscriminant | None:
    """What sites differ by, as far as it is believed; None where nothing is."""
    if believed is Differences.NONE:
        return None
    of_classes = believed is Differences.CLASSES
    shifted = shifted_moments(moments, counts, of_classes=of_classes)
    return SiteDiscriminant(shifted, image) if shifted.differ else None


class _Near(NamedTuple):
    """What holds for some images: coefficients, and the closed form's share."""

    operator: Operator
    without_networks: Float[Tensor, "batch class"]


def _applied(
    coefficients: Float[Tensor, "*image class class"], answers: Float[Tensor, "batch class"]
) -> Float[Tensor, "batch class"]:
    """One expert's share, by the coefficients of all images or of each."""
    if coefficients.ndim == 2:
        return answers @ coefficients.T
    share: Tensor = torch.einsum("bce,be->bc", coefficients, answers)
    return share


def consensus_operator(
    weights: Float[Tensor, "*image expert class"],
) -> Float[Tensor, "*image class expert class"]:
    """The matrix that takes all experts' log-likelihoods to the common ones.

    Minimises sum_kc w_kc (s_c + b_k - a_kc)^2 plus a small ridge, which settles the offset that
    nothing determines and keeps groups of classes that no expert links near one another. Answers
    are taken from each expert's mean, or else the ridge would see its offset, and rare classes
    would pay for it. A class that no expert knows answers as the others do on average.
    """
    experts, classes = weights.shape[-2:]
    several, size = weights.shape[:-2], classes + experts
    wide = weights.double()
    wide = wide / wide.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    normal = normal_matrix(wide, _RIDGE)
    # Right-hand side of answer (k, c): w_kc in row c and in row classes + k.
    sides = wide.new_zeros(*several, size, experts, classes)
    for expert in range(experts):
        sides[..., :classes, expert, :] = torch.diag_embed(wide[..., expert, :])
        sides[..., classes + expert, expert, :] = wide[..., expert, :]
    solved: Tensor = torch.linalg.solve(normal, sides.flatten(-2))[..., :classes, :]
    operator = solved.reshape(*several, classes, experts, classes)
    own = wide / wide.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    operator = operator - operator.sum(dim=-1, keepdim=True) * own[..., None, :, :]
    shares = wide.sum(dim=-2) / wide.sum(dim=(-2, -1))[..., None].clamp_min(1e-12)
    average = torch.einsum("...c,...cke->...ke", shares, operator)
    known = (shares > 0)[..., None, None]
    return torch.where(known, operator, average[..., None, :, :]).float()
