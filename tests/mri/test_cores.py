"""What models show their networks, what they ask of them, and what they make of the answers."""

from collections import defaultdict

import pytest
import torch
from torch import nn

from envoi.mri.agreement import Agreement
from envoi.mri.diffusion import Diffusion
from envoi.mri.given import Given
from envoi.mri.model import VolumeModel, ignore_sample
from envoi.mri.modes import read_model
from envoi.mri.paper import PaperModel
from envoi.mri.population import Population
from envoi.mri.run import fresh_model, train_in
from envoi.mri.slab_denoiser import Context, place
from envoi.mri.slabs import Plane
from envoi.mri.slices import distances
from envoi.mri.training import MriTraining, train
from envoi.mri.whole import WholeModel
from envoi.mri.windows import Window, sampling_windows
from tests.mri.conftest import PLANS, SHAPE, subjects

NOBODY = torch.full((1, 2), torch.nan)


class Network(nn.Module):
    """Keeps what it is asked, and answers by a rule."""

    def __init__(self, rule):
        super().__init__()
        self.rule, self.asked = rule, []
        self.weight = nn.Parameter(torch.zeros(()))  # tells the device

    def forward(self, *maps, **told):
        self.asked.append((*maps, *told.values()))
        return self.rule(*self.asked[-1])

    def told(self, times):
        return times[:, None].float()


def nothing(maps, _):
    """Of each item the first channel's maps, all zero."""
    return torch.zeros_like(maps[:, 0])


class TestPaper:
    LEVELS = torch.linspace(-0.75, 0.75, SHAPE[0]).half().float()
    WINDOWS = (Window((0, 1, 2), (3, 4, 5, 6, 7)), Window((8, 9), (10,)))
    NUMBERS = torch.arange(11)
    WANTED = torch.tensor([False] * 3 + [True] * 5 + [False] * 2 + [True])

    def loss(self, generator, wrong=()):
        """That of a network which finds the noise, and is wrong by 1 in some slices."""

        def rule(maps, layout):
            signal = torch.from_numpy(Diffusion()._signal)[layout.told[layout.window_of, 0].int()]
            clean, strength = signal.sqrt() * self.LEVELS[self.NUMBERS], (1 - signal).sqrt()
            noise = (maps[:, :1] - clean[:, None, None, None]) / strength[:, None, None, None]
            return (
                noise.float() + torch.isin(self.NUMBERS, torch.tensor(wrong))[:, None, None, None]
            )

        model = PaperModel(PLANS["paper"])
        model.network = Network(rule)
        flat = self.LEVELS[:, None, None].expand(SHAPE)
        population = Population(flat[None].half(), NOBODY)
        terms = model._losses(population, list(self.WINDOWS), generator)
        return float(terms["noise"]), *model.network.asked

    def test_known_slices_are_shown_clean_and_wanted_ones_noisy(self, generator):
        _, (maps, _) = self.loss(generator)
        clean = self.LEVELS[self.NUMBERS, None, None].expand(-1, *SHAPE[1:])
        is_clean = (maps[:, 0] == clean).flatten(1)
        assert is_clean[~self.WANTED].all()
        assert not is_clean[self.WANTED].all(dim=1).any()

    def test_the_second_channel_is_one_in_known_slices_and_zero_in_wanted_ones(self, generator):
        _, (maps, _) = self.loss(generator)
        assert (maps[~self.WANTED, 1] == 1).all()
        assert (maps[self.WANTED, 1] == 0).all()

    @pytest.mark.parametrize(
        ("wrong", "loss"),
        [
            ((), 0.0),
            ((0, 1, 2, 8, 9), 0.0),
            ((3, 4, 5, 6, 7), 0.5),
            ((10,), 0.5),
            ((3,), 0.1),
        ],
        ids=["none", "known ones", "all wanted of five", "the one wanted", "one of five"],
    )
    def test_the_loss_is_the_mean_over_wanted_slices_and_windows(self, wrong, loss, generator):
        assert self.loss(generator, wrong)[0] == pytest.approx(loss, abs=1e-5)

    @pytest.fixture
    def drawn(self, generator):
        """A volume, and what the network was asked: three times for each window."""
        model = PaperModel(PLANS["paper"])
        model.network = Network(lambda maps, _: torch.zeros_like(maps[:, :1]))
        volume = model.draw(NOBODY, steps=3, generator=generator)[0]
        windows = list(sampling_windows(SHAPE[0], slots=PLANS["paper"].slots))
        of_calls = [window for window in windows for _ in range(3)]
        return volume, list(zip(of_calls, model.network.asked, strict=True))

    def test_finished_slices_are_shown_to_the_next_window_as_they_are(self, drawn):
        volume, calls = drawn
        seen = set()
        for window, (maps, _) in calls:
            finished = volume[list(window.known)]
            torch.testing.assert_close(maps[: len(window.known), 0], finished, atol=1e-6, rtol=0)
            seen.update(window.known)
        assert seen == set(range(3, 9))
        assert volume.flatten(1).std(dim=1).min() > 0.1

    def test_the_second_channel_tells_finished_slices_from_those_being_drawn(self, drawn):
        for window, (maps, _) in drawn[1]:
            expected = torch.tensor([1.0] * len(window.known) + [0.0] * len(window.wanted))
            assert torch.equal(maps[:, 1], expected[:, None, None].expand_as(maps[:, 1]))

    def test_windows_are_drawn_from_the_noisiest_time_on_at_their_slices_distances(self, drawn):
        for call, (window, (_, layout)) in enumerate(drawn[1]):
            assert float(layout.told) == Diffusion(3).times[::-1][call % 3]
            assert torch.equal(layout.distances, distances(torch.tensor([window.slices])))


