"""DENSE: data-free one-shot federated learning with a generator and its boundary term.

Zhang et al., NeurIPS 2022, arXiv:2112.12371, METHODS section 3. Published: 200 rounds of 30 steps
of Adam at 1e-3 with betas (0.5, 0.999), lambda_1 1, lambda_2 0.5, a pool that grows by one batch
each round and over which the student is distilled once a round, at temperature 20.

The budget's steps are the same for every method: `outer_epochs x synthesis_steps` in all, cut
into rounds of 30 (the last may be shorter), each followed by as many steps of the student. At
`full` and 28 pixels those are 50,000 steps in 1,667 rounds, where the paper has 6,000 steps in
200 rounds; the pool keeps the latest 200 batches, as many as the paper ever makes, so that its
memory is bounded: min(rounds, 200) x batch x (pixels + 8) bytes.

Departures: the student draws its batches from the pool at random in place of whole passes; every
class is wanted equally often in place of drawn ones; student rate and schedule are the budget's.

`dense_meta` begins rounds of 5 steps with a learned start, after Fang et al. ("Up to 100x Faster
Data-free Knowledge Distillation", AAAI 2022, arXiv:2112.06253), and so makes six batches in the
steps that DENSE takes for one. From there are the few steps and a rate of some 1e-3 (here 5e-3,
for latents too). Departures: the start moves half of the way to where a round ended (Reptile) in
place of a step of Adam along its last gradient; no layer is reset; DENSE's boundary term from the
beginning.
"""

from envoi.server.adapt import Adaptation
from envoi.server.methods.data_free import DataFree
from envoi.server.synthesis.generator import Restarting
from envoi.server.synthesis.objective import BoundaryObjective


def dense() -> DataFree:
    """Rounds: a fresh generator makes one batch, then the student learns from the pool."""
    return DataFree(
        name="dense", synthesis=Restarting(BoundaryObjective()), adaptation=Adaptation.NONE
    )


def dense_meta() -> DataFree:
    """DENSE whose generators share a learned start."""
    synthesis = Restarting(BoundaryObjective(), round_steps=5, rate=5e-3, start_rate=0.5)
    return DataFree(name="dense_meta", synthesis=synthesis, adaptation=Adaptation.NONE)
