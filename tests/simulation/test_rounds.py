"""Conventional learning in rounds: its algebra, its limits, and a kill at any round."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from envoi.checkpoint import Checkpoint
from envoi.data import phantom_federation
from envoi.errors import DataError, SettingsError
from envoi.settings import TrainingSettings
from envoi.simulation.averaging import average, averaging_flop, bytes_moved, proximal_term
from envoi.simulation.federation import Federation, FederationSettings
from envoi.simulation.multi_round import RoundSettings
from envoi.simulation.partition import Natural
from envoi.simulation.rounds import rounds_fingerprint, run_rounds
from envoi.site.train import train
from envoi.transforms import normalise

PLAIN = TrainingSettings(
    epochs=1, batch_size=16, rate=0.05, momentum=0.0, weight_decay=0.0, validation_fraction=0.0
)


class Killed(BaseException):
    """Stands for a kill: no handler of the library may catch it."""


@pytest.fixture(scope="module")
def data():
    return phantom_federation(sites=2, images_per_site=40, test_images=16, size_px=16, seed=1)


@pytest.fixture
def federate(data, tmp_path):
    def make(training=PLAIN, network="convnet-small"):
        settings = FederationSettings(
            partition=Natural(), sites=2, networks=(network,), training=training
        )
        return Federation(data, settings, tmp_path)

    return make


def models(federation, *milestones, images=None, seed=0, settings=None, **options):
    settings = settings or RoundSettings(rate=0.05)
    images = images or federation.images
    study = federation.study
    return list(
        run_rounds(images, milestones, study=study, settings=settings, seed=seed, **options)
    )


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def assert_same_bits(left, right):
    left, right = left.state_dict(), right.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_the_average_is_weighted_by_images_and_keeps_what_is_equal():
    states = [{"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)} for _ in range(3)]
    assert torch.equal(average(states, [1, 5, 7])["w"], states[0]["w"])
    other = {"w": torch.tensor([5.0, -2.0]), "n": torch.tensor(9)}
    mean = average([states[0], other], [3, 1])
    assert mean["w"].tolist() == [2.0, 1.0]
    assert (mean["w"].dtype, mean["n"].dtype) == (torch.float32, torch.int64)


def test_one_site_alone_is_that_sites_training(federate):
    """Bit for bit: the rounds add nothing to a constant rate without momentum."""
    training = replace(PLAIN, validation_fraction=0.2, augment=True, class_weights=True)
    federation = federate(training)
    only = {"site-1": federation.images["site-1"]}
    [model] = models(federation, 3, images=only)
    constant = replace(training, epochs=3, milestones=())
    wanted = train(only["site-1"], study=federation.study, settings=constant, seed=0, name="site-1")
    assert_same_bits(model.network, wanted.network)


def test_momentum_lasts_for_the_epochs_of_a_round_and_no_longer(federate):
    training = replace(PLAIN, momentum=0.9)
    federation = federate(training)
    only = {"site-1": federation.images["site-1"]}
    constant = replace(training, epochs=2, milestones=())
    wanted = train(
        only["site-1"], study=federation.study, settings=constant, seed=0, name="site-1"
    ).network
    two_epochs = RoundSettings(rate=0.05, local_epochs=2)
    [whole] = models(federation, 1, images=only, settings=two_epochs)
    assert_same_bits(whole.network, wanted)
    [reset] = models(federation, 2, images=only)
    assert not torch.equal(weights(reset.network), weights(wanted))


def test_equal_sites_learn_what_one_of_them_learns(federate):
    """Whole batches, so that the order of images is nothing but rounding."""
    federation = federate(replace(PLAIN, batch_size=40))
    own = federation.images["site-1"]
    [alone] = models(federation, 2, images={"site-1": own})
    [three] = models(federation, 2, images=dict.fromkeys(("site-1", "b", "c"), own))
    torch.testing.assert_close(weights(three.network), weights(alone.network))


def test_one_round_of_whole_batches_is_a_pooled_gradient_step(federate):
    """Without batch norm, whose statistics are each site's own, w - rate grad F(w) exactly."""
    federation = federate(replace(PLAIN, batch_size=40), network="resnet10-small-gn")
    [model] = models(federation, 1)
    network, images = federation.study.network(), federation.data.train
    pixels = normalise(images.images, federation.study.image)
    cross_entropy(network(pixels), torch.from_numpy(images.labels)).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.sub_(0.05 * parameter.grad)
    start = weights(federation.study.network())
    assert (weights(network) - start).norm() > 1e-3
    torch.testing.assert_close(weights(model.network), weights(network), rtol=1e-4, atol=1e-6)


