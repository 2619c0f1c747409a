"""NiiVue out of an installed package: what is taken, what is refused, what is embedded."""

import base64
import gzip
import hashlib
import importlib.util
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from envoi.report.rendering import POLICY
from envoi.report.volumes import viewer as module
from envoi.report.volumes.viewer import exposed, installed, shown, viewer

WIDGET = (
    "var v,N2=class{},W={async initialize(){"
    'if(!v){console.log("Creating new Niivue instance");let b={},c=f(b);v=new N2(c)}}};'
    "export{W as default};\n"
)
without = pytest.mark.skipif(
    importlib.util.find_spec("ipyniivue") is None, reason="ipyniivue is not installed"
)


@pytest.mark.parametrize("name", ["N2", "$a", "_"])
def test_the_class_takes_the_place_of_the_export(name):
    widget = WIDGET.replace("N2", name)
    assert exposed(widget) == f"{widget.partition('export')[0]}globalThis.Niivue={name};"


TWICE = f"{WIDGET.partition('export')[0].replace('N2', 'N3')}{WIDGET}"


@pytest.mark.parametrize(
    "widget",
    [
        "",
        WIDGET.replace("Creating new Niivue instance", "Hello"),
        WIDGET.replace("v=new N2(c)", "v=make(c)"),
        WIDGET.replace("export{W as default};", ""),
        WIDGET.replace("export{W as default};", "export default W;"),
        WIDGET.replace("export{W as default};", "export{W as default,N2 as Niivue};"),
        f"{WIDGET}more();",
        TWICE,
        WIDGET.replace("={}", '="</SCRIPT>"'),
        WIDGET.replace("={}", '="<!--"'),
        WIDGET.replace("={}", '="\0"'),
    ],
)
def test_a_module_that_is_built_otherwise_is_not_taken(widget):
    assert exposed(widget) is None


def test_line_ends_are_those_that_a_browser_reads():
    assert exposed("a;\r\nb;\rc;" + WIDGET) == exposed("a;\nb;\nc;" + WIDGET)


@without
def test_the_installed_package_is_read_and_not_imported():
    widget, licence = installed()
    assert len(widget) > 1_000_000
    assert "Redistribution" in licence
    text = exposed(widget)
    assert text.startswith(widget[:1000])
    assert text.endswith("globalThis.Niivue=t2;")
    assert "export" not in text[-100:]


def test_without_the_package_there_is_no_viewer(sets, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "distribution", missing)
    assert installed() is None
    assert viewer(sets) is None


def test_a_package_without_its_widget_is_none(sets, monkeypatch, tmp_path):
    class Package:
        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(module, "distribution", lambda _: Package())
    assert installed() is None


def test_a_package_of_another_build_gives_no_viewer(sets, monkeypatch):
    monkeypatch.setattr(module, "installed", lambda: ("export default 1;", ""))
    assert viewer(sets) is None


def test_the_policy_permits_the_two_scripts_alone(sets, monkeypatch):
    monkeypatch.setattr(module, "installed", lambda: (WIDGET, "free"))
    made = viewer(sets)
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (exposed(WIDGET), made.script)
    ]
    assert made.policy == f"{POLICY}; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'"
    assert made.licence == "free"


def test_volumes_are_whole_files_and_say_what_they_are(sets, monkeypatch):
    monkeypatch.setattr(module, "installed", lambda: (WIDGET, ""))
    choices = viewer(sets).choices
    assert [choice.title for choice in choices] == ["Real, held out", "Synthetic 1", "Synthetic 2"]
    assert len({choice.key for choice in choices}) == 3
    for choice, (title, voxels) in zip(choices, shown(sets), strict=True):
        image = Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(choice.content)))
        np.testing.assert_allclose(image.get_fdata().T, voxels, atol=0.5 / 255 + 1e-6)
        np.testing.assert_allclose(image.affine, sets.grid.affine)
        marked = image.header["descrip"].item().startswith(b"Synthetic")
        assert marked == title.startswith("Synthetic")
