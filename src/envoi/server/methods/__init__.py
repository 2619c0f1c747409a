"""Methods by the names that the command line and the tables use."""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import nn

from envoi.errors import MethodError, Problem
from envoi.server.consensus import Consensus
from envoi.server.gate import LikelihoodEnsemble, SiteGate, abstaining, prior_corrected
from envoi.server.methods.closed_form import ClosedForm
from envoi.server.methods.coboost import coboost
from envoi.server.methods.dafl import dafl
from envoi.server.methods.dense import dense, dense_meta
from envoi.server.methods.ensemble import EnsembleOf, weighted
from envoi.server.methods.envoi import envoi
from envoi.server.methods.fedavg import FedAvg
from envoi.server.methods.fedisca import fedisca
from envoi.server.methods.method import Method
from envoi.server.teacher import WEIGHTINGS, Teachers
from envoi.wording import did_you_mean

ENSEMBLES: dict[str, Callable[[Teachers], nn.Module]] = {
    **{name: weighted(rule) for name, rule in WEIGHTINGS.items()},
    "prior_corrected": partial(LikelihoodEnsemble, rule=prior_corrected),
    "abstaining": partial(LikelihoodEnsemble, rule=abstaining),
    "site_gate": SiteGate,
    "consensus_networks": partial(Consensus, moments_weight=0.0),
    "consensus": Consensus,
}

METHODS: dict[str, Callable[[], Method]] = {
    "envoi": envoi,
    "fedavg": FedAvg,
    **{f"ensemble_{name}": partial(EnsembleOf, rule) for name, rule in ENSEMBLES.items()},
    "closed_form": ClosedForm,
    "fedisca": fedisca,
    "fedisca_ema": partial(fedisca, adaptation="ema"),
    "fedisca_none": partial(fedisca, adaptation="none"),
    "dafl": dafl,
    "dense": dense,
    "dense_meta": dense_meta,
    "coboost": coboost,
}

_IN_ROUNDS = ("fedavg_rounds", "fedprox_rounds")

_FIT = "fit(teachers, student, *, budget, generator, on_step, checkpoint)"


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
    found = _imported(name)
    method = _made(name, found) if isinstance(found, type) or not _fits(found) else found
    if not _fits(method):
        raise _refused(f"an object with {_FIT}", _named(method), name)
    return cast("Method", method)


def _imported(name: str) -> object:
    """What `package.module:Name` names."""
    module, _, attribute = name.partition(":")
    if not attribute or not module or module.startswith("."):
        raise _unknown(name, did_you_mean(name, METHODS, otherwise="Choose a known method."))
    try:
        contents = importlib.import_module(module)
    except Exception as err:  # any: a stranger's module runs
        raise _not_imported(module, err, name) from err
    try:
        return getattr(contents, attribute)
    except AttributeError as err:
        otherwise = f"Name a method that the module {module} has."
        raise _unknown(name, did_you_mean(attribute, dir(contents), otherwise=otherwise)) from err


def _unknown(name: str, remedy: str) -> MethodError:
    expected = f"one of {', '.join(METHODS)}, or package.module:Name"
    return MethodError(Problem(expected, repr(name)[:80], "method", remedy))


def _not_imported(module: str, err: Exception, name: str) -> MethodError:
    """The module is not there, or it (or one that it needs) fails when it runs."""
    expected = "a module that can be imported"
    missing = err.name if isinstance(err, ModuleNotFoundError) else None
    if missing is None or not f"{module}.".startswith(f"{missing}."):
        return _refused(expected, _told(err), name)
    top, *inner = module.split(".")
    held = f"{top}/" if inner else f"{top}.py"
    remedy = f"Run with PYTHONPATH=FOLDER, the folder that holds {held}, or install its package."
    return MethodError(Problem(expected, str(err)[:200], name, remedy))


def _made(name: str, factory: object) -> object:
    """What a class or function without arguments makes."""
    if not callable(factory):
        return factory
    try:
        return factory()
    except Exception as err:  # any: a stranger's function runs
        raise _refused("a class or function that needs no arguments", _told(err), name) from err


def _fits(method: object) -> bool:
    """Whether `method.fit` can be called as the server calls it."""
    fit = getattr(method, "fit", None)
    if not callable(fit):
        return False
    named = dict.fromkeys(("budget", "generator", "on_step", "checkpoint"))
    try:
        inspect.signature(fit).bind("teachers", "student", **named)
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def _named(method: object) -> str:
    kind = type(method).__name__
    return f"{kind} with another fit" if hasattr(method, "fit") else kind


def _told(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"[:200]


def _refused(expected: str, found: str, where: str) -> MethodError:
    return MethodError(Problem(expected, found, where, "See `envoi.server.methods.method`."))


__all__ = [
    "ENSEMBLES",
    "METHODS",
    "ClosedForm",
    "EnsembleOf",
    "FedAvg",
    "Method",
    "coboost",
    "dafl",
    "dense",
    "dense_meta",
    "envoi",
    "fedisca",
    "method_called",
]
