"""The federation that benchmarks have in common: the small network, as `envoi bench run` trains."""

from dataclasses import replace

from envoi.cli.bench_runs import TRAINING
from envoi.simulation.federation import FederationSettings
from envoi.simulation.partition import parse_partition

NETWORK = "convnet-small"


def small_federation(partition: str, *, seed: int, epochs: int) -> FederationSettings:
    """Its settings; a benchmark replaces those that it is about.

    Args:
        partition: By name.
        seed: Of the partition, the networks' initialisation and all draws.
        epochs: Of each site's training.
    """
    return FederationSettings(
        partition=parse_partition(partition),
        networks=(NETWORK,),
        training=replace(TRAINING, epochs=epochs),
        seed=seed,
    )
