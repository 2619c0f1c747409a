"""The whole page: its parts, its policy, and what it does with hostile words."""

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from envoi.errors import ShapeError, StorageError
from envoi.evaluation.scores import VolumeScores
from envoi.report.rendering import POLICY
from envoi.report.volumes import VolumeSets, viewer, write_volume_report
from envoi.volumes import Grid
from tests.report.outline import HOSTILE, Outline, assert_hostile_words_are_text
from tests.report.volumes.test_viewer import without

SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)


def bare(page: str) -> str:
    """Without the scripts: NiiVue names addresses that it does not visit unasked."""
    return SCRIPT.sub("", page)


@pytest.fixture
def plain(scores, sets, tmp_path, monkeypatch):
    """A page that is written without ipyniivue."""
    monkeypatch.setattr(viewer, "installed", lambda: None)

    def write(**changes):
        path = tmp_path / "plain.html"
        write_volume_report(path, scores, sets, **changes)
        return path.read_text(encoding="utf-8")

    return write


def test_every_part_is_there(page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Sections, real and synthetic",
        "In 3D",
        "All scores",
        "Plane by plane, slice by slice",
        "Anatomy",
        "Nearest training brains",
        "How it was made and measured",
    ]
    for words in (
        "<dt>Model</dt><dd>joint</dd>",
        "<dt>Steps of training</dt><dd>900</dd>",
        "<dt>Voxels</dt><dd>32 x 36 x 30</dd>",
        "<dt>Seams looked for at</dt><dd>8, 16, 24, and anywhere</dd>",
        "1 of 7 measures is within what held-out real brains score.",
        "This page shows real scans",
        "Synthetic 1, training 1, by voxels: a copy",
    ):
        assert words in page


def test_the_page_is_well_formed_and_asks_for_nothing(page):
    outline = Outline(page)
    assert not {"iframe", "object", "embed", "form"} & {tag for tag, _ in outline.tags}
    assert all("src" not in attributes for attributes in outline.all("script"))
    addresses = [
        value
        for _, attributes in outline.tags
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "srcset", "action", "data"}
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    text = bare(page)
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


@without
def test_the_policy_permits_exactly_the_scripts_that_run(page):
    policy = Outline(page).all("meta")[1]["content"]
    run = [text for attributes, text in SCRIPT.findall(page) if 'type="module"' in attributes]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert len(run) == 2
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy == f"{POLICY}; script-src {allowed}"
    assert policy.startswith("default-src 'none'; ")
    assert not {"connect-src", "unsafe-eval", "blob:", "http:", "*"} & set(policy.split())
    others = [attributes for attributes, _ in SCRIPT.findall(page) if "module" not in attributes]
    assert len(others) == 3
    assert all('type="application/octet-stream"' in attributes for attributes in others)


def test_without_ipyniivue_the_pictures_stay_and_the_page_says_why(plain):
    text = plain()
    outline = Outline(text)
    assert not {"script", "canvas", "button"} & {tag for tag, _ in outline.tags}
    assert outline.all("meta")[1]["content"] == POLICY
    assert "the 3D view needs the package ipyniivue" in text
    assert "runs no script" in text
    assert len(text) < 1_000_000
    stage = text[text.index('id="viewer"') :]
    assert 'src="data:image/png;base64,' in stage[:200]


def test_ids_are_unique_and_links_lead_somewhere(page):
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for attributes in outline.all("a")} <= set(ids)
    assert {button["value"] for button in outline.all("button")} <= set(ids)


def test_links_are_called_as_the_headings_they_lead_to(page):
    links = re.findall(r'<a href="#(\w+)">(.*?)</a>', page)
    assert len(links) == 7
    for key, words in links:
        (heading,) = re.findall(rf'<section id="{key}">\s*<h2>(.*?)</h2>', page)
        assert words.lower() in heading.lower()


