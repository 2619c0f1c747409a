"""Methods by the names that the command line and the tables use."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import cast

from envoi.errors import MethodError, Problem
from envoi.server.methods.coboost import coboost
from envoi.server.methods.dafl import dafl
from envoi.server.methods.dense import dense
from envoi.server.methods.ensemble import EnsembleOf
from envoi.server.methods.fedavg import FedAvg
from envoi.server.methods.fedisca import fedisca
from envoi.server.methods.method import Method
from envoi.server.teacher import WEIGHTINGS

METHODS: dict[str, Callable[[], Method]] = {
    "fedavg": FedAvg,
    **{f"ensemble_{name}": partial(EnsembleOf, rule) for name, rule in WEIGHTINGS.items()},
    "fedisca": fedisca,
    "fedisca_ema": partial(fedisca, adaptation="ema"),
    "fedisca_none": partial(fedisca, adaptation="none"),
    "dafl": dafl,
    "dense": dense,
    "coboost": coboost,
}

_IN_ROUNDS = ("fedavg_rounds", "fedprox_rounds")


def method_called(name: str) -> Method:
    """The method of that name, or an outsider's given as `package.module:Name`.

    Raises:
        MethodError: There is no such method, it has no `fit`, or it learns in several rounds.
    """
    if name.startswith(_IN_ROUNDS):
        raise MethodError(
            Problem(
                "a method that works on submissions alone",
                repr(name)[:80],
                "method",
                "A server has no sites to ask again: `envoi bench run` simulates rounds.",
            )
        )
    if name in METHODS:
        return METHODS[name]()
    module, separator, attribute = name.partition(":")
    unknown = MethodError(
        Problem(
            f"one of {', '.join(METHODS)}, or package.module:Name",
            repr(name),
            "method",
            "Choose a known method, or install the package that has it.",
        )
    )
    if not separator:
        raise unknown
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as err:
        raise unknown from err
    method = factory() if callable(factory) and not hasattr(factory, "__self__") else factory
    if not callable(getattr(method, "fit", None)):
        raise MethodError(
            Problem("an object with fit and flop", type(method).__name__, name, "See `Method`.")
        )
    return cast("Method", method)


__all__ = [
    "METHODS",
    "EnsembleOf",
    "FedAvg",
    "Method",
    "coboost",
    "dafl",
    "dense",
    "fedisca",
    "method_called",
]
