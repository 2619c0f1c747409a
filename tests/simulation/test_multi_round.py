"""Rounds as rows of a benchmark: names, one run for all, interrupted and gone on with."""

import tomllib
from dataclasses import asdict, replace

import pytest

from envoi.data import phantom_federation
from envoi.errors import MethodError, SettingsError
from envoi.networks import build
from envoi.results import RunFolder
from envoi.server.methods import method_called
from envoi.settings import Budget, TrainingSettings
from envoi.simulation.averaging import bytes_moved
from envoi.simulation.bench import run_bench
from envoi.simulation.federation import FederationSettings
from envoi.simulation.multi_round import MultiRound, RoundSettings, multi_round_called
from envoi.simulation.partition import Natural

SETTINGS = FederationSettings(
    partition=Natural(),
    sites=2,
    networks=("convnet-small",),
    training=TrainingSettings(epochs=1, batch_size=16, rate=0.05),
)
BUDGET = Budget(outer_epochs=1, synthesis_steps=2, batch_size=8)
NAMES = ("fedavg_rounds_3", "fedavg", "fedavg_rounds_1", "fedprox_rounds_1")


@pytest.fixture(scope="module")
def data():
    return phantom_federation(sites=2, images_per_site=32, test_images=24, size_px=16, seed=1)


def run(data, folder, names=NAMES, settings=SETTINGS, **options):
    methods = {name: multi_round_called(name) or method_called(name) for name in names}
    return run_bench(data, settings, methods, folder, budget=BUDGET, **options)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("run"), []
    return folder, run(data, folder, on_step=told.append), told


def test_rows_of_one_algorithm_are_milestones_of_one_run(finished):
    folder, result, told = finished
    assert [name for name in result.methods if name in NAMES] == list(NAMES)
    rounds = [(info.phase, info.step) for info in told if info.phase.endswith("_rounds")]
    averaging, proximal = [("fedavg_rounds", n) for n in (1, 2, 3)], [("fedprox_rounds", 1)]
    assert rounds == averaging + proximal
    first, third = (result.methods[f"fedavg_rounds_{n}"] for n in (1, 3))
    network = build("convnet-small", channels=3, classes=len(result.class_names), seed=0)
    assert first.bytes_per_site == bytes_moved(network, rounds=1)
    assert third.bytes_per_site == 3 * first.bytes_per_site > 3 * result.sites[0].bytes_sent
    assert third.site_seconds > first.site_seconds > first.server_seconds > 0
    assert third.server_flop == 3 * first.server_flop > 0
    assert result.methods["fedavg"].site_seconds == 0.0
    assert (folder / "methods/fedavg_rounds_3.safetensors").exists()
    assert RunFolder(folder).result() == result
    rounds = tomllib.loads((folder / "run.toml").read_text())["rounds"]
    assert rounds["fedprox_rounds_1"]["settings"] == asdict(RoundSettings(mu=0.01))


def test_an_interrupted_bench_goes_on_with_the_next_round(finished, data, tmp_path):
    whole, result, _ = finished
    told = []

    def interrupt(info):
        told.append(info)
        if info.phase == "fedavg_rounds" and info.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path, on_step=interrupt)
    assert not (tmp_path / "result.json").exists()
    resumed = run(data, tmp_path, on_step=told.append)
    assert [i.step for i in told if i.phase == "fedavg_rounds"] == [1, 2, 3]
    name = "methods/fedavg_rounds_3.safetensors"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert {n: row.metrics for n, row in resumed.methods.items()} == {
        n: row.metrics for n, row in result.methods.items()
    }


def test_finished_rows_are_remembered_and_later_ones_go_on(finished, data):
    folder, result, _ = finished
    told = []
    again = run(data, folder, (*NAMES, "fedavg_rounds_4"), on_step=told.append)
    assert [info.step for info in told if info.phase.endswith("_rounds")] == [4]
    assert {n: row for n, row in again.methods.items() if n in result.methods} == result.methods


def test_networks_of_several_architectures_are_refused_before_anything_runs(data, tmp_path):
    mixed = replace(SETTINGS, networks=("convnet-small", "resnet10-small"))
    message = "fedavg_rounds_1: expected one architecture at all sites, found convnet-small, res"
    with pytest.raises(MethodError, match=message):
        run(data, tmp_path, ("fedavg_rounds_1",), mixed)
    assert not any(tmp_path.iterdir())


def test_names_tell_algorithm_and_rounds():
    assert multi_round_called("fedavg_rounds_100") == MultiRound(100, RoundSettings())
    assert multi_round_called("fedprox_rounds_7") == MultiRound(7, RoundSettings(mu=0.01))
    for other in ("fedavg", "fedisca", "my.module:fedavg_rounds_5", "my_fedavg_rounds_5"):
        assert multi_round_called(other) is None
    assert RoundSettings().algorithm == "fedavg_rounds"
    assert RoundSettings(mu=0.01).algorithm == "fedprox_rounds"


@pytest.mark.parametrize("end", ["", "_", "_0", "_05", "_-1", "_1.5", "_many", "_5_5", "_5\n"])
def test_a_name_without_a_number_of_rounds_is_refused(end):
    with pytest.raises(MethodError, match="fedavg_rounds_R with a number of rounds R from 1"):
        multi_round_called(f"fedavg_rounds{end}")


def test_no_rounds_are_refused():
    with pytest.raises(SettingsError, match="rounds: expected 1 or more, found 0"):
        MultiRound(0)


@pytest.mark.parametrize("name", ["fedavg_rounds_5", "fedprox_rounds_100", "fedavg_rounds"])
def test_a_server_has_no_sites_to_ask(name):
    with pytest.raises(MethodError, match=f"found '{name}'. A server has no sites to ask again"):
        method_called(name)


def test_the_sites_training_settings_stay_but_for_the_rate():
    training = TrainingSettings(
        epochs=12, batch_size=8, rate=0.05, schedule="one-cycle", augment=True, patience=3
    )
    local = RoundSettings(rate=0.01, local_epochs=2).local(training)
    kept = ("batch_size", "augment", "class_weights", "momentum", "weight_decay")
    assert [getattr(local, name) for name in (*kept, "validation_fraction")] == [
        getattr(training, name) for name in (*kept, "validation_fraction")
    ]
    assert (local.rate, local.epochs, local.schedule) == (0.01, 2, "steps")
    assert (local.milestones, local.patience) == ((), 0)
