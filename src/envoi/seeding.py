"""Random streams: every consumer gets its own, derived from one seed and a name.

Deriving by name (not by order of calls) keeps a stream unchanged when another consumer is
added, and makes a killed job resume with the same numbers.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream `names` below `seed`."""
    text = "/".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: str | int) -> "torch.Generator":
    """A CPU generator for the stream `names` below `seed`."""
    import torch  # noqa: PLC0415  (this module must load without torch)

    return torch.Generator().manual_seed(derive_seed(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> "np.random.Generator":
    """A NumPy generator for the stream `names` below `seed`."""
    import numpy as np  # noqa: PLC0415  (keeps `envoi --help` fast)

    return np.random.default_rng(derive_seed(seed, *names))
