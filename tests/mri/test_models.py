"""What every model of volumes keeps to, and what each alone promises."""

import math
from dataclasses import replace

import pytest
import torch

from envoi.errors import MethodError
from envoi.mri import slab_denoiser
from envoi.mri.coarse import coarse_given, coarse_of
from envoi.mri.given import Given, random_mask
from envoi.mri.joint import JointModel
from envoi.mri.population import Population
from envoi.mri.slab_denoiser import masked_error, place, slab_maps
from envoi.mri.slices import SlicesNetwork, SlicesPlan, distances
from envoi.mri.whole import haar, inverse_haar
from tests.mri.conftest import PLANS, SHAPE, strangers

every_model = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS, indirect=False)
ANYONE = torch.full((2, 2), torch.nan)


def drawn(model, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    return model.eval().draw(
        changes.pop("persons", ANYONE), steps=2, generator=generator, **changes
    )


def unsettled(model):
    """Its last layers start at zero, so that a fresh model says nothing: shake all weights."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@every_model
def test_it_draws_a_volume_for_each_person_within_the_range(model):
    volumes = drawn(unsettled(model))
    assert volumes.shape == (2, *SHAPE)
    assert -1 <= volumes.min() <= volumes.max() <= 1
    assert not torch.equal(volumes[0], volumes[1])


@every_model
def test_equal_seeds_draw_equal_volumes(model):
    model = unsettled(model)
    assert torch.equal(drawn(model), drawn(model))
    assert not torch.equal(drawn(model), drawn(model, seed=1))


@pytest.mark.parametrize("nothing", [0.0, 1.0])
def test_how_often_a_joint_model_is_given_nothing_is_its_plans(
    nothing, population, generator, monkeypatch
):
    masks = []

    def noted(*args, **changes):
        masks.append(random_mask(*args, **changes))
        return masks[-1]

    monkeypatch.setattr(slab_denoiser, "random_mask", noted)
    model = JointModel(replace(PLANS["joint"], nothing_given=nothing))
    model.losses(population, 8, generator)
    assert [bool(mask.any()) for mask in masks] == 8 * [nothing == 0]


@every_model
def test_every_weight_learns(model, population, generator):
    model = unsettled(model).train()
    for _ in range(3):  # planes and windows differ from batch to batch
        torch.stack(list(model.losses(population, 2, generator).values())).sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@every_model
def test_it_learns(model, population):
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)

    def loss(seed):
        terms = model.losses(population, 4, torch.Generator().manual_seed(seed))
        return torch.stack(list(terms.values())).sum()

    with torch.no_grad():
        before = sum(float(loss(seed)) for seed in range(100, 106))
    for seed in range(40):
        optimiser.zero_grad()
        loss(seed).backward()
        optimiser.step()
    with torch.no_grad():
        assert sum(float(loss(seed)) for seed in range(100, 106)) < 0.7 * before


@pytest.mark.parametrize("name", ["paper", "full3d", "wavelet3d"])
def test_models_that_cannot_complete_say_so(name, request):
    from tests.mri.conftest import KINDS

    model = KINDS[name](PLANS[name])
    some = Given(torch.zeros(SHAPE), torch.ones(SHAPE))
    with pytest.raises(MethodError, match="mode joint"):
        drawn(model, given=some)


@every_model
def test_steps_are_told(model):
    told = []
    drawn(model, on_sample=lambda done, steps: told.append((done, steps)), persons=ANYONE[:1])
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]


class TestJoint:
    def test_given_slices_stay_as_they_are(self, joint, population):
        mask = torch.zeros(SHAPE)
        mask[::4] = 1
        scan = population.voxels[0].float()
        volumes = drawn(unsettled(joint), given=Given(scan, mask))
        assert torch.equal(volumes[:, ::4], scan[::4].expand(2, -1, -1, -1))
        assert not torch.equal(volumes[0, 1], scan[1])

    def test_given_slices_change_the_others(self, joint, population):
        mask, joint = torch.zeros(SHAPE), unsettled(joint)
        mask[::4] = 1
        first, again, second = (
            drawn(joint, given=Given(population.voxels[n].float(), mask))[0, 1] for n in (0, 0, 2)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, second)

    def test_given_slices_stay_wherever_they_lie_about_the_field(self, joint, generator):
        """One within the box in which anybody has a brain, one beside it, one through it."""
        scan = torch.full(SHAPE, -1.0)
        scan[4:9, 4:10, 3:7] = torch.rand(5, 6, 4, generator=generator)
        joint.prepare(Population(scan[None].half(), ANYONE[:1]))
        assert joint.slab.field.sides[0] < SHAPE[0]
        scan = torch.rand(SHAPE, generator=generator)  # of another person, whose head is larger
        mask = torch.zeros(SHAPE)
        mask[6], mask[0], mask[:, 5] = 1, 1, 1
        whole = drawn(unsettled(joint), given=Given(scan, mask))[0]
        assert torch.equal(whole[mask > 0], scan[mask > 0])
        outside = torch.ones(SHAPE)
        joint.slab.field.of(outside).zero_()
        assert (whole[(mask == 0) & (outside > 0)] == -1).all()

    def test_the_old_are_darker_where_the_old_of_training_were(self, joint, generator):
        """A network that has learned nothing says nothing: what is drawn is what is expected."""
        ages = torch.linspace(-0.8, 0.8, 30)
        bright = 0.3 - 0.4 * ages[:, None, None, None] * torch.ones(SHAPE)
        bright += 0.02 * torch.randn(30, *SHAPE, generator=generator)
        joint.prepare(
            Population(bright.half(), torch.stack([ages, torch.full((30,), torch.nan)], 1))
        )
        young, old = (
            drawn(joint, persons=torch.tensor([[age, torch.nan]] * 4)).mean() for age in (-0.5, 0.5)
        )
        assert float(young - old) == pytest.approx(0.4, abs=0.06)

    def test_fine_detail_follows_age_beside_blocks(self, joint, generator):
        """Of voxels whose blocks have the same mean in everybody."""
        ages = torch.linspace(-0.8, 0.8, 30)
        checks = torch.ones(SHAPE)
        checks[::2] = -1
        detail = 0.2 * ages[:, None, None, None] * checks
        joint.prepare(
            Population(detail.half(), torch.stack([ages, torch.full((30,), torch.nan)], 1))
        )
        joint.slab.network.requires_grad_(False)
        old = drawn(joint, persons=torch.tensor([[0.5, torch.nan]] * 4))
        assert float((old * checks).mean()) == pytest.approx(0.1, abs=0.03)

    def test_slices_of_the_mean_person_tell_of_nothing_but_the_mean(self, joint):
        """Also where a slice differs from its block in everybody."""
        people = strangers(9)
        both = torch.cat([people.voxels, people.voxels.flip(-1)]).float()
        joint.prepare(people)
        mask = torch.zeros(SHAPE)
        mask[1::4] = 1
        known = joint._known(Given(both.mean(dim=0), mask))
        assert known.share[0].max() == 0.25
        assert known.mean[0].abs().mean() < 0.1  # of blocks that are no mirror images
        assert not known.share[1].any()  # they have no outline

    def test_slabs_at_once_change_nothing_but_rounding(self, joint):
        joint = unsettled(joint)
        alone = drawn(joint)
        joint.slab.slabs_at_once = 3
        torch.testing.assert_close(drawn(joint), alone, atol=1e-4, rtol=0)

    def test_recomputed_maps_give_the_same_gradients(self, population):
        models = [JointModel(PLANS["joint"], checkpointed=again) for again in (False, True)]
        models[1].load_state_dict(models[0].state_dict())
        for model in models:
            terms = unsettled(model).losses(population, 2, torch.Generator().manual_seed(0))
            torch.stack(list(terms.values())).sum().backward()
        for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)

    def test_age_and_sex_matter(self, joint):
        joint = unsettled(joint)
        young, old, unknown = (
            drawn(joint, persons=torch.tensor([row]))
            for row in ([-0.4, 1.0], [0.8, 1.0], [float("nan"), float("nan")])
        )
        assert not torch.equal(young, old)
        assert not torch.equal(old, unknown)

    def test_known_voxels_do_not_count_in_the_loss(self):
        found, wanted, known = torch.zeros(2, 4), torch.ones(2, 4), torch.zeros(2, 4)
        known[0] = 1
        found[0] = 100
        assert masked_error(found, wanted, known) == 1

    def test_everything_known_leaves_no_loss(self):
        assert masked_error(torch.ones(3), torch.zeros(3), torch.ones(3)) == 0

    def test_coarse_voxels_are_means_of_blocks_also_at_the_end(self):
        volume = torch.arange(10.0).expand(1, 4, 4, 10)
        assert coarse_of(volume, 4).flatten().tolist() == [1.5, 5.5, 8.5]

    def test_coarse_given_are_means_of_known_voxels(self):
        voxels, mask = torch.full((1, 4, 4, 4), 3.0), torch.zeros(1, 4, 4, 4)
        mask[:, 0] = 1
        mean, share = coarse_given(voxels, mask, 4)
        assert (float(mean), float(share)) == (3.0, 0.25)

    def test_places_run_from_one_end_to_the_other(self):
        assert place(0, 4, 12) == -place(8, 4, 12)
        assert place(4, 4, 12) == 0


class TestPaper:
    def test_the_published_network_has_119_million_parameters(self):
        with torch.device("meta"):
            network = SlicesNetwork(SlicesPlan())
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        assert millions == pytest.approx(119, rel=0.01)

    def test_distances_tell_direction_and_identity(self):
        apart = distances(torch.tensor([[3, 5]]))[0]
        assert apart[0, 0].tolist() == [0, 0, 1]
        assert apart[1, 0].tolist() == pytest.approx([math.log(3), 0, 0])
        assert apart[0, 1].tolist() == pytest.approx([0, math.log(3), 0])

    def test_windows_do_not_see_one_another(self, generator):
        from envoi.mri.paper import PaperModel
        from envoi.mri.windows import Window

        model = unsettled(PaperModel(PLANS["paper"])).eval()
        windows = [Window((0,), (2, 5)), Window((), (1, 2))]
        slices = torch.randn(5, *SHAPE[1:], generator=generator)
        wanted = torch.tensor([False, True, True, True, True])
        times = torch.tensor([10, 900])
        with torch.no_grad():
            both = model._predicted(slices, wanted, windows, times)
            alone = model._predicted(slices[:3], wanted[:3], windows[:1], times[:1])
            changed = slices.clone()
            changed[0] += 1
            moved = model._predicted(changed, wanted, windows, times)
        torch.testing.assert_close(both[:3], alone, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(moved[1:3], both[1:3])
        torch.testing.assert_close(moved[3:], both[3:])


class TestWavelets:
    def test_the_inverse_gives_the_voxels_back(self, generator):
        maps = torch.randn(2, 1, 4, 6, 8, generator=generator)
        torch.testing.assert_close(inverse_haar(haar(maps)), maps)

    def test_the_first_band_is_the_mean_of_blocks(self, generator):
        maps = torch.randn(1, 1, 4, 4, 4, generator=generator)
        means = torch.nn.functional.avg_pool3d(maps, 2)
        torch.testing.assert_close(haar(maps)[:, :1], means)

    def test_details_keep_their_size_beside_noise(self, generator):
        """The transform is orthonormal but for the means, which are divided by sqrt 8."""
        maps = torch.randn(1, 1, 8, 8, 8, generator=generator)
        bands = haar(maps)
        energy = 8 * bands[:, 0].square().sum() + bands[:, 1:].square().sum()
        torch.testing.assert_close(energy, maps.square().sum())

    def test_a_flat_volume_has_no_detail(self):
        assert haar(torch.ones(1, 1, 2, 2, 2))[0, 1:].abs().max() == 0


def test_slabs_are_shown_with_the_intensity_that_they_amount_to(generator):
    """Of a given voxel that is its own; of a noisy one, what its value tells at that angle."""
    around, deviation = torch.rand(2, 1, 4, 5, 6, generator=generator)
    clean = torch.rand(1, 4, 5, 6, generator=generator)
    known = torch.zeros(1, 4, 5, 6)
    known[:, 1] = 1
    data = (clean - around) / deviation
    noise = torch.randn(data.shape, generator=generator)
    for angle, share in ((0.0, 0.0), (math.pi / 6, 0.5), (math.pi / 2, 1.0)):
        turned = torch.full(data.shape, angle)
        mixed = turned.sin() * data + turned.cos() * noise
        maps = slab_maps(torch.where(known > 0, data, mixed), known, around, deviation, turned)
        intensity = maps[3]
        torch.testing.assert_close(intensity[:, 1], clean[:, 1])
        expected = around + deviation * share * mixed
        torch.testing.assert_close(intensity[:, 2:], expected[:, 2:])
    torch.testing.assert_close(intensity, clean)


@pytest.mark.parametrize(("width", "groups"), [(128, 32), (256, 32), (64, 16), (32, 8)])
def test_no_group_of_the_papers_network_has_fewer_than_four_channels(width, groups):
    plan = SlicesPlan(width=width, multipliers=(1, 1), attention=())
    norms = [m for m in SlicesNetwork(plan).modules() if isinstance(m, torch.nn.GroupNorm)]
    assert plan.groups == groups
    assert norms
    assert all(norm.num_groups == groups for norm in norms)
