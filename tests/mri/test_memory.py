"""Predicted memory: what the ledger counts, that content does not matter, and what fits."""

import gc
import time
from dataclasses import replace

import pytest
import torch

from envoi.errors import SettingsError
from envoi.mri.angles import data_of, noise_of
from envoi.mri.fitting import GIB, fitted
from envoi.mri.joint import JointModel
from envoi.mri.memory import Ledger, Use, predicted_bytes
from envoi.mri.modes import model_of, plan_of
from envoi.mri.population import Population, volume_bytes
from envoi.mri.slabs import Plane
from tests.launched import python
from tests.mri.conftest import PLANS

every_plan = pytest.mark.parametrize("name", list(PLANS))


def test_the_ledger_counts_what_lives_and_remembers_the_most():
    with Ledger() as ledger:
        first = torch.zeros(1000)
        assert ledger.live_bytes == 4000
        view = first[:10]
        assert ledger.live_bytes == 4000
        del first, view
        gc.collect()
        assert ledger.live_bytes == 0
        second = torch.zeros(500)
    assert (ledger.live_bytes, ledger.peak_bytes) == (2000, 4000)
    del second


@every_plan
def test_sampling_for_real_takes_what_was_predicted(name):
    plan = PLANS[name]
    model, ledger = model_of(plan), Ledger()
    for tensor in [*model.parameters(), *model.buffers()]:
        ledger.count(tensor)
    with ledger:  # planes differ in size; the prediction is of the largest
        for plane in Plane if isinstance(model, JointModel) else (None,):
            if plane is not None:
                model.slab.planes = (plane,)
            draws = torch.Generator().manual_seed(0)
            model.eval().draw(torch.zeros(1, 2), steps=4, generator=draws)
    predicted = predicted_bytes(plan, Use("sample"))
    assert ledger.peak_bytes == pytest.approx(predicted, rel=0.02)


@every_plan
def test_training_for_real_takes_what_was_predicted(name):
    plan = PLANS[name]
    model, ledger = model_of(plan), Ledger()
    beside = [torch.empty_like(p) for p in model.parameters() for _ in range(3)]
    for tensor in [*model.parameters(), *model.buffers(), *beside]:
        ledger.count(tensor)
    population = Population(torch.zeros(1, *plan.shape, dtype=torch.half), torch.zeros(1, 2))
    with ledger:  # planes differ in size; the prediction is of the largest
        for plane in Plane if isinstance(model, JointModel) else (None,):
            if plane is not None:
                model.slab.planes = (plane,)
            terms = model.heaviest_losses(population, 2, torch.Generator().manual_seed(0))
            torch.stack(list(terms.values())).sum().backward()
            del terms
            model.zero_grad(set_to_none=True)
    assert ledger.peak_bytes == pytest.approx(predicted_bytes(plan, Use("train", 2)), rel=0.05)


def test_the_largest_plane_of_a_flat_volume_counts():
    """Slabs of the axial plane are larger than the others here; any plane may be drawn."""
    plan = plan_of("joint", (8, 48, 48), {"thickness": 4, "overlap": 1, "widths": (8, 16)})
    peaks = []
    for plane in Plane:
        model, ledger = model_of(plan), Ledger()
        model.slab.planes = (plane,)
        for tensor in [*model.parameters(), *model.buffers()]:
            ledger.count(tensor)
        with ledger:
            draws = torch.Generator().manual_seed(0)
            model.eval().draw(torch.zeros(1, 2), steps=4, generator=draws)
        peaks.append(ledger.peak_bytes)
    assert max(peaks) > 1.05 * min(peaks)
    assert predicted_bytes(plan, Use("sample")) == pytest.approx(max(peaks), rel=0.01)


def test_sampling_holds_twenty_volumes_in_any_number_of_steps(tmp_path):
    """In a single one none of the step before: nineteen.

    Of slabs so thin that their maps are less than the two volumes that would count.

    In a process without the tests' type checks, whose wrappers hold the arguments of calls.
    """
    script = """
from envoi.mri import memory
from envoi.mri.modes import plan_of

size = 224
small = {"thickness": 4, "overlap": 0, "widths": (8, 8)}
plan = plan_of("joint", (size, size, size), small)
for memory._STEPS in (1, 4, 6):
    memory._peak_bytes.cache_clear()
    tensors = memory.predicted_bytes(plan, memory.Use("sample")) - 4 * memory.parameters_of(plan)
    print(tensors / (4 * size**3))
"""
    done = python("-c", script, cwd=tmp_path)
    volumes = [float(line) for line in done.stdout.split()]
    assert volumes == [pytest.approx(held + 0.2, abs=0.1) for held in (19, 20, 20)], done.stderr


@pytest.mark.parametrize(("target", "volumes"), [("v", 2), ("flow", 3)])
def test_an_answer_becomes_data_and_data_noise_with_few_volumes(target, volumes):
    state, said, angle = torch.rand(3, 1000).unbind()
    with Ledger() as ledger:
        data = data_of(state, said, angle, target)
    assert ledger.peak_bytes == volumes * 4000
    with Ledger() as ledger:
        noise_of(state, data, angle)
    assert ledger.peak_bytes == 2 * 4000


