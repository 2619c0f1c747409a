from dataclasses import replace

import pytest

from envoi.report.findings import find
from envoi.report.verdict import notes, verdict

CLASSES = ("normal", "pneumonia")


@pytest.fixture
def said(study):
    return lambda *methods: verdict(find(study(*methods)))


@pytest.fixture
def noted(study):
    return lambda *methods: " ".join(notes(find(study(*methods)), CLASSES))


def test_a_student_that_wins(method, said):
    assert said(method("pooled", 0.9), method("local/a", 0.6), method("fedisca", 0.81)) == (
        "The FedISCA student answers 81.0% of 100 test images correctly: more than the best site "
        "alone (a, 60.0%), and 90% of what training on all images together reaches (90.0%)."
    )


def test_a_student_that_loses(method, said):
    assert said(method("local/a", 0.6), method("local/b", 0.75), method("fedisca", 0.5)) == (
        "The FedISCA student answers 50.0% of 100 test images correctly: fewer than the best "
        "site alone (b, 75.0%)."
    )


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (0.61, "fewer than the best site alone (a, 61.0%; the intervals overlap)"),
        (0.59, "more than the best site alone (a, 59.0%; the intervals overlap)"),
        (0.60, "exactly as many as the best site alone (a, 60.0%)"),
    ],
)
def test_a_narrow_result_says_so(method, said, site, words):
    assert words in said(method("local/a", site), method("fedisca", 0.6))


def test_better_than_pooled(method, said):
    text = said(method("pooled", 0.8), method("fedisca", 0.88))
    assert text.endswith("correctly: 110% of what training on all images together reaches (80.0%).")


def test_a_student_alone(method, said):
    assert said(method("fedisca", 0.6)) == (
        "The FedISCA student answers 60.0% of 100 test images correctly."
    )


def test_no_student(method, said):
    assert said(method("local/a", 0.6), method("fedavg", 0.4)) == (
        "No student was distilled; “Weight average, one shot” answers 40.0% of 100 test images "
        "correctly."
    )


def test_no_test_images(method, said, noted):
    untested = replace(method("fedisca", 0.5), metrics=None)
    assert said(untested).startswith("The server held no test images")
    assert said() == said(untested)
    assert noted(untested) == ""


def test_an_ensemble_that_does_better_is_named_with_its_price(method, noted):
    text = noted(method("fedisca", 0.6), method("ensemble_class_count", 0.7))
    assert "“Ensemble, weighted by class counts” does better by balanced accuracy" in text
    assert "(70.0% against 60.0%), and must keep all 2 networks to answer." in text
    assert "does better" not in noted(method("fedisca", 0.6), method("fedavg", 0.6))


def test_rounds_that_do_better_are_named_with_their_price(method, noted):
    text = noted(method("fedisca", 0.6), method("fedavg_rounds", 0.7))
    assert "and moves the network up and down in every round." in text


@pytest.mark.parametrize(
    ("accuracy", "balanced", "words"),
    [
        (0.7, 0.4, "alike, which the student loses: student 40.0%, best site alone 50.0% (a)"),
        (0.5, 0.6, "alike, which the student wins: student 60.0%, best site alone 50.0% (a)"),
        (0.7, 0.6, "alike: student 60.0%, best site alone 50.0% (a), all images together 90.0%."),
    ],
)
def test_balanced_accuracy_turns_the_order(method, noted, accuracy, balanced, words):
    text = noted(
        method("pooled", 0.9),
        method("local/a", 0.6, balanced=0.5),
        method("fedisca", accuracy, balanced=balanced),
    )
    assert words in text


def test_a_student_that_always_gives_one_answer(method, noted):
    student = method("fedisca", 0.7)
    collapsed = replace(student, metrics=replace(student.metrics, confusion=((1, 29), (0, 70))))
    assert "It answers “pneumonia” for 99% of the images, though only 70% are" in noted(collapsed)


def test_a_student_no_better_than_one_answer(method, noted):
    student = method("fedisca", 0.6)
    useless = replace(student, metrics=replace(student.metrics, confusion=((10, 15), (25, 50))))
    assert "Answering “pneumonia” every time would be right for 75.0%" in noted(useless)
    assert "every time" not in noted(method("fedisca", 0.8))
