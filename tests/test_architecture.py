"""The contracts between rooms, read from the source: nothing of it is imported here."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import envoi

SOURCE = Path(envoi.__file__).parent
MODULES = {
    ".".join(("envoi", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): file
    for file in sorted(SOURCE.rglob("*.py"))
}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in MODULES.items()}

# From the bottom: a room imports from rooms of lower floors, and from itself.
FLOORS = (
    ("envoi",),  # the names alone, which are looked up when they are used
    ("errors",),
    ("types", "volumes", "seeding", "files", "wording"),
    (
        "settings",
        "results",
        "precision",
        "transforms",
        "checkpoint",
        "progress",
        "calibration",
        "membership",
        "meter",
        "processes",
        "optimisers",
    ),
    ("networks",),
    ("study",),
    ("submission",),
    ("site", "server", "mri", "evaluation", "data"),
    ("simulation",),
    ("console", "report", "engine"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {
    ("progress", "results"),
    ("membership", "results"),
    ("precision", "settings"),
    ("optimisers", "checkpoint"),
}


def room_of(module: str) -> str:
    """`server` for `envoi.server.methods`."""
    return module.split(".")[1] if "." in module else module


def imports_in(tree: ast.AST) -> Iterator[str]:
    """Every imported module; those under `if TYPE_CHECKING` and in functions count too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base
            names = (f"{base}.{alias.name}" for alias in node.names)
            yield from (name for name in names if name in MODULES)


def forbidden_imports(module: str, tree: ast.AST) -> list[str]:
    """Imports of `module` that go up, or sideways into another room."""
    own = room_of(module)
    targets = {room_of(name) for name in imports_in(tree) if name.split(".")[0] == "envoi"}
    return [
        f"{module} imports {target}"
        for target in sorted(targets - {own})
        if FLOOR_OF[target] >= FLOOR_OF[own] and (own, target) not in NEIGHBOURS
    ]