@pytest.mark.parametrize("name", ["full3d", "wavelet3d"])
class TestWhole:
    STEPS = 4

    def test_the_true_velocity_leads_to_the_data(self, name, generator):
        model, data = WholeModel(PLANS[name]), torch.rand(1, *SHAPE, generator=generator) - 0.5
        bands = model._bands(data)
        model.network = Network(lambda *_: bands - model.network.asked[0][0])
        drawn = model.draw(NOBODY, steps=self.STEPS, generator=generator)
        torch.testing.assert_close(drawn, data, atol=1e-5, rtol=0)

    def test_drawing_asks_at_the_time_of_the_state(self, name, generator):
        model = WholeModel(PLANS[name])
        model.network = Network(lambda state, _: torch.ones_like(state))
        model.draw(NOBODY, steps=self.STEPS, generator=generator)
        states, times = zip(*model.network.asked, strict=True)
        assert [float(time) for time in times] == [0, 250, 500, 750]
        for state, time in zip(states, times, strict=True):
            passed = (time / 1000).expand_as(state)
            torch.testing.assert_close(state - states[0], passed, atol=1e-5, rtol=0)

    def test_training_asks_for_the_velocity_at_the_time_of_the_state(self, name, generator):
        model, half = WholeModel(PLANS[name]), torch.rand(1, *SHAPE, generator=generator) - 0.5
        voxels = (half + half.flip(-1)).half()  # mirrored or not
        bands = model._bands(voxels.float())

        def rule(state, times):
            return (bands - state) / (1 - times[:, None, None, None, None] / 1000)

        model.network = Network(rule)
        losses = model.losses(Population(voxels, NOBODY), 8, generator)
        assert float(losses["velocity"]) == pytest.approx(0, abs=1e-5)


