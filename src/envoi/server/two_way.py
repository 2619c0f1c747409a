"""Least squares of a table by its rows and columns: what rows share and what columns share.

    minimise over s, b:  sum_rc w_rc (s_c + b_r - a_rc)^2

Unknowns are ordered columns first.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def normal_matrix(
    weights: Float[Tensor, "*table row column"], ridge: float
) -> Float[Tensor, "*table unknown unknown"]:
    """The matrix of the normal equations, `ridge` on its diagonal; in double precision.

    The ridge settles what no entry determines, such as a constant moved from s to b.
    """
    rows, columns = weights.shape[-2:]
    wide, size = weights.double(), rows + columns
    normal = wide.new_zeros(*weights.shape[:-2], size, size)
    normal[..., :columns, :columns] = torch.diag_embed(wide.sum(dim=-2))
    normal[..., columns:, columns:] = torch.diag_embed(wide.sum(dim=-1))
    normal[..., :columns, columns:], normal[..., columns:, :columns] = wide.mT, wide
    return normal + ridge * torch.eye(size, device=wide.device)
