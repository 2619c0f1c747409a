"""FedISCA: one-shot federated learning with image synthesis and client model adaptation.

Kang et al., MICCAI 2023, doi 10.1007/978-3-031-43895-0_49, restated in METHODS section 2.
Departures from the released code: the last checkpoint counts and not the one that does best on
test images; sites start from one seeded initialisation; the reverse sweep, which changes no
output in the released code, is left out unless `ema` asks for it.
"""

from envoi.server.adapt import Adaptation
from envoi.server.methods.data_free import DataFree
from envoi.server.teacher import mean_logits


def fedisca(*, adaptation: Adaptation | str = Adaptation.BATCH) -> DataFree:
    """FedISCA in one of its three variants.

    Args:
        adaptation: `batch` (as released), `ema` (the paper's words) or `none`.
    """
    kind = Adaptation(adaptation)
    name = "fedisca" if kind is Adaptation.BATCH else f"fedisca_{kind}"
    return DataFree(name=name, adaptation=kind, weighting=mean_logits)
