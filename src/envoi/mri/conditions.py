"""What a network is told beside voxels: time, place, age, sex, how sure its context is.

Each condition is one number, or NaN where it is not known; a network learns both, since age and sex
are hidden now and then in training.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

Values = Float[Tensor, "batch condition"]
_FREQUENCIES = 8
_NOBODY, _HIDDEN = 0.2, 0.1


class ConditionEmbedding(nn.Module):
    """Conditions as one vector for each item.

    Args:
        conditions: How many; each about within -1..1.
        width: Of the vector.
    """

    frequencies: Tensor

    def __init__(self, conditions: int, width: int) -> None:
        super().__init__()
        frequencies = math.pi * 2.0 ** (torch.arange(_FREQUENCIES) / 1.5 - 1)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mix = nn.Sequential(
            nn.Linear(conditions * (2 * _FREQUENCIES + 2), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )

    def forward(self, values: Values) -> Float[Tensor, "batch width"]:
        """One vector for each row of `values`; NaN is "not known"."""
        known = ~values.isnan()
        plain = torch.where(known, values, 0.0)[..., None]
        waves = plain * self.frequencies
        parts = torch.cat([plain, waves.sin(), waves.cos()], dim=-1) * known[..., None]
        features = torch.cat([parts, known[..., None].to(parts.dtype)], dim=-1)
        vector: Tensor = self.mix(features.flatten(1))
        return vector


def hidden(persons: Values, generator: torch.Generator) -> Values:
    """Some values replaced by NaN: all of one row in five, and one in ten of the others."""
    rows = torch.rand(len(persons), 1, generator=generator).to(persons.device) < _NOBODY
    cells = torch.rand(persons.shape, generator=generator).to(persons.device) < _HIDDEN
    return torch.where(rows | cells, torch.nan, persons)
