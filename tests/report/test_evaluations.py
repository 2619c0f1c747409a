"""What hospitals said of the student, in the report; the file is as the command writes it."""

import json
from dataclasses import asdict
from datetime import date

import numpy as np
import pytest

from envoi.errors import StorageError
from envoi.evaluation.federated import Origin, merged, site_evaluation
from envoi.files import write_json
from envoi.report import write_report
from envoi.report.evaluations import FILE, at_sites
from envoi.study import StatisticsPolicy
from tests.report.outline import Outline


def told(site, wrong, classes, size=40):
    labels = np.arange(size * (classes - 1)) % (classes - 1)  # of the last class there are none
    answers = np.where(np.arange(len(labels)) < wrong, (labels + 1) % classes, labels)
    origin = Origin("a" * 64, site, 1, date(2026, 11, 29), "b" * 64)
    return site_evaluation(
        np.eye(classes)[answers], labels, patients=None, policy=StatisticsPolicy(), origin=origin
    )


def write(folder, classes):
    result = merged([told("north", 10, classes), told("south", 20, classes)])
    sites = [one.model_dump(mode="json") for one in result.sites]
    write_json(folder / FILE, {**asdict(result), "sites": sites})
    return result


def test_sites_and_classes_are_shown_with_their_images(tmp_path):
    result = write(tmp_path, 3)
    found = at_sites(tmp_path, ("a", "b", "c"))
    assert [line.name for line in found.sites] == ["north", "south", "All sites"]
    assert [line.images for line in found.sites] == [80, 80, 160]
    assert found.sites[2].cells[0].value == f"{100 * result.accuracy.value:.1f}%"
    assert [line.cells[0].value for line in found.classes] == ["2", "2", "0"]
    assert found.classes[2].cells[1].detail == ""


def test_the_page_has_the_section_where_somebody_evaluated(make_folder, result):
    folder, classes = make_folder(result), result.class_names
    before = write_report(folder).read_text()
    assert "At the hospitals" not in before
    write(folder.path, len(classes))
    page = write_report(folder).read_text()
    Outline(page)
    assert "<h2>At the hospitals</h2>" in page
    assert 'href="#evaluations"' in page
    assert page.count("All sites") >= 2


def test_other_content_and_other_classes_are_refused(tmp_path):
    assert at_sites(tmp_path, ("a", "b")) is None
    write(tmp_path, 3)
    with pytest.raises(StorageError, match="expected 2 classes, found 3"):
        at_sites(tmp_path, ("a", "b"))
    (tmp_path / FILE).write_text(json.dumps({"sites": []}))
    with pytest.raises(StorageError, match="found something else"):
        at_sites(tmp_path, ("a", "b"))
