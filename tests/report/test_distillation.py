import re
from dataclasses import replace

import pytest

from envoi.report import write_report
from envoi.report.distillation import class_pairs, class_rows, recalls_of_all, summary, taught
from envoi.results import ClassRecall, Distillation, Interval

MINUS = "\N{MINUS SIGN}"


def words(chart) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)


def kept_of(teacher) -> Distillation:
    """Recalls of two classes: one that is lost for sure, one that may have been gained."""
    return Distillation(
        teacher,
        (
            ClassRecall(
                Interval(0.8, 0.7, 0.9), Interval(0.6, 0.5, 0.7), Interval(-0.2, -0.3, -0.1)
            ),
            ClassRecall(
                Interval(0.8, 0.7, 0.9), Interval(0.82, 0.7, 0.9), Interval(0.02, -0.01, 0.05)
            ),
        ),
        Interval(0.75, 0.7, 0.8),
    )


@pytest.fixture
def kept(method):
    """A student whose run kept it beside its teacher."""
    student = method("fedisca", 0.6)
    return replace(student, distillation=kept_of(method("ensemble_mean_logits", 0.8).metrics))


def test_a_comparison_that_was_kept_is_shown_with_its_intervals(kept, study):
    (pair,) = taught(study(kept), first="fedisca")
    lost, gained = class_rows(pair, ("normal", "pneumonia"))
    assert (lost.name, lost.images) == ("normal", 50)
    assert (lost.teacher.value, lost.teacher.detail) == ("80.0%", "70.0 to 90.0")
    assert (lost.student.value, lost.student.detail) == ("60.0%", "50.0 to 70.0")
    assert lost.difference.value == f"{MINUS}20.0"
    assert lost.difference.detail == f"{MINUS}30.0 to {MINUS}10.0"
    assert (lost.difference.clear, gained.difference.clear) == (True, False)
    assert gained.difference.value == "+2.0"


def test_an_older_result_is_read_by_the_rows_of_teacher_and_student(method, study):
    rows = study(method("ensemble_mean_logits", 0.8), method("fedisca", 0.6))
    (pair,) = taught(rows, first="fedisca")
    assert pair.teacher == rows.methods["ensemble_mean_logits"].metrics
    row, _ = class_rows(pair, rows.class_names)
    assert (row.teacher.value, row.student.value) == ("80.0%", "60.0%")
    assert (row.difference.value, row.difference.detail) == (f"{MINUS}20.0", "")
    assert not row.difference.clear


def test_a_student_without_its_teacher_stands_alone(method, study):
    assert taught(study(method("fedisca", 0.6), method("coboost", 0.6)), first="fedisca") == ()
    untested = replace(method("ensemble_mean_logits", 0.8), metrics=None)
    assert taught(study(method("fedisca", 0.6), untested), first="fedisca") == ()


def test_the_student_that_the_run_is_about_comes_first(method, study):
    rows = study(
        method("ensemble_mean_logits", 0.8),
        method("ensemble_consensus", 0.8),
        method("dense", 0.6),
        method("envoi", 0.7),
        method("fedisca", 0.6),
    )
    pairs = taught(rows, first="envoi")
    assert [pair.method for pair in pairs] == ["envoi", "dense", "fedisca"]
    assert pairs[0].teacher_title == "Consensus (Envoi's teacher)"


def test_what_is_lost_is_said_in_words(kept, study):
    (pair,) = taught(study(kept), first="fedisca")
    assert summary(pair, ("normal", "pneumonia")) == (
        "The teacher, “Ensemble, mean of logits”, reaches 80.0% accuracy and 80.0% balanced "
        f"accuracy; the FedISCA student differs from it by {MINUS}20.0 and {MINUS}20.0 points. "
        "The two give the same answer to 75.0% of the test images. "
        "Most is lost on “normal”, of which the teacher recognises 80.0% and the student 60.0%."
    )


def test_a_student_that_loses_nothing_is_not_said_to(method, study):
    rows = study(method("ensemble_mean_logits", 0.6), method("fedisca", 0.8))
    (pair,) = taught(rows, first="fedisca")
    assert "lost" not in summary(pair, rows.class_names)
    assert "by +20.0 and +20.0 points" in summary(pair, rows.class_names)


def test_a_teacher_without_a_row_has_no_title_of_its_own(kept, study):
    (pair,) = taught(study(replace(kept, method="mine")), first=None)
    assert pair.teacher_title == "its own"


def test_ring_and_dot_of_each_class(kept, study):
    (pair,) = taught(study(kept), first="fedisca")
    chart = class_pairs(pair, ("normal", "pneumonia"))
    assert "80.0% → 60.0%" in words(chart)
    assert [key.label for key in chart.keys] == ["teacher (ring)", "student (dot)"]
    assert "normal: teacher 80.0%, student 60.0%" in chart.svg


def test_teacher_and_student_stand_beside_every_sites_network(kept, method, study):
    rows = study(kept, method("pooled", 0.9), method("local/a", 0.5), method("local/b", 0.4))
    (pair,) = taught(rows, first="fedisca")
    shown = words(recalls_of_all(pair, rows))
    assert [word for word in shown if not word.isdigit()] == [
        "teacher",
        "student",
        "a",
        "b",
        "all together",
        "normal",
        "pneumonia",
    ]
    assert [word for word in shown if word.isdigit()] == ["80", "60", "50", "40", "90"] * 2


def test_more_networks_than_have_room_are_numbered(kept, method, study):
    local = [method(f"local/{number}", 0.5) for number in range(12)]
    rows = study(kept, *local)
    (pair,) = taught(rows, first="fedisca")
    chart = recalls_of_all(pair, rows)
    assert "the sites in the order of the tables" in chart.reading
    assert {"1", "14"} <= set(words(chart))
    assert "80" not in words(chart)


def test_a_class_without_test_images_has_no_row(kept, study):
    def without(metrics):
        return replace(metrics, confusion=((0, 0), metrics.confusion[1]))

    compared = replace(kept.distillation, recalls=(None, kept.distillation.recalls[1]))
    compared = replace(compared, teacher=without(compared.teacher))
    row = replace(kept, metrics=without(kept.metrics), distillation=compared)
    (pair,) = taught(study(row), first="fedisca")
    assert [line.name for line in class_rows(pair, ("normal", "pneumonia"))] == ["pneumonia"]
    assert recalls_of_all(pair, study(row))


def test_the_report_shows_every_student_beside_its_teacher(make_folder, kept, method, study):
    rows = study(kept, method("ensemble_mean_logits", 0.8), method("dense", 0.5))
    text = write_report(make_folder(rows)).read_text(encoding="utf-8")
    assert "What the student kept of its teacher" in text
    assert "<strong>" + f"{MINUS}20.0" + "</strong>" in text
    assert "<summary>DENSE student and its teacher</summary>" in text
    alone = write_report(make_folder(study(method("coboost", 0.5)))).read_text(encoding="utf-8")
    assert "What the student kept of its teacher" not in alone
