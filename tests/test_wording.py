import pytest
from pydantic import TypeAdapter, ValidationError

from envoi.wording import counted, did_you_mean, differences, expected_by


def test_one_has_no_plural():
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_only_a_name_that_is_near_is_meant():
    known = {"fedisca": 1, "fedavg": 2}
    assert did_you_mean("fedisc", known, otherwise="No.") == "Did you mean 'fedisca'?"
    assert did_you_mean("xyz", known, otherwise="No.") == "No."
    assert did_you_mean("xyz", known, otherwise="No.", cutoff=0).startswith("Did you mean")
    assert did_you_mean("xyz", [], otherwise="No.", cutoff=0) == "No."


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (int, "a", "a valid integer"),
        (int, 1.5, "a valid integer"),
        (float, "a", "a valid number"),
        (bool, "a", "a valid boolean"),
    ],
)
def test_what_was_expected_is_told_without_the_parser(kind, value, words, strict):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, strict=strict)
    assert [expected_by(item) for item in caught.value.errors()] == [words]


def test_what_differs_is_told_with_both_values_unless_these_are_long():
    before = {"training": {"steps": 600, "seed": 0}, "mode": "joint", "subjects": "a" * 64}
    now = {"training": {"steps": 700, "seed": 0, "parts": 2}, "subjects": "b" * 64, "none": None}
    assert differences(before, now) == [
        "mode: joint then, none now",
        "subjects",
        "training.parts: none then, 2 now",
        "training.steps: 600 then, 700 now",
    ]
    assert differences(before, before) == []
