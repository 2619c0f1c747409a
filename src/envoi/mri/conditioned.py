"""A network with the embedding of its conditions, on maps of any size."""

from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.conditions import ConditionEmbedding
from envoi.mri.padding import ends_to_multiples
from envoi.mri.slab_network import SlabNetwork


class Conditioned(nn.Module):
    """A network and the embedding of its conditions; inputs are padded to sizes that it takes."""

    def __init__(self, network: SlabNetwork, *, conditions: int) -> None:
        super().__init__()
        self.embedding = ConditionEmbedding(conditions, network.plan.embedding)
        self.network = network

    def forward(self, maps: Tensor, values: Tensor) -> Tensor:
        """What the network says, of the size of `maps`."""
        sizes = maps.shape[2:]
        ends = ends_to_multiples(sizes, self.network.plan.factors)
        if any(ends):
            maps = functional.pad(maps, ends, mode="replicate")
        found: Tensor = self.network(maps, self.embedding(values))
        whole = (slice(None),) * (found.ndim - len(sizes))
        return found[(*whole, *(slice(size) for size in sizes))]
