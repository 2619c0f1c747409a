"""The table of scores: cells stand below their labels."""

from envoi.report.names import MINUS, TIMES
from envoi.report.volumes.table import groups, rows
from tests.report.volumes.conftest import CONTROLS


def test_columns_name_the_extractor_and_the_plane(scores):
    labels = [label for group in groups(scores) for label in group.labels]
    assert labels == [
        "MS-SSIM",
        "MMD",
        "Frechet on random_conv, axial",
        "Frechet on random_conv, coronal",
        "Frechet on random_conv, sagittal",
        "Frechet on self_trained, axial",
        "Frechet on self_trained, coronal",
        "Frechet on self_trained, sagittal",
        "Jumps",
        "Seams, at borders",
        "Seams, anywhere",
        "Copies",
    ]
    assert {len(row.cells) for row in rows(scores)} == {len(labels)}


def test_every_set_has_a_row_in_words(scores):
    told = rows(scores)
    assert [row.title for row in told] == [
        "Synthetic",
        "Held-out",
        *(name.replace("_", " ").capitalize() for name in CONTROLS),
    ]
    assert [row.kind for row in told] == ["chosen", "pooled", *[""] * len(CONTROLS)]
    assert [row.volumes for row in told] == [7, *[4] * 9]


def test_cells_tell_the_score_and_how_many_times_the_held_out_one_it_is(scores):
    ours, real, *_ = rows(scores)
    assert [cell.value for cell in ours.cells] == [
        "0.900", "0.0030", "3.0", "6.0", "9.0", "3.0", "6.0", "9.0", "0.030", "0.98", "6.0", "1",
    ]  # fmt: skip
    three = f"{TIMES}\N{NO-BREAK SPACE}3.0"
    assert [cell.detail for cell in ours.cells] == ["", "", *[three] * 7, "", three, "of 7"]
    assert [cell.clear for cell in ours.cells] == [True, *[False] * 8, True, False, False]
    assert real.cells[1].value == f"{MINUS}0.0010"
    assert not any(cell.clear or cell.detail for cell in real.cells[:-1])


def test_a_synthetic_set_as_good_as_real_is_bold_throughout(synthetic):
    ours, *others = rows(synthetic(times=1.0))
    assert all(cell.clear for cell in ours.cells)
    assert not any(cell.clear for row in others for cell in row.cells)
