"""Settings: presets, layers, and messages that name the key."""

import dataclasses

import jaxtyping
import pytest
from pydantic import BaseModel, ValidationError

from envoi.errors import SettingsError
from envoi.settings import PRESETS, Budget, TrainingSettings, problems_of, resolved


@pytest.fixture
def unchecked_types():
    """Without the tests' run-time type checks, as in use."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size_px", [28, 224])
def test_every_preset_is_a_budget_of_its_own(name, size_px):
    others = [Budget.preset(other) for other in PRESETS if other != name]
    assert Budget.preset(name, size_px=size_px) not in others


def test_full_is_the_default_and_the_others_are_cheaper():
    assert Budget.preset("full") == Budget()
    steps = [b.outer_epochs * b.synthesis_steps for b in map(Budget.preset, PRESETS)]
    assert steps == sorted(steps)
    assert len(set(steps)) == 3


@pytest.mark.parametrize(("size_px", "batch_size"), [(28, 256), (64, 256), (65, 50), (224, 50)])
def test_full_follows_the_image_size(size_px, batch_size):
    assert Budget.preset("full", size_px=size_px).batch_size == batch_size


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_preset_is_told():
    with pytest.raises(
        SettingsError, match=r"budget: expected one of smoke, short, full, found 'f'"
    ):
        Budget.preset("f")


def test_changes_are_told_in_the_order_of_the_fields():
    budget = Budget(student_rate=0.1, outer_epochs=3)
    changes = ("outer_epochs: 100 -> 3", "student_rate: 0.001 -> 0.1")
    assert budget.changes_from(Budget()) == changes
    assert budget.changes_from(budget) == ()


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("epochs", (0, -1, 10**30), "a whole number from 1 to below 1e9"),
        ("batch_size", (1, 0, -1), "a whole number from 2 to below 1e9"),
        ("rate", (0.0, -1.0, 1e9, float("inf"), float("nan")), "a value above 0 and below 1e9"),
        ("momentum", (-1.0, 1.0, float("nan")), "0 up to below 1"),
        ("weight_decay", (-1.0, float("inf"), float("nan")), "0 up to below 1e9"),
        (
            "milestones",
            ((5.0, -2.0), (0.5, 1.5), (float("nan"),), (0.5,) * 33),
            "at most 32 values from 0 to 1",
        ),
        ("patience", (-3,), "a whole number from 0 to below 1e9"),
    ],
)
def test_training_takes_no_value_that_cannot_be(name, values, expected):
    for value in values:
        with pytest.raises(SettingsError, match=f"^{name}: expected {expected}, found "):
            TrainingSettings(**{name: value})


@pytest.mark.usefixtures("unchecked_types")
def test_whole_numbers_and_names_are_checked_where_nobody_checks_types():
    for name, value in (("epochs", 2.5), ("schedule", "cosine"), ("patience", 0.5)):
        with pytest.raises(SettingsError, match=f"^{name}: expected "):
            TrainingSettings(**{name: value})


def test_all_that_is_wrong_with_a_training_is_told_at_once():
    with pytest.raises(SettingsError) as caught:
        TrainingSettings(momentum=-1.0, weight_decay=-1.0, milestones=(5.0, -2.0), patience=-3)
    names = [problem.where for problem in caught.value.problems]
    assert names == ["momentum", "weight_decay", "milestones", "patience"]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_training_takes_out_a_part_of_the_class_mix_or_all_of_it(value):
    with pytest.raises(SettingsError, match=r"^logit_adjustment: expected 0 to 1, found "):
        TrainingSettings(logit_adjustment=value)


def test_the_class_mix_is_taken_out_once():
    message = (
        "logit_adjustment: expected 0 beside class_weights, found 0.5. Choose one of the two: "
        "each takes the class mix out of the answers."
    )
    with pytest.raises(SettingsError) as caught:
        TrainingSettings(class_weights=True, logit_adjustment=0.5)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "power"),
    [
        ({}, 1.0),
        ({"class_weights": True}, 0.0),
        ({"logit_adjustment": 1.0}, 0.0),
        ({"logit_adjustment": 0.25}, 0.75),
    ],
)
def test_what_is_left_of_the_class_mix(values, power):
    assert TrainingSettings(**values).mix_power == power


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_the_validation_part_leaves_something_to_train_on(value):
    with pytest.raises(SettingsError, match=r"validation_fraction: expected 0 up to below 1"):
        TrainingSettings(validation_fraction=value)
    assert TrainingSettings(validation_fraction=0.0).validation_fraction == 0


@pytest.mark.parametrize(
    "name", ["outer_epochs", "synthesis_steps", "batch_size", "student_rate", "temperature"]
)
def test_a_budget_needs_values_above_zero(name):
    with pytest.raises(SettingsError, match=f"^{name}: expected a value above 0, found 0"):
        Budget(**{name: 0})


@pytest.mark.parametrize(
    "name",
    [
        "pixel_rate",
        "jitter_px",
        "class_weight",
        "variation_weight",
        "statistics_weight",
        "student_momentum",
        "student_weight_decay",
    ],
)
def test_a_budget_has_nothing_negative(name):
    with pytest.raises(SettingsError, match=f"^{name}: expected 0 or more, found -1"):
        Budget(**{name: -1})
    assert getattr(Budget(**{name: 0}), name) == 0


def test_a_fresh_student_has_no_statistics_to_freeze():
    with pytest.raises(SettingsError, match=r"student_statistics: expected 'batch' with .* 'seed'"):
        Budget(student_statistics="frozen")
    frozen = Budget(student_statistics="frozen", student_start="average")
    assert frozen.student_statistics == "frozen"


def test_later_layers_win_and_the_rest_is_the_presets():
    preset = Budget.preset("short")
    budget = resolved(preset, {"batch_size": 7, "jitter_px": 1}, {"batch_size": 9}, where="x")
    assert budget == dataclasses.replace(preset, batch_size=9, jitter_px=1)
    assert resolved(preset, where="x") == preset


def test_lists_of_files_become_tuples():
    settings = resolved(TrainingSettings(), {"milestones": [0.25]}, where="bench.toml")
    assert settings.milestones == (0.25,)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("batch_sise", "batch_size"), ("outer_epoch", "outer_epochs"), ("tau", "temperature")],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    with pytest.raises(SettingsError) as caught:
        resolved(Budget(), {key: 1}, where="[budget]")
    wanted = f"[budget], {key}: expected a known key, found '{key}'. Did you mean '{nearest}'?"
    assert str(caught.value) == wanted


def test_wrong_values_and_unknown_keys_are_told_together():
    layer = {"batch_size": "many", "student_optimiser": "lion", "colour": 1}
    with pytest.raises(SettingsError) as caught:
        resolved(Budget(), layer, where="a.toml")
    problems = {problem.where: problem for problem in caught.value.problems}
    assert problems.keys() == {f"a.toml, {key}" for key in layer}
    assert problems["a.toml, batch_size"].found == "'many'"
    assert "'sgd' or 'adam'" in problems["a.toml, student_optimiser"].expected


def test_a_check_of_the_settings_themselves_reads_as_any_other():
    with pytest.raises(SettingsError) as caught:
        resolved(Budget(), {"batch_size": 0}, where="a.toml")
    wanted = "a.toml, batch_size: expected a value above 0, found 0. Correct batch_size."
    assert str(caught.value) == wanted


class Card(BaseModel):
    epochs: int


def test_what_is_missing_is_told_as_nothing():
    with pytest.raises(ValidationError) as caught:
        Card.model_validate({})
    (problem,) = problems_of(caught.value, where="card", known=["epochs"])
    assert (problem.found, problem.where) == ("nothing", "card, epochs")
    with pytest.raises(ValidationError) as caught:
        Card.model_validate("text")
    (problem,) = problems_of(caught.value, where="card", known=["epochs"])
    assert (problem.found, problem.where) == ("'text'", "card, the whole")


def test_long_values_are_cut_in_messages():
    with pytest.raises(SettingsError) as caught:
        resolved(Budget(), {"batch_size": "9" * 500 + "x"}, where="a.toml")
    assert len(caught.value.problems[0].found) == 80


@pytest.mark.parametrize("settings", [Budget(), TrainingSettings()])
def test_settings_are_frozen(settings):
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.batch_size = 1


def test_precisions_have_names():
    message = r"\[budget\], precision: expected .*'auto', 'fp32' or 'bf16', found 'fp16'"
    with pytest.raises(SettingsError, match=message):
        resolved(Budget(), {"precision": "fp16"}, where="[budget]")
    assert resolved(Budget(), {"precision": "bf16"}, where="[budget]").precision == "bf16"