def test_sites_count_by_their_images(federate):
    federation = federate()
    small = federation.images["site-1"].subset(range(10))
    images = {"site-1": small, "site-2": federation.images["site-2"]}
    ends = [models(federation, 1, images={name: own})[0].network for name, own in images.items()]
    [model] = models(federation, 1, images=images)
    mean = 0.2 * weights(ends[0]) + 0.8 * weights(ends[1])
    torch.testing.assert_close(weights(model.network), mean)


def test_the_proximal_term_is_the_papers():
    network = torch.nn.Linear(2, 1)
    start = {name: w.detach() - 2.0 for name, w in network.named_parameters()}
    term = proximal_term(network, start=start, mu=0.5)
    assert term.item() == pytest.approx(0.25 * 3 * 2.0**2)
    term.backward()
    torch.testing.assert_close(network.weight.grad, torch.full((1, 2), 0.5 * 2.0))


def test_without_a_proximal_term_fedprox_is_fedavg(federate):
    """With a weight so small that no sum feels it, the term itself is taken."""
    federation = federate(replace(PLAIN, momentum=0.9))
    [average_of] = models(federation, 2, settings=RoundSettings(rate=0.05, mu=0.0))
    [proximal] = models(federation, 2, settings=RoundSettings(rate=0.05, mu=1e-30))
    assert_same_bits(average_of.network, proximal.network)


def test_a_huge_proximal_term_keeps_the_start(federate):
    """At mu = 1 / rate every step ends one gradient step from the start, however many there are."""
    federation = federate(replace(PLAIN, batch_size=8))
    start = weights(federation.study.network())

    def moved(mu):
        settings = RoundSettings(rate=0.02, local_epochs=4, mu=mu)
        return float((weights(models(federation, 1, settings=settings)[0].network) - start).norm())

    distances = [moved(mu) for mu in (0.0, 5.0, 50.0)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.15 * distances[0]


def test_milestones_of_a_longer_run_are_the_shorter_runs(federate):
    federation = federate(replace(PLAIN, augment=True, momentum=0.9))
    found = models(federation, 3, 1)
    assert [model.rounds for model in found] == [1, 3]
    for model in found:
        assert_same_bits(model.network, models(federation, model.rounds)[0].network)
        assert not model.network.training
    assert 0 < found[0].site_seconds < found[1].site_seconds
    assert 0 < found[0].server_seconds < found[1].server_seconds


def test_killed_at_every_round_it_ends_in_the_same_bits(federate, tmp_path):
    training = replace(PLAIN, augment=True, momentum=0.9, validation_fraction=0.2)
    federation = federate(training)
    settings = RoundSettings(rate=0.05, mu=0.1)
    whole, heard = [], []
    wanted = models(federation, 2, 4, settings=settings, on_step=whole.append)
    checkpoint = Checkpoint(tmp_path / "c.safetensors", fingerprint="x")

    def kill(info):
        heard.append(info)
        raise Killed

    found, left = [], [2, 4]
    while left:
        try:
            for model in run_rounds(
                federation.images,
                left,
                study=federation.study,
                settings=settings,
                seed=0,
                checkpoint=checkpoint,
                on_step=kill,
            ):
                found.append(model)
                left = [later for later in left if later > model.rounds]
        except Killed:
            continue
    assert heard == [replace(info, steps=4) for info in whole]
    for one, other in zip(found, wanted, strict=True):
        assert one.rounds == other.rounds
        assert_same_bits(one.network, other.network)


def test_a_run_goes_on_to_later_milestones_and_back_to_earlier_ones(federate, tmp_path):
    federation, told = federate(), []
    options = {"checkpoint": Checkpoint(tmp_path / "c"), "on_step": told.append}
    models(federation, 2, **options)
    [third] = models(federation, 3, **options)
    assert [info.step for info in told] == [1, 2, 3]
    assert_same_bits(third.network, models(federation, 3)[0].network)
    [first] = models(federation, 1, **options)
    assert [info.step for info in told] == [1, 2, 3, 1]
    assert_same_bits(first.network, models(federation, 1)[0].network)


def test_each_round_is_told_with_the_averages_validation(federate):
    told = []
    federation = federate(replace(PLAIN, validation_fraction=0.2))
    models(federation, 2, on_step=told.append)
    assert [(i.phase, i.step, i.steps, i.epoch) for i in told] == [
        ("fedavg_rounds", 1, 2, 1),
        ("fedavg_rounds", 2, 2, 2),
    ]
    assert set(told[0].losses) == {"train_loss", "validation_loss", "validation_accuracy"}
    silent = []
    models(federate(), 1, settings=RoundSettings(mu=0.1), on_step=silent.append)
    assert (silent[0].phase, set(silent[0].losses)) == ("fedprox_rounds", {"train_loss"})


def test_a_site_moves_the_fp32_state_up_and_down_in_every_round(federate):
    network = federate().study.network()
    batch_norm = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    numbers = len(weights(network)) + sum(2 * layer.num_features for layer in batch_norm)
    assert bytes_moved(network, rounds=1) == 2 * 4 * numbers
    assert bytes_moved(network, rounds=100) == 100 * bytes_moved(network, rounds=1)
    assert averaging_flop(network, sites=5) == 2 * 5 * numbers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.0}, "rate: expected a value above 0, found 0.0"),
        ({"rate": float("nan")}, "rate: expected a value above 0, found nan"),
        ({"local_epochs": 0}, "local_epochs: expected 1 or more, found 0"),
        ({"mu": -0.1}, "mu: expected 0 up to 1 / rate, found -0.1"),
        ({"rate": 0.02, "mu": 51.0}, "mu: expected 0 up to 1 / rate, found 51.0"),
        ({"rate": -1.0, "local_epochs": 0}, r"rate: .*\nlocal_epochs: "),
    ],
)
def test_bad_settings_are_refused_together(settings, message):
    with pytest.raises(SettingsError, match=message):
        RoundSettings(**settings)