class TestJoint:
    @pytest.fixture
    def network(self, joint):
        joint.slab.network = Network(nothing)
        return joint.slab.network

    @pytest.fixture
    def contexts(self, joint, monkeypatch):
        noted, loss = [], joint.slab.loss

        def listening(volumes, context, generator):
            noted.append(context)
            return loss(volumes, context, generator)

        monkeypatch.setattr(joint.slab, "loss", listening)
        return noted

    def test_coarse_volumes_of_training_are_as_noisy_as_the_network_is_told(
        self, joint, network, contexts, generator
    ):
        """Up to a quarter of the deviation that they have between people."""
        joint.coarse.atlas.deviation.fill_(2.0)
        joint.losses(Population(torch.zeros(1, *SHAPE).half(), NOBODY), 32, generator)
        _, doubt, *_ = network.asked[0][1].T
        noise = contexts[0].coarse / (2 / 4 * doubt[:, None, None, None])
        assert float(noise.std()) == pytest.approx(1, abs=0.1)
        assert 0 <= doubt.min() < 0.2 < 0.8 < doubt.max() <= 1

    def test_what_is_expected_of_a_slab_is_as_noisy_as_its_coarse_volume(
        self, joint, network, generator
    ):
        joint.losses(Population(torch.zeros(1, *SHAPE).half(), NOBODY), 64, generator)
        maps, conditions = network.asked[0]
        _, doubt, *_ = conditions.T
        together = torch.stack([doubt, maps[:, 2].flatten(1).std(dim=1)])
        assert torch.corrcoef(together)[0, 1] > 0.8

    def test_the_network_is_told_to_trust_what_is_drawn(self, joint, network, generator):
        joint.draw(NOBODY, steps=2, generator=generator)
        assert network.asked
        assert all((conditions[:, 1] == 0).all() for _, conditions in network.asked)

    def test_training_hides_age_and_sex_of_some_and_tells_those_of_others(
        self, joint, network, generator
    ):
        """The old are women and bright, the young men and dark."""
        persons = torch.tensor([[0.5, 1.0], [-0.5, -1.0]])
        voxels = persons[:, :1, None, None].expand(-1, *SHAPE).half()
        joint.losses(Population(voxels, persons), 200, generator)
        maps, conditions = network.asked[0]
        _, _, _, age, sex, *_ = conditions.T
        hidden, told = age.isnan() & sex.isnan(), ~age.isnan() & ~sex.isnan()
        assert 0.1 < hidden.float().mean() < 0.35
        assert 0.5 < told.float().mean() < 0.8
        brightness = maps[told, 2].mean(dim=(1, 2, 3)).sign()
        assert torch.equal(age[told], brightness / 2)
        assert torch.equal(sex[told], brightness)

    def test_steps_cut_along_all_planes_at_differing_shifts(self, joint, network, generator):
        """Where a slab begins is read off a ramp; its rows and columns tell the plane."""
        depth, height, width = torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij")
        ramp, zeros = (depth + height + width).float(), torch.zeros(SHAPE)
        context = Context(joint.coarse.atlas.mean[:1], ramp[None], NOBODY, torch.zeros(1))
        slab, coarse = joint.slab, joint.coarse
        agreement = Agreement.of(coarse, slab.field, slab.atlas, context.coarse[0])
        slab.slabs_at_once = 99
        with torch.no_grad():
            slab.draw(context, agreement, Given(zeros, zeros), 99, generator, ignore_sample)
        cut = defaultdict(set)
        for maps, conditions in network.asked:
            starts, plane = maps[:, 2, 0, 0, 0].tolist(), _plane_of(maps, conditions)
            cut[plane].add(tuple(starts))
            expected = [place(int(start), 4, SHAPE[plane.axis]) for start in starts]
            assert conditions[:, 2].tolist() == pytest.approx(expected)
        assert set(cut) == set(Plane)
        assert all(len(shifts) == 3 for shifts in cut.values())  # thickness without overlap

    def test_training_cuts_along_all_planes_at_differing_places(
        self, joint, network, population, generator
    ):
        for _ in range(24):
            joint.losses(population, 2, generator)
        places = defaultdict(set)
        for maps, conditions in network.asked:
            places[_plane_of(maps, conditions)].update(conditions[:, 2].tolist())
        assert set(places) == set(Plane)
        assert all(len(some) > 3 for some in places.values())


def _plane_of(maps, conditions):
    """The plane that the network is told, which has to be the one that it is shown."""
    (axis,) = set(conditions[:, -3:].argmax(dim=1).tolist())
    plane = list(Plane)[axis]
    assert maps.shape[3:] == tuple(length for other, length in enumerate(SHAPE) if other != axis)
    return plane


class Pulled(VolumeModel):
    """Four weights, with a slope for each step that is the same for all of them."""

    def __init__(self, slopes):
        super().__init__()
        self.weights, self._slopes = nn.Parameter(torch.zeros(4)), iter(slopes)

    def losses(self, population, batch, generator):
        return {"pull": next(self._slopes) * self.weights.sum()}

    def draw(self, persons, *, steps, generator, given=None, on_sample=ignore_sample):
        return self.weights.detach().expand(len(persons), 1, 1, -1)


def test_a_huge_gradient_moves_weights_as_one_of_norm_one_does(population):
    def weights(slope):
        model = Pulled([0.05, slope, 0.05])
        train(model, population, MriTraining(steps=3, batch=1, warm_up=0, rate=0.1))
        return model.weights.tolist()

    assert weights(1e6) == pytest.approx(weights(0.5), rel=1e-5)
    assert weights(0.25) != pytest.approx(weights(0.5), rel=1e-2)


def test_the_file_of_a_run_holds_averaged_weights(tmp_path):
    people, few = subjects(), MriTraining(steps=3, batch=1, warm_up=0, rate=0.01)
    model = fresh_model(PLANS["wavelet3d"], few.seed)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    raw = {}

    def follow(info):
        raw.update((name, value.detach().clone()) for name, value in model.named_parameters())
        decay = (1 + info.step) / (10 + info.step)
        for name, value in raw.items():
            average[name].lerp_(value, 1 - decay)

    train(model, Population.of(people), few, on_step=follow)
    train_in(tmp_path, people, "wavelet3d", PLANS["wavelet3d"], few)
    written = dict(read_model(tmp_path / "model.safetensors").named_parameters())
    for name, value in written.items():
        torch.testing.assert_close(value.detach(), average[name], atol=1e-6, rtol=0)
    assert max((value - raw[name]).abs().max() for name, value in written.items()) > 0.001
