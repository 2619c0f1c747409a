from dataclasses import replace

import pytest

from envoi.report.findings import Role, find, role_of


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("pooled", Role.POOLED),
        ("local/bern", Role.SITE),
        ("ensemble_size", Role.ENSEMBLE),
        ("fedavg", Role.AVERAGE),
        ("fedavg_rounds", Role.ROUNDS),
        ("fedprox_rounds", Role.ROUNDS),
        ("fedisca_ema", Role.STUDENT),
        ("somebodys_method", Role.STUDENT),
    ],
)
def test_roles(name, role):
    assert role_of(name) is role


@pytest.mark.parametrize(
    ("names", "student"),
    [
        (("pooled", "dense", "fedisca", "envoi"), "envoi"),
        (("fedisca_none", "fedisca"), "fedisca"),
        (("dense", "dafl"), "dense"),
        (("pooled", "fedavg", "ensemble_size", "local/a"), None),
    ],
)
def test_which_student_the_run_is_about(names, student, method, study):
    found = find(study(*(method(name, 0.5) for name in names))).student
    assert (found and found.name) == student


def test_a_best_site_for_each_measure(method, study):
    found = find(
        study(
            method("local/a", 0.7, balanced=0.4),
            method("local/b", 0.6, balanced=0.5),
            method("local/c", 0.1),
            method("pooled", 0.8),
            method("fedavg", 0.3),
            method("fedisca", 0.65),
        )
    )
    assert found.best_site.name == "local/a"
    assert found.best_site_balanced.name == "local/b"
    assert [m.method for m in found.compared] == [
        "pooled",
        "fedisca",
        "local/a",
        "local/b",
        "fedavg",
    ]
    assert [m.method for m in found.sites] == ["local/a", "local/b", "local/c"]
    assert found.best_at("local/a") == ("accuracy",)
    assert found.title("local/b") == "Best site alone: b"
    assert found.title("local/c") == "c alone"
    assert found.rival.name == "fedavg"
    assert found.test_images == 100


def test_a_run_without_test_images(method, study):
    found = find(study(replace(method("fedisca", 0.5), metrics=None)))
    assert found.student is None
    assert found.test_images == 0
    assert [m.method for m in found.compared] == ["fedisca"]
