"""What the charts say, and that odd scores are drawn too."""

import re
from dataclasses import replace

import numpy as np
import pytest

from envoi.evaluation.through_plane import mean_jumps
from envoi.report.volumes import charts
from tests.report.volumes.conftest import SYNTHETIC, TRAINING, scored


def test_each_extractor_has_a_chart_of_all_sets(scores):
    first, second = charts.frechet(scores)
    assert first.title == "Frechet distance on random_conv"
    assert second.title == "Frechet distance on self_trained"
    assert [key.label for key in first.keys] == ["axial", "coronal", "sagittal"]
    for words in ("Synthetic", "Held-out", "Collapsed", "3.0 / 6.0 / 9.0", "1.0 / 2.0 / 3.0"):
        assert words in first.svg
    assert "mathdefault" not in first.svg
    assert "in groups of 4" in first.reading


@pytest.mark.parametrize("times", [0.0, 1e-9, 1e6])
def test_distances_of_any_size_are_drawn(scores, times):
    odd = replace(scores, synthetic=scored("synthetic", SYNTHETIC, times=times))
    for chart in (*charts.frechet(odd), charts.spectrum(odd), charts.effects(odd)):
        assert "nan" not in chart.svg


def test_jumps_mark_the_borders_and_tell_the_seams(scores, sets):
    chart = charts.jumps(scores, sets)
    at = [float(x) for x in re.findall(r'd="M ([\d.]+) [^>]*stroke-dasharray', chart.svg)]
    assert len(at) == 3
    assert at[2] - at[1] == pytest.approx(at[1] - at[0], abs=0.01)
    assert at[1] - at[0] > 20
    assert "0.98 times as large" in chart.reading
    assert "0.96 times in training brains" in chart.reading
    assert "6.0 deviations, 2.0 in held-out brains" in chart.reading
    other = replace(sets, synthetic=np.flip(sets.synthetic, axis=1).copy())
    assert charts.jumps(scores, other).svg != chart.svg
    assert mean_jumps(other.synthetic)[::-1] == pytest.approx(mean_jumps(sets.synthetic))


def test_regions_show_every_brain_and_the_effect(scores):
    chart = charts.regions(scores)
    for words in ("brain, ml", "ventricles, ml", "d +1.00 [+0.50, +1.50]"):
        assert words in chart.svg
    dots = chart.svg.count("<use")
    fewer = replace(scores.synthetic, anatomy=scored("synthetic", 2, times=3.0).anatomy)
    assert dots - charts.regions(replace(scores, synthetic=fewer)).svg.count("<use") == 5 * 5
    assert "At most" not in chart.reading


def test_many_brains_are_thinned_out(scores):
    many = replace(scores, synthetic=scored("synthetic", 1000, times=3.0))
    chart = charts.regions(many)
    assert "At most 150 brains of a set are drawn." in chart.reading
    assert chart.svg.count("<use") < 5 * (150 + TRAINING + 10 + 20)


def test_effects_stand_beside_those_of_real_brains(scores):
    chart = charts.effects(scores)
    assert [key.label for key in chart.keys] == ["synthetic", "real, held out"]
    assert chart.svg.count(">+1.00<") == 5


def test_ids_of_all_charts_differ(scores, sets):
    drawn = (
        *charts.frechet(scores),
        charts.jumps(scores, sets),
        charts.spectrum(scores),
        charts.regions(scores),
        charts.effects(scores),
    )
    names = [chart.svg.split('id="')[1].split('figure_1"')[0] for chart in drawn]
    assert len(set(names)) == len(drawn) == 6
