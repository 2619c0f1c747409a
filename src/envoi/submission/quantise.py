"""Weights in fewer bits: fp16, or int8 with one scale for each output channel.

int8 is symmetric: q = round(w / s), s = max|w| / 127 over an output channel, so that an error is
at most s / 2 (arXiv:1806.08342, section 3.1.1).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from envoi.study import WeightFormat
from envoi.submission.layout import NETWORK, SCALE, is_coded

INT8_LIMIT = 127


def encoded(state: Mapping[str, Tensor], weight_format: WeightFormat) -> dict[str, Tensor]:
    """The tensors of a file for a network's `state` (fp32, by parameter name).

    Infinite where fp16 overflows: the caller refuses what is not finite.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        exact = value.detach().to(device="cpu", dtype=torch.float32).contiguous()
        if weight_format == "fp32" or not is_coded(tuple(exact.shape)):
            tensors[NETWORK + name] = exact
        elif weight_format == "fp16":
            tensors[NETWORK + name] = exact.to(torch.float16)
        else:
            tensors[NETWORK + name], tensors[SCALE + name] = to_int8(exact)
    return tensors


def decoded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fp32 state that `tensors` of a file stand for, in the order of their names.

    Takes each network tensor out of `tensors` as it goes, so that memory peaks at the fp32
    state plus one tensor.
    """
    state = {}
    for key in sorted(tensors):
        if key.startswith(NETWORK):
            name, stored = key.removeprefix(NETWORK), tensors.pop(key)
            scale = tensors.pop(SCALE + name, None)
            state[name] = stored.to(torch.float32) if scale is None else from_int8(stored, scale)
    return state


def quantised(state: Mapping[str, Tensor], weight_format: WeightFormat) -> dict[str, Tensor]:
    """`state` as the server will see it: there and back through the format.

    A site evaluates it on its own validation part to measure the loss of accuracy.
    """
    back = decoded(encoded(state, weight_format))
    return {name: back[name] for name in state}


def to_int8(
    weights: Float[Tensor, "output ..."],
) -> tuple[Int8[Tensor, "output ..."], Float[Tensor, " output"]]:
    """Levels and one scale for each index of the first axis."""
    # A channel of zeros takes the smallest scale: scales stay above zero.
    smallest = torch.finfo(torch.float32).tiny
    scale = weights.flatten(1).abs().amax(dim=1).div(INT8_LIMIT).clamp(min=smallest)
    levels = (weights / _over_channels(scale, weights.dim())).round()
    return levels.clamp(-INT8_LIMIT, INT8_LIMIT).to(torch.int8), scale


def from_int8(
    levels: Int8[Tensor, "output ..."], scale: Float[Tensor, " output"]
) -> Float[Tensor, "output ..."]:
    """What levels and scales stand for."""
    return levels.to(torch.float32).mul_(_over_channels(scale, levels.dim()))


def _over_channels(scale: Float[Tensor, " output"], dimensions: int) -> Tensor:
    return scale.reshape(-1, *(1,) * (dimensions - 1))
