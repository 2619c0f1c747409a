"""Three more ways to combine the sites' answers, which read what each site has seen.

`prior_corrected` takes each site's class mix out before the answers are mixed, `abstaining` lets
a site speak only of classes it has, and `SiteGate` asks which site an image looks like. All three
calibrate answers where sites sent temperatures, and know the class mix that training left in them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.descriptor import Descriptor
from envoi.server.answers import calibrated, own_likelihoods, under_own_mix
from envoi.server.closed_form import discriminant, log_prior
from envoi.server.consensus import PRIOR_POWER
from envoi.server.pooled import PooledMoments, pooled_moments
from envoi.server.teacher import Counts, SiteLogits, Teachers, count_shares, site_logits

Logits = Float[Tensor, "batch class"]
Rule = Callable[[SiteLogits, Counts], Logits]


class LikelihoodEnsemble(nn.Module):
    """All teachers as one classifier; its logits are a rule's of their likelihoods and counts."""

    def __init__(self, teachers: Teachers, rule: Rule) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in teachers.members)
        self.temperatures, self.rule = teachers.temperatures, rule
        self.counts, self.learned = teachers.class_counts, teachers.learned_counts
        self.eval()

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Logits:
        """Logits of normalised images."""
        logits = calibrated(site_logits(self.networks, images), self.temperatures)
        likelihoods = own_likelihoods(logits, self.learned)
        return self.rule(likelihoods, self.counts.to(images.device))


def prior_corrected(likelihoods: SiteLogits, counts: Counts, power: float = PRIOR_POWER) -> Logits:
    """Log sum_k n_k(c)/N(c) p_k(c|x)/pi_k(c), under the pooled prior to a power.

    Exact if every site's images were as likely as any other's; but p_k(c|x)/pi_k(c) is p(x|c)
    only up to the site's own p_k(x), so that sites of few classes say too much.
    """
    mixed = (count_shares(counts).log()[:, None] + likelihoods).logsumexp(dim=0)
    return mixed + log_prior(counts.sum(dim=0), power)


def abstaining(likelihoods: SiteLogits, counts: Counts, power: float = PRIOR_POWER) -> Logits:
    """Mean of the sites' log-likelihoods, each around its own mean over the classes that it has.

    A site is silent on classes that it lacks, and one of a single class says nothing at all.
    """
    known = (counts > 0).to(likelihoods.dtype)
    centre = likelihoods.sum(dim=-1) / known.sum(dim=1).clamp_min(1)[:, None]
    centred = (likelihoods - centre[..., None]) * known[:, None]
    mean = (count_shares(counts)[:, None] * centred).sum(dim=0)
    return mean + log_prior(counts.sum(dim=0), power)


class SiteGate(nn.Module):
    """log sum_k g_k(x) p_k(c|x): the sites' answers, mixed by whose images x looks like.

    g_k(x) is proportional to sum_c n_k(c) p(f | k, c) with Gaussians around the site's class means
    and the pooled covariance, f the descriptor's features. With the true g this is the pooled
    classifier (METHODS, 4.1).

    Raises:
        MethodError: A site sent no moments.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, teachers: Teachers) -> None:
        super().__init__()
        moments, counts = teachers.moments_for("site gate"), teachers.class_counts.cpu()
        pooled = pooled_moments(moments, counts)
        means = torch.cat([site.means for site in moments]).double()
        every = PooledMoments(counts.flatten().double(), means, pooled.covariance)
        weight, bias = discriminant(every)
        self._descriptor = Descriptor(teachers.image.channels, teachers.image.size_px)
        self._counts, self._powers = counts, teachers.mix_powers.cpu()
        self._temperatures = teachers.temperatures
        self.networks = nn.ModuleList(member.network for member in teachers.members)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", (bias + log_prior(counts.flatten())).float())
        self.to(teachers.device).eval()

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Logits:
        """Logits of normalised images."""
        told = self._descriptor(images) @ self.weight.T + self.bias
        gates = told.reshape(len(images), *self._counts.shape).logsumexp(dim=2).log_softmax(dim=1)
        logits = calibrated(site_logits(self.networks, images), self._temperatures)
        answers = under_own_mix(logits, self._counts, self._powers).log_softmax(dim=-1)
        return (gates.T[..., None] + answers).logsumexp(dim=0)
