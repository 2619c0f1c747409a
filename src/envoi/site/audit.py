"""What a site's file would betray of its patients, measured before it leaves.

Training against held-out patients: the attack of `envoi.membership` on the network as it is sent,
by its loss, and on the released moments, by how near an image lies to its class. Moments are made
anew of the training part for this, since the released ones know all patients. With patience the
people held out chose the epoch whose weights are sent: the attack on the network then errs low.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from envoi.membership import Membership, membership
from envoi.site.batches import Inputs, logits_of
from envoi.site.export import network_as_sent
from envoi.site.moments import feature_moments, features_of
from envoi.site.train import TrainedSite
from envoi.study import Study
from envoi.submission import Moments
from envoi.submission.manifest import Audit
from envoi.types import ImageSet

_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class SiteAudit:
    """What attacks come to; None where nobody was held out, or nothing is released.

    Attributes:
        network: Of the network, in the study's format.
        moments: Of the feature moments.
    """

    network: Membership | None
    moments: Membership | None

    @property
    def worst(self) -> float | None:
        """The larger area under the ROC curve of the two; None if neither is known."""
        known = [one.auc.value for one in (self.network, self.moments) if one is not None]
        return max(known) if known else None

    @property
    def told(self) -> Audit | None:
        """What of it goes into a submission; None where nobody was held out."""
        if self.network is None:
            return None
        share = self.network.standing_out / self.network.members
        moments = None if self.moments is None else round(self.moments.auc.value, 2)
        return Audit(
            network=round(self.network.auc.value, 2), moments=moments, standing_out=round(share, 2)
        )


def audit(trained: TrainedSite, images: ImageSet, *, study: Study) -> SiteAudit:
    """Attack what a site would send.

    Args:
        trained: The site's network.
        images: The images that it was trained and validated on.
        study: Whose format and statistics policy hold.
    """
    held = np.zeros(len(images), np.bool_)
    held[trained.validation] = True
    if not held.any():
        return SiteAudit(None, None)
    asked = "feature_moments" in study.statistics.release
    return SiteAudit(
        _attacked(_sureness(trained, images, study), images, held),
        _moments(images, held, study) if asked else None,
    )


def nearness(
    moments: Moments, features: Float[Tensor, "image feature"], labels: NDArray[np.int64]
) -> Float[np.ndarray, " image"]:
    """Minus the Mahalanobis distance of each image from its class; images of untold classes 0."""
    index = torch.from_numpy(labels)
    known = moments.means.any(dim=1)[index]
    deviations = torch.where(moments.deviations > 0, moments.deviations, 1.0)
    standard = ((features - moments.means[index]) / deviations).double()
    ridged = moments.correlations.double() + _RIDGE * torch.eye(len(deviations))
    distance = (standard * torch.linalg.solve(ridged, standard.T).T).sum(dim=1)
    return torch.where(known, -distance, 0.0).numpy()


def _sureness(trained: TrainedSite, images: ImageSet, study: Study) -> Float[np.ndarray, " image"]:
    """Minus the loss of the network on each image, in the format that is sent."""
    inputs = Inputs(images, study.image)
    logits = logits_of(network_as_sent(trained, study), inputs, torch.arange(len(images)))
    return -cross_entropy(logits, inputs.labels, reduction="none").double().numpy()


def _moments(images: ImageSet, held: NDArray[np.bool_], study: Study) -> Membership | None:
    features, policy = features_of(images, study), study.statistics
    known = feature_moments(
        features[~held],
        images.labels[~held],
        classes=len(study.classes),
        minimum=policy.minimum_class_size,
        minimum_covariance=policy.minimum_covariance_images,
    )
    if policy.moment_rank:
        known = Moments.taken_from(known.encoded(policy.moment_rank)) or known
    told = known.means.any(dim=1).numpy()[images.labels]
    if not told.any():
        return None
    scores = nearness(known, torch.from_numpy(features), images.labels)
    return _attacked(scores[told], images.subset(np.flatnonzero(told)), held[told])


def _attacked(
    scores: Float[np.ndarray, " image"], images: ImageSet, held: NDArray[np.bool_]
) -> Membership | None:
    groups = images.patients
    return membership(
        scores[~held],
        scores[held],
        members_of=None if groups is None else groups[~held],
        others_of=None if groups is None else groups[held],
    )