def test_everything_shown_is_also_said(page):
    outline = Outline(page)
    pictures = outline.all("img")
    assert len(pictures) == 6 + 1 + 6
    assert all(picture["alt"] for picture in pictures)
    drawings = outline.all("svg")
    assert len(drawings) == 6
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    labels = [cell["data-label"] for cell in outline.all("td")]
    assert labels[:12] == labels[12:24]
    assert len(labels) == 10 * 12


def test_a_page_of_phantoms_says_so_and_not_that_it_shows_scans(scores, sets, tmp_path):
    path = tmp_path / "phantoms.html"
    write_volume_report(path, scores, replace(sets, of_phantoms=True))
    page = bare(path.read_text(encoding="utf-8"))
    assert "what is called real here was made" in page
    assert "<h1>Synthetic brains beside made ones</h1>" in page
    assert "against 5 made ones that the model learnt from" in page
    assert "Made, held out: the first" in page
    assert "Real, held out" not in page
    assert "real scans" not in page


def test_equal_inputs_give_equal_bytes(report, scores, sets, tmp_path):
    again = tmp_path / "again.html"
    write_volume_report(again, scores, sets, model={"Model": "joint", "Steps of training": "900"})
    assert again.read_bytes() == report.read_bytes()
    assert str(report.parent).encode() not in again.read_bytes()


def test_whatever_others_named_is_escaped(plain, scores, sets, tmp_path):
    ours = scores.synthetic
    frechet = tuple(
        replace(one, extractor=HOSTILE) if one.extractor == "random_conv" else one
        for one in ours.frechet
    )
    named = tuple(replace(one, features=HOSTILE) for one in ours.copies)
    hostile = replace(
        scores,
        synthetic=replace(ours, frechet=frechet, copies=named),
        controls=(replace(scores.controls[0], name=HOSTILE), *scores.controls[1:]),
    )
    path = tmp_path / "hostile.html"
    write_volume_report(path, hostile, sets, model={HOSTILE: HOSTILE})
    text = path.read_text(encoding="utf-8")
    assert_hostile_words_are_text(text, images=13, escaped=10)


def test_other_volumes_than_those_scored_are_refused(scores, sets, tmp_path):
    wrong = VolumeSets(
        sets.training[1:], sets.held_out, sets.synthetic, Grid(sets.grid.shape, (1.0, 1.0, 1.0))
    )
    path = tmp_path / "wrong.html"
    with pytest.raises(ShapeError) as caught:
        write_volume_report(path, scores, wrong)
    told = str(caught.value)
    assert r"training: expected (5, 32, 36, 30), as scored, found (4, 32, 36, 30)." in told
    assert r"grid: expected (32, 36, 30) of (6.0, 6.0, 6.0) mm, found (32, 36, 30) of (1.0" in told
    assert "held-out" not in told
    assert not path.exists()


def test_a_page_that_cannot_be_written_is_one_line(scores, sets, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="expected a folder, found a file of that name"):
        write_volume_report(tmp_path / "file" / "scores.html", scores, sets)


def test_a_page_is_written_without_torch(scores, sets, tmp_path):
    np.savez(tmp_path / "sets.npz", a=sets.training, b=sets.held_out, c=sets.synthetic)
    (tmp_path / "scores.json").write_bytes(TypeAdapter(VolumeScores).dump_json(scores))
    code = """
import sys
from pathlib import Path
import numpy as np
from pydantic import TypeAdapter
from envoi.evaluation.scores import VolumeScores
from envoi.report.volumes import VolumeSets, write_volume_report
from envoi.volumes import Grid
folder = Path(sys.argv[1])
scores = TypeAdapter(VolumeScores).validate_json((folder / "scores.json").read_bytes())
kept = np.load(folder / "sets.npz")
sets = VolumeSets(kept["a"], kept["b"], kept["c"], Grid(scores.shape, scores.spacing_mm))
write_volume_report(folder / "scores.html", scores, sets)
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path], check=False)
    assert done.returncode == 0
    assert (tmp_path / "scores.html").stat().st_size > 100_000