def test_bad_input_is_refused_before_the_first_round(federate):
    federation = federate()
    for milestones, found in (((), "none"), ((0, 5), "0, 5")):
        with pytest.raises(SettingsError, match=f"numbers of rounds from 1, found {found}"):
            run_rounds(
                federation.images,
                milestones,
                study=federation.study,
                settings=RoundSettings(),
                seed=0,
            )
    with pytest.raises(DataError, match="at least one site, found none"):
        run_rounds({}, [1], study=federation.study, settings=RoundSettings(), seed=0)
    empty = {"site-1": federation.images["site-1"].subset([])}
    with pytest.raises(DataError, match="at least one image, found none"):
        models(federation, 1, images=empty)


def test_the_checkpoint_of_another_run_is_refused(federate, tmp_path):
    federation = federate()
    job = {"study": federation.study, "settings": RoundSettings(), "seed": 0}
    first = rounds_fingerprint(federation.images, **job)
    only = {"site-1": federation.images["site-1"]}
    others = [
        rounds_fingerprint(only, **job),
        rounds_fingerprint(federation.images, **{**job, "settings": RoundSettings(mu=0.1)}),
        rounds_fingerprint(federation.images, **{**job, "seed": 1}),
    ]
    assert len({first, *others}) == 4
    models(federation, 1, checkpoint=Checkpoint(tmp_path / "c", fingerprint=first))
    with pytest.raises(SettingsError, match="a job with other settings or inputs"):
        models(federation, 1, checkpoint=Checkpoint(tmp_path / "c", fingerprint=others[0]))


def test_a_site_of_one_image_takes_part(federate):
    federation = federate(replace(PLAIN, validation_fraction=0.2))
    images = {**federation.images, "site-1": federation.images["site-1"].subset([0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        [model] = models(federation, 1, images=images)
    assert all(tensor.isfinite().all() for tensor in model.network.state_dict().values())
