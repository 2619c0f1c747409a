"""Co-Boosting: images and the ensemble of sites improve one another.

Dai et al., ICLR 2024, arXiv:2402.15070, METHODS section 3: the rounds and the pool of DENSE with
hard-sample weights and an adversarial term, one learned weight for each site (signed steps of
0.01, times 0.99 each round), and pool images perturbed by 8/255 before the student sees them.
As released, the batch-norm term has weight 0 and images move along a random direction of the
teachers' answer; `Direction.STUDENT` moves them towards disagreement with the student.

The budget is mapped as in `dense`. Each step of the student is preceded by one step of the site
weights on the same batch; the paper makes a pass over the pool for each, one after the other.
Departures: as in `dense`, and site weights keep the sum one (see `envoi.server.learned`); the
temperature is the budget's (published: 4).
"""

from envoi.server.adapt import Adaptation
from envoi.server.learned import LearnedWeights
from envoi.server.methods.data_free import DataFree
from envoi.server.perturb import Direction, Perturbation
from envoi.server.synthesis.generator import Restarting
from envoi.server.synthesis.objective import HardSampleObjective


def coboost(*, direction: Direction | str = Direction.OUTPUT) -> DataFree:
    """Co-Boosting.

    Args:
        direction: Of the perturbation: `output` (as released) or `student`.
    """
    return DataFree(
        name="coboost",
        synthesis=Restarting(HardSampleObjective()),
        adaptation=Adaptation.NONE,
        weighting=LearnedWeights(),
        perturbation=Perturbation(Direction(direction)),
    )