def test_a_prediction_allocates_nothing_that_it_counts():
    began = time.monotonic()
    large = predicted_bytes(plan_of("full3d", (256, 256, 256), {}), Use("sample"))
    assert large > 20 * GIB  # more than the machines of the tests have
    assert time.monotonic() - began < 60


def test_recomputed_maps_and_single_slabs_need_less():
    plan = plan_of("joint", (64, 64, 64), {})
    assert predicted_bytes(plan, Use("train", 2, checkpointed=True)) < predicted_bytes(
        plan, Use("train", 2)
    )
    assert predicted_bytes(plan, Use("sample")) < predicted_bytes(
        plan, Use("sample", slabs_at_once=4)
    )


def test_half_precision_needs_less():
    plan = plan_of("joint", (64, 64, 64), {})
    whole, half = (predicted_bytes(plan, Use("train", 2, precision=p)) for p in ("fp32", "bf16"))
    assert half < 0.8 * whole


@pytest.mark.slow
def test_the_goals_for_memory_at_128_voxels_hold():
    """The issue's: ten times under full 3D, five under the paper, 0.5 GiB for inference."""
    shape = (128, 128, 128)
    own, full, paper = (
        {
            phase: predicted_bytes(plan_of(mode, shape, {}), Use(phase))
            for phase in ("sample", "train")
        }
        for mode in ("joint", "full3d", "paper")
    )
    for phase in ("sample", "train"):
        assert own[phase] * 10 <= full[phase]
        assert own[phase] * 5 <= paper[phase]
    assert own["sample"] < 0.5 * GIB
    assert paper["sample"] / GIB == pytest.approx(1.9, rel=0.05)  # traced in the paper's network


class TestFitting:
    plan = plan_of("joint", (32, 32, 32), {"widths": (16, 32)})

    def test_more_memory_is_used_for_larger_batches_and_never_exceeded(self):
        batches = []
        for gib in (0.04, 0.08, 0.3):
            fit = fitted(self.plan, "train", gib * GIB)
            assert fit.bytes <= gib * GIB
            batches.append(fit.use.batch)
        assert batches == sorted(batches)
        assert batches[0] < batches[-1] == 8

    def test_too_little_memory_names_the_least_that_would_do(self):
        with pytest.raises(SettingsError, match=r"at least 0\.\d\d GiB to train at 32x32x32"):
            fitted(self.plan, "train", 1e6)

    def test_half_precision_comes_before_thinner_slabs_where_it_is_allowed(self):
        least = predicted_bytes(self.plan, Use("train", 1, checkpointed=True))
        memory = 1.15 * least - 1
        thin, half = (
            fitted(self.plan, "train", memory, precisions)
            for precisions in (("fp32",), ("fp32", "bf16"))
        )
        assert (half.plan, half.use.precision) == (self.plan, "bf16")
        assert half.bytes * 1.15 <= memory
        assert thin.plan.thickness < self.plan.thickness
        thinner = replace(self.plan, thickness=8)
        memory = 1.15 * predicted_bytes(thinner, Use("train", 1, checkpointed=True)) - 1
        fit = fitted(self.plan, "train", memory, ("fp32", "bf16"))
        assert fit.plan.thickness >= 8
        assert fitted(self.plan, "train", 2 * memory, ("fp32", "bf16")).use.precision == "fp32"

    def test_what_lives_beside_the_network_counts(self):
        alone = fitted(self.plan, "sample", 0.3 * GIB)
        held = 700 * volume_bytes(self.plan.shape)
        beside = fitted(self.plan, "sample", 0.3 * GIB, people=700)
        assert beside.bytes == held + predicted_bytes(self.plan, beside.use)
        assert beside.bytes - alone.bytes <= held
        with pytest.raises(SettingsError, match=r"at 32x32x32, 0\.26 of them for volumes, found 0"):
            fitted(self.plan, "sample", 0.25 * GIB, people=1400)

    def test_what_is_taken_from_people_before_the_first_step_counts(self):
        least = replace(self.plan, thickness=4, overlap=2)
        use = Use("train", checkpointed=True, precision="bf16")
        volume, pair = 4 * 32**3, 4 * 2 * 8**3
        assert predicted_bytes(least, use) < 18 * volume + 5 * 1000 * pair
        for people in (1000, 2000):
            found = predicted_bytes(least, replace(use, people=people))
            assert found == 18 * volume + 5 * people * pair
        sampling = Use("sample")
        assert predicted_bytes(least, replace(sampling, people=9999)) == predicted_bytes(
            least, sampling
        )

    def test_sampling_never_changes_the_network(self):
        fit = fitted(self.plan, "sample", 0.02 * GIB)
        assert fit.plan == self.plan