def reached_from(room: str) -> set[str]:
    """Every module that is loaded, at once or in a function, because of those of `room`."""
    waiting = [name for name in MODULES if room_of(name) == room]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            parents = {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
            waiting += [name for name in {*imports_in(TREES[module]), *parents} if name in MODULES]
    return seen


def modules_after(code: str, names: tuple[str, ...]) -> set[str]:
    """Which of `names` a fresh interpreter has loaded after `code`."""
    check = f"{code}\nimport sys\nprint('loaded:', *(set({names!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    last = done.stdout.splitlines()[-1]
    assert last.startswith("loaded:")
    return set(last.split()[1:])


def test_every_module_has_a_floor():
    assert len(MODULES) > 50
    assert {room_of(name) for name in MODULES} <= FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down_only(module):
    assert forbidden_imports(module, TREES[module]) == []


@pytest.mark.parametrize(
    ("module", "code", "wanted"),
    [
        ("envoi.server.build", "from envoi.data.splits import x", "server imports data"),
        ("envoi.site", "import envoi.evaluation", "site imports evaluation"),
        ("envoi.study.file", "from envoi import submission", "study imports submission"),
        ("envoi.networks", "if TYPE_CHECKING:\n from envoi.study import y", "networks imports s"),
        ("envoi.files", "def f():\n import envoi.results", "files imports results"),
        ("envoi", "from envoi.errors import z", "envoi imports errors"),
        ("envoi.results", "import envoi.progress", "results imports progress"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_seen(module, code, wanted):
    (found,) = forbidden_imports(module, ast.parse(code))
    assert wanted in found.replace(module, room_of(module))


@pytest.mark.parametrize("room", ["server", "evaluation"])
def test_the_server_has_no_way_to_private_images(room):
    reached = reached_from(room)
    assert "envoi.errors" in reached
    assert {room_of(name) for name in reached} & {"data", "site"} == set()


@pytest.mark.parametrize("room", ["results", "report", "console"])
def test_results_and_reports_name_no_torch(room):
    # seeding names it in the one function that makes a torch.Generator; it loads without torch.
    reached = reached_from(room) - {"envoi.seeding"}
    named = {name.split(".")[0] for module in reached for name in imports_in(TREES[module])}
    assert "torch" not in named


def test_results_and_reports_load_no_torch():
    code = "import envoi.report, envoi.report.volumes, envoi.results, envoi.settings, envoi.study"
    pages = ("envoi.report.page", "envoi.report.volumes.page", "envoi.seeding")
    assert modules_after(code, ("torch", *pages)) == set(pages)


def test_importing_envoi_loads_nothing_heavy():
    assert modules_after("import envoi", ("torch", "numpy", "pydantic", "envoi")) == {"envoi"}


def test_help_loads_nothing_heavy():
    code = """
import runpy, sys
sys.argv = ["envoi", "--help"]
try:
    runpy.run_module("envoi", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
"""
    heavy = ("torch", "numpy", "scipy", "pydantic", "matplotlib")
    assert modules_after(code, (*heavy, "typer")) == {"typer"}


def test_public_names_are_sorted_and_all_resolve():
    assert envoi.__all__ == sorted(set(envoi.__all__))
    for name in envoi.__all__:
        value = getattr(envoi, name)
        home = envoi._HOMES[name]
        assert value is getattr(sys.modules[home], name)
        assert value.__name__ == name
        assert room_of(value.__module__) == room_of(home)
    assert set(envoi.__all__) <= set(dir(envoi))


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="module 'envoi' has no attribute 'distill'"):
        _ = envoi.distill


def test_type_checkers_see_the_same_names_from_the_same_homes():
    stub = ast.parse((SOURCE / "__init__.pyi").read_text(encoding="utf-8"))
    declared = {
        alias.asname: (node.module, alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == {name: (home, name) for name, home in envoi._HOMES.items()}
    others = [node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)]
    assert others == ["__version__"]


@pytest.mark.parametrize("folder", [SOURCE, Path(__file__).parent])
def test_no_file_is_called_after_nothing_in_particular(folder):
    names = {file.stem.strip("_") for file in folder.rglob("*.py")}
    assert names & {"utils", "util", "helpers", "helper", "common", "misc", "tools"} == set()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, what the docstring takes left out."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("module", MODULES)
def test_files_have_at_most_400_lines_and_functions_50(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 400
    functions = [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {node.name for node in functions if lines_of(node) > 50} == set()


def test_lines_are_counted_without_the_docstring():
    (function,) = ast.parse('def f(\n    x,\n):\n    """A.\n\n    B.\n    """\n    return x\n').body
    assert lines_of(function) == 4


def is_of_tensors_alone(node: ast.AST) -> bool:
    """Whether this calls `torch.load` so that it takes tensors and runs nothing."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "torch.load":
        return False
    told = {keyword.arg: keyword.value for keyword in node.keywords}
    only = told.get("weights_only")
    return isinstance(only, ast.Constant) and only.value is True


def unsafe_readers(tree: ast.AST) -> set[str]:
    """Names in a module by which bytes could become code."""
    modules = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = {name for name in imports_in(tree) if name.split(".")[0] in modules}
    tensors_alone = {id(node.func) for node in ast.walk(tree) if is_of_tensors_alone(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save"}:
            found |= set() if id(node) in tensors_alone else {ast.unparse(node)}
        if isinstance(node, ast.ImportFrom) and node.module in {"torch", "torch.serialization"}:
            found |= {alias.name for alias in node.names} & {"load", "save"}
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            found |= set() if refused else {"allow_pickle"}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"eval", "exec"}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_ever_unpickled(module):
    assert unsafe_readers(TREES[module]) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "reader = torch.save",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "eval(text)",
    ],
)
def test_unpickling_in_any_form_is_seen(code):
    assert unsafe_readers(ast.parse(code))
    assert not unsafe_readers(ast.parse("np.load(path, allow_pickle=False); model.eval()"))


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("nvflare", "envoi.engine.flare"),
        ("fastapi", "envoi.console"),
        ("uvicorn", "envoi.console"),
        ("dicomanonymizer", "envoi.data.pacs"),
        ("dicomweb_client", "envoi.data.pacs"),
        ("pynetdicom", "envoi.data.pacs"),
        ("requests", "envoi.data.pacs"),
        ("pyrage", "envoi.submission.encryption"),
    ],
)
def test_extras_stay_in_their_rooms(package, home):
    users = {
        module
        for module, tree in TREES.items()
        if package in {name.split(".")[0] for name in imports_in(tree)}
    }
    assert [user for user in users if not f"{user}.".startswith(f"{home}.")] == []


def test_tests_mirror_the_source():
    folder = Path(__file__).parent
    rooms = {file.parent.name for file in folder.glob("*/test_*.py")}
    assert rooms <= FLOOR_OF.keys()
