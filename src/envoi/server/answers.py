"""What a network's logits say once its site's temperature and class mix are accounted for.

A network of site k answers as if classes were as common as pi_k(c)^power / sum, where pi_k is the
site's class mix: the power is 1 after plain training, 0 after training with class weights, and
1 - tau after logit adjustment by tau (arXiv:2007.07314). A site's temperature (arXiv:1706.04599)
makes these answers as sure as they are right.
"""

import torch

from envoi.server.teacher import Counts, PerSite, SiteLogits


def calibrated(logits: SiteLogits, temperatures: PerSite) -> SiteLogits:
    """Each site's logits, divided by its temperature."""
    return logits / temperatures.to(logits.device)[:, None, None]


def own_likelihoods(logits: SiteLogits, learned: Counts) -> SiteLogits:
    """Log p_k(c|x) less the logarithm of the class mix behind it; zero for classes not learned.

    Args:
        logits: Calibrated.
        learned: The class mix behind each network's answers, in any unit.
    """
    known = (learned > 0).to(logits.device)
    prior = log_mix(learned).to(logits.device)
    return torch.where(known[:, None], logits.log_softmax(dim=-1) - prior[:, None], 0.0)


def under_own_mix(logits: SiteLogits, counts: Counts, powers: PerSite) -> SiteLogits:
    """The logits with what training took out of the site's class mix put back.

    Args:
        logits: Calibrated.
        counts: Images of each class at each site.
        powers: Of the class mix that is still in the logits.
    """
    missing = (1 - powers)[:, None] * log_mix(counts)
    return logits + missing[:, None].to(logits.device)


def log_mix(counts: Counts) -> Counts:
    """Logarithm of each class's share at each site, with one image at least.

    A count of 0 may hide a few images, on which an adjusted network has learned to answer as on
    any other class: taken for common, they would win everywhere.
    """
    return (counts.clamp_min(1) / counts.sum(dim=1, keepdim=True).clamp_min(1)).log()
