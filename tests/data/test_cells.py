import numpy as np
import pytest

from envoi.data.cells import MORPHOLOGIES, MOST_LOBES, draw_cells


def drawn(kind, count=400, seed=0):
    label = list(MORPHOLOGIES).index(kind)
    return draw_cells(np.full(count, label), np.random.default_rng(seed))


def lobes(cells):
    return (cells.lobe_radius_um > 0).sum(axis=1)


def test_a_draw_is_a_function_of_the_generator():
    labels = np.arange(50) % 8
    first = draw_cells(labels, np.random.default_rng(1))
    again = draw_cells(labels, np.random.default_rng(1))
    np.testing.assert_array_equal(first.lobe_um, again.lobe_um)
    assert first.radius_um.dtype == np.float32
    assert len(first) == 50


@pytest.mark.parametrize("kind", list(MORPHOLOGIES))
def test_cells_follow_their_morphology(kind):
    cells, typical = drawn(kind), MORPHOLOGIES[kind]
    mean, deviation = typical.diameter_um
    assert abs(2 * cells.radius_um.mean() - mean) < 0.3 * deviation
    found = np.bincount(lobes(cells), minlength=MOST_LOBES + 1) / len(cells)
    wanted = np.zeros(MOST_LOBES + 1)
    wanted[1 : 1 + len(typical.lobes)] = typical.lobes
    wanted[0] = 1 - wanted.sum()
    np.testing.assert_allclose(found, wanted, atol=0.1)


def test_kinds_differ_as_textbooks_say():
    assert lobes(drawn("neutrophil")).mean() > lobes(drawn("eosinophil")).mean() > 1.5
    assert (lobes(drawn("platelet")) == 0).all()
    assert (lobes(drawn("lymphocyte")) == 1).all()
    sizes = [drawn(kind).radius_um.mean() for kind in ("platelet", "lymphocyte", "monocyte")]
    assert sizes == sorted(sizes)
    assert (
        drawn("eosinophil").granules[:, 1].mean() > 0.5 > drawn("eosinophil").granules[:, 0].max()
    )
    nuclear = {
        kind: (drawn(kind).lobe_radius_um.max(axis=1) / drawn(kind).radius_um).mean()
        for kind in ("lymphocyte", "erythroblast")
    }
    assert nuclear["lymphocyte"] > nuclear["erythroblast"] + 0.15


def test_part_takes_some_cells():
    cells = drawn("monocyte", 10)
    part = cells.part(slice(2, 5))
    assert len(part) == 3
    np.testing.assert_array_equal(part.centre_um, cells.centre_um[2:5])


def test_no_cells_can_be_drawn():
    assert len(draw_cells(np.zeros(0, np.int64), np.random.default_rng(0))) == 0
