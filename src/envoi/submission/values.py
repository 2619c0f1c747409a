"""What the numbers of a submission may be: finite, in range, and no more than the policy lets out.

The same checks guard writing and opening.
"""

from math import isinf, isnan

import torch
from torch import Tensor

from envoi.submission.layout import SCALE
from envoi.submission.quantise import INT8_LIMIT

# Weights and statistics of networks that work are below about 1e5. With larger ones a network
# answers infinity, and what the server makes of it is no longer the site's doing alone.
MAGNITUDE_LIMIT = 1e8


def problem_of_values(name: str, tensor: Tensor) -> tuple[str, str] | None:
    """What is expected of the tensor called `name` and what it holds instead, or None."""
    if tensor.dtype == torch.int8:
        lowest = int(tensor.min())
        expected = f"levels from -{INT8_LIMIT} to {INT8_LIMIT}"
        return None if lowest >= -INT8_LIMIT else (expected, f"{lowest}")
    low, high = (float(bound) for bound in torch.aminmax(tensor.to(torch.float32)))
    # NaN compares with nothing, so it fails here too.
    if not (low >= -MAGNITUDE_LIMIT and high <= MAGNITUDE_LIMIT):
        return _problem_of_range(low, high)
    if name.endswith(".running_var") and low < 0:
        return "variances of at least 0", f"{low:.3g}"
    if name.startswith(SCALE) and low <= 0:
        return "scales above 0", f"{low:.3g}"
    return None


def _problem_of_range(low: float, high: float) -> tuple[str, str]:
    if isnan(low) or isnan(high):
        return "finite numbers", "a NaN"
    if isinf(low) or isinf(high):
        return "finite numbers", "an infinity"
    return f"numbers up to {MAGNITUDE_LIMIT:.0e}", f"{low:.3g} to {high:.3g}"
