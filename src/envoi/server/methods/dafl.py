"""DAFL: data-free learning of student networks, with the sites as one teacher.

Chen et al., ICCV 2019, arXiv:1904.01186, METHODS section 3. Published for one teacher on
CIFAR-10: alpha 0.1, beta 5, latents of 1000, batches of 1024, 240,000 steps of generator and
student together (2,000 epochs of 120), student rate 0.1. At `full`, batch size, steps, rates and
temperature are the budget's, the same for every method; the objective's weights are DAFL's.

Departures: latents of 256 and Adam's betas (0.5, 0.999), shared with DENSE; the distillation has
the budget's temperature (published: none); F is the mean of the sites' logits.
"""

from envoi.server.adapt import Adaptation
from envoi.server.methods.data_free import DataFree
from envoi.server.synthesis.generator import Continuing
from envoi.server.synthesis.objective import ResponseObjective


def dafl() -> DataFree:
    """One generator goes on through the whole job; each step trains it and the student once."""
    return DataFree(
        name="dafl", synthesis=Continuing(ResponseObjective()), adaptation=Adaptation.NONE
    )
