"""A classifier by one solve: linear discriminant analysis on the pooled moments.

With p(x|c) Gaussian around each class mean and one covariance for all classes (Fisher 1936), the
log-likelihood of class c is linear in the features: m_c^T S^-1 f - m_c^T S^-1 m_c / 2, up to what
all classes share. It depends on sums over sites alone, so label skew does not touch it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.descriptor import Descriptor
from envoi.networks.spectrum import Images
from envoi.server.pooled import PooledMoments
from envoi.types import ImageSpec

# Share of the identity that is added to the correlations before they are inverted; chosen on
# skin28's validation images among 1e-3, 3e-3, 1e-2 and 3e-2, where it is flat up to 1e-2.
RIDGE = 3e-3
UNSEEN = -100.0


class DescriptorClassifier(nn.Module):
    """Log-likelihoods of all classes (up to a common term), or logits under a prior.

    Args:
        moments: Pooled.
        image: What inputs look like.
        prior: Added to the log-likelihoods; None adds nothing.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        moments: PooledMoments,
        image: ImageSpec,
        prior: Float[Tensor, " class"] | None = None,
    ) -> None:
        super().__init__()
        self._descriptor = Descriptor(image.channels, image.size_px)
        weight, bias = discriminant(moments)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", (bias if prior is None else bias + prior).float())
        self.eval()

    def forward(self, images: Images) -> Float[Tensor, "batch class"]:
        """Logits of normalised images."""
        return self._descriptor(images) @ self.weight.T + self.bias


def discriminant(
    moments: PooledMoments,
) -> tuple[Float[Tensor, "class feature"], Float[Tensor, " class"]]:
    """Weights and offsets of the linear log-likelihoods.

    Features are taken from the mean of all images, which shifts all classes alike and keeps
    numbers small. A class without images answers as the others do on average.
    """
    shares = moments.counts / moments.counts.sum().clamp_min(1)
    centre = shares @ moments.means
    variances = moments.covariance.diagonal()
    scale = torch.where(variances > 0, variances, 1.0).rsqrt()
    correlations = moments.covariance * scale[:, None] * scale
    ridged = correlations + RIDGE * torch.eye(len(scale), dtype=correlations.dtype)
    seen = moments.counts > 0
    means = torch.where(seen[:, None], moments.means - centre, 0.0) * scale
    solved = torch.linalg.solve(ridged, means.T).T
    weight, bias = solved * scale, -(solved * means).sum(dim=1) / 2
    return weight, torch.where(seen, bias, shares @ bias) - weight @ centre


def log_prior(counts: Float[Tensor, " class"], power: float = 1.0) -> Float[Tensor, " class"]:
    """Logarithm of counts to a power; classes without any image are all but ruled out.

    A power of 1 is the prior of the pooled images (best for accuracy), 0 a flat one (best for
    balanced accuracy).
    """
    return torch.where(counts > 0, power * counts.clamp_min(1).log(), UNSEEN)
