"""What volumes cost: what sidecars tell of it, and what is predicted."""

import json

import pytest
import torch

from envoi.meter import Cost, flop_counter
from envoi.mri.making import cost_entry, sidecars, words_of_drawing
from envoi.mri.memory import predicted_flop
from envoi.mri.modes import model_of, plan_of

SETTINGS = {"Steps": 20, "Precision": "fp32"}


def made(seconds, peak_gib, device="a laptop"):
    cost = cost_entry(Cost(seconds, int(peak_gib * 2**30)), device)
    return {"Model": "envoi.mri, mode joint", "Settings": SETTINGS, "Cost": cost}


def written(folder, *told):
    for number, one in enumerate(told):
        text = one if isinstance(one, str) else json.dumps(one)
        (folder / f"synthetic-{number}.json").write_text(text)
    return words_of_drawing(sidecars(folder))


def test_the_median_time_and_the_largest_memory_are_told(tmp_path):
    words = written(tmp_path, made(3.0, 1.0), made(10.0, 2.5), made(4.0, 1.5))
    assert words == {
        "Drawn by": "envoi.mri, mode joint",
        "Steps of drawing": "20",
        "Precision": "fp32",
        "Drawing one took": "4 s (median of 3)",
        "Largest memory while drawing": "2.50 GiB, libraries included on a CPU",
        "Device": "a laptop",
    }


def test_times_of_several_devices_are_not_mixed(tmp_path):
    words = written(tmp_path, made(3.0, 1.0), made(10.0, 2.5, "a server"))
    assert "Drawing one took" not in words
    assert words["Steps of drawing"] == "20"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"Model": "a", "Settings": "b"}', '{"Model": "a", "Settings": {}}']
)
def test_sidecars_of_others_tell_nothing(tmp_path, text):
    assert written(tmp_path) == {}
    assert written(tmp_path, text) == {}


@pytest.mark.parametrize(
    "cost",
    [
        {"Seconds": "soon"},
        {"Seconds": float("nan")},
        {"Seconds": -1.0},
        {"PeakMemoryBytes": float("inf")},
        {"PeakMemoryBytes": None},
    ],
)
def test_a_cost_that_makes_no_sense_is_left_out(tmp_path, cost):
    sound = made(1.0, 1.0)
    odd = sound | {"Cost": sound["Cost"] | cost}
    assert "Drawing one took" in written(tmp_path, sound)
    assert "Drawing one took" not in written(tmp_path, sound, odd)


def test_times_of_several_models_or_steps_are_not_mixed(tmp_path):
    slow = made(99.0, 1.0) | {"Settings": {"Steps": 1000}}
    assert "Drawing one took" not in written(tmp_path, made(1.0, 1.0), slow)


@pytest.mark.parametrize("mode", ["joint", "wavelet3d", "full3d"])
def test_predicted_arithmetic_is_that_of_drawing(mode):
    """On a cube all planes cost the same, and the field of an untrained model is the volume."""
    changes = {"thickness": 8} if mode == "joint" else {"widths": (32, 32)}
    plan = plan_of(mode, (16, 16, 16), changes)
    model = model_of(plan).eval()
    with flop_counter() as counter:
        model.draw(torch.zeros(1, 2), steps=12, generator=torch.Generator())
    assert predicted_flop(plan, 12) == pytest.approx(counter.get_total_flops(), rel=0.2)
