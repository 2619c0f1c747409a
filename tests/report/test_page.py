import re
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from envoi.errors import StorageError
from envoi.report import write_report
from envoi.results import Picture, Refusal, RunFolder, SiteResult
from tests.report.outline import HOSTILE, Outline, assert_hostile_words_are_text


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_every_part_is_there(page):
    assert headings(page) == [
        "How the methods compare",
        "What the student kept of its teacher",
        "Each site's own test images",
        "Right, wrong and how sure",
        "What each site sent",
        "Which site taught which class",
        "What was refused",
        "What the server synthesised",
        "How the networks learnt",
        "How it was run",
    ]
    for words in (
        "<h1>Blood smears of five hospitals</h1>",
        "The FedISCA student answers ",
        "All images together (upper reference)",
        "sequence number: expected above 2, found 2.",
        "No image, no patient identifier, no date and no name.",
        "synthesis_steps: 500 -&gt; 60",
        "cpu (2 cores)",
        "a computation, not a measurement",
        "dirichlet-0.3",
    ):
        assert words in page


def test_the_page_is_well_formed_and_asks_for_nothing(page):
    outline = Outline(page)
    assert not {"script", "iframe", "object", "embed", "form"} & {tag for tag, _ in outline.tags}
    addresses = [
        value
        for _, attributes in outline.tags
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "srcset", "action", "data"}
    ]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    policy = outline.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )


def test_ids_are_unique_and_links_lead_somewhere(page):
    outline = Outline(page)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for attributes in outline.all("a")}
    assert links <= set(ids)


def test_everything_shown_is_also_said(page):
    outline = Outline(page)
    assert all(image["alt"] for image in outline.all("img"))
    drawings = outline.all("svg")
    assert len(drawings) == 20
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    assert all(cell["scope"] in {"row", "col"} for cell in outline.all("th"))
    assert len(outline.all("caption")) == len(outline.all("table"))
    assert page.count('<p class="reading">') >= len(drawings) - 3


def test_the_best_of_each_column_is_bold(page):
    table = page[page.index("<table") : page.index("</table>")]
    assert len(re.findall(r"<strong>", table)) == 5
    row = re.search(
        r'class="ensemble">(?:(?!</tr>).)*weighted by class counts.*?</tr>', table, re.DOTALL
    )
    assert row.group(0).count("<strong>") >= 3


def test_equal_folders_give_equal_bytes(tmp_path, study, method, result):
    small = replace(study(method("pooled", 0.8), method("fedisca", 0.6)), gallery=())
    pages = []
    for name in ("first", "second"):
        folder = RunFolder(tmp_path / name)
        folder.write_result(small)
        pages.append(write_report(folder).read_bytes())
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_whatever_others_named_is_escaped(make_folder, result):
    site = SiteResult(HOSTILE, HOSTILE, (1,) * 8, 10, 1.0, (HOSTILE,))
    ours = result.methods["fedisca"]
    hostile = replace(
        result,
        name=HOSTILE,
        partition=HOSTILE,
        network=HOSTILE,
        class_names=(HOSTILE, *result.class_names[1:]),
        sites=(site,),
        methods={
            "fedisca": replace(ours, changes=(HOSTILE,)),
            HOSTILE: replace(ours, method=HOSTILE),
            f"local/{HOSTILE}": replace(ours, method=f"local/{HOSTILE}"),
        },
        refusals=(Refusal(1, HOSTILE),),
        gallery=(Picture("gallery/0.png", HOSTILE),),
        environment={HOSTILE: HOSTILE},
    )
    text = write_report(make_folder(hostile)).read_text(encoding="utf-8")
    assert_hostile_words_are_text(text, images=1, escaped=15)


def test_a_refusal_of_several_lines_stays_readable(make_folder, study, method):
    refused = Refusal(1, "first problem\nsecond problem")
    few = replace(study(method("fedisca", 0.6)), refusals=(refused,), gallery=())
    text = write_report(make_folder(few)).read_text(encoding="utf-8")
    assert "first problem\nsecond problem</td>" in text


def test_parts_that_a_run_lacks_leave_no_trace(make_folder, study, method):
    bare = replace(
        study(replace(method("fedisca", 0.6), metrics=None)),
        sites=(),
        refusals=(),
        gallery=(),
        environment={},
        wall_seconds=0.0,
    )
    folder = make_folder(bare)
    (folder.path / "steps.jsonl").unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    Outline(text)
    assert headings(text) == ["What the methods cost", "How it was run"]
    assert "The server held no test images" in text
    assert "<svg" not in text
    assert "not tested" not in text
    assert '<dl class="figures">' not in text


def test_a_run_without_methods(make_folder, study):
    text = write_report(make_folder(replace(study(), gallery=()))).read_text(encoding="utf-8")
    assert headings(text) == [
        "What each site sent",
        "Which site holds which class",
        "What was refused",
        "How it was run",
    ]


def test_without_pooled_there_is_no_ratio(make_folder, study, method):
    text = write_report(make_folder(study(method("fedisca", 0.6)))).read_text(encoding="utf-8")
    assert "Ratio to pooled" not in text
    assert "of pooled training" not in text


def test_pictures_that_are_gone_leave_no_empty_box(make_folder, study, method):
    folder = make_folder(study(method("fedisca", 0.6)))
    for file in (folder.path / "gallery").iterdir():
        file.unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    assert "What the server synthesised" not in text


def test_square_pictures_stand_side_by_side(make_folder, study, method):
    folder = make_folder(study(method("fedisca", 0.6)))
    Image.new("RGB", (112, 112)).save(folder.path / "gallery/0.png")
    text = write_report(folder).read_text(encoding="utf-8")
    Outline(text)
    assert '<div class="gallery">' in text
    assert '<div class="strips">' in text
    assert text.count("<img ") == 5


def test_fifty_sites_and_twenty_classes(large_report):
    text = large_report.read_text(encoding="utf-8")
    Outline(text)
    assert "Every submission (50)" in text
    assert "Every site alone (50)" in text
    assert "Classes by number" in text
    assert len(text) < 2_000_000


def test_no_result_is_one_clear_line(tmp_path):
    with pytest.raises(StorageError, match="result of a finished run") as caught:
        write_report(RunFolder(tmp_path))
    assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_a_result_that_contradicts_itself_is_refused(make_folder, study, method):
    wrong = replace(study(method("fedisca", 0.6)), class_names=("a", "b", "c"))
    with pytest.raises(StorageError, match="expected 3 classes, found 2") as caught:
        write_report(make_folder(wrong))
    assert len(caught.value.problems) == 3


def test_the_report_loads_no_torch(make_folder, study, method):
    folder = make_folder(replace(study(method("fedisca", 0.6)), gallery=()))
    code = (
        "import sys; from pathlib import Path; from envoi.report import write_report; "
        "from envoi.results import RunFolder; write_report(RunFolder(Path(sys.argv[1]))); "
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code, folder.path], check=False)
    assert run.returncode == 0
