"""The rooms of the house: who imports whom, no circle, few modules a folder, DOLFINx at home."""

import ast
import tomllib
from collections import Counter
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import meanformer

ROOT = Path(meanformer.__file__).parent
TOP = {path.stem for path in ROOT.glob("*.py")} | {""}
# What each room may import, besides the modules of the top folder, which import no room.
ROOMS = {
    "attention": set(),
    "meshes": set(),
    "integrators": set(),
    "pde": {"attention", "meshes", "integrators"},
    "particles": {"attention", "integrators"},
    "coupling": {"attention", "particles"},
    "theory": {"attention"},
    "simulation": {"attention", "meshes", "integrators", "pde", "particles", "coupling", "theory"},
    "scripts": {"attention", "meshes", "integrators", "pde", "particles", "simulation", "theory"},
}
# Modules outside of pde and meshes that a run without a density never imports.
OF_A_DENSITY = ("density", "mesh", "resolution_guard")
MODULES = {
    ".".join(("meanformer", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): ast.parse(path.read_text())
    for room in ("", *ROOMS)
    for path in (ROOT / room).glob("**/*.py" if room else "*.py")
}


def imports(tree, nested=False):
    """Modules of the package that a module imports: at its top, or anywhere."""
    top = [node for node in tree.body if not isinstance(node, ast.If)]  # TYPE_CHECKING
    nodes = ast.walk(tree) if nested else top
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(module):
    return (*module.split("."), "")[1]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    for name, tree in MODULES.items():
        if room_of(name) == room:
            used = {room_of(each) for each in imports(tree, nested=True) if each in MODULES}
            assert used <= ROOMS[room] | TOP | {room}, name


def test_modules_of_the_top_folder_import_no_room():
    for name, tree in MODULES.items():
        if room_of(name) in TOP:
            assert {room_of(each) for each in imports(tree) if each in MODULES} <= TOP, name


def test_no_module_imports_itself_in_a_circle():
    graph = {name: set(imports(tree, nested=True)) & set(MODULES) for name, tree in MODULES.items()}
    TopologicalSorter(graph).prepare()


def test_a_folder_has_at_most_twelve_modules():
    packages = {name.rpartition(".")[0] for name in MODULES}
    folders = Counter(name.rpartition(".")[0] for name in MODULES if name not in packages)
    assert {folder: count for folder, count in folders.items() if count > 12} == {}


def test_every_folder_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rpartition(".")[0] or name for name in MODULES}
    assert packages == set(project["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_no_folder_has_a_name_that_pytest_passes_over(pytestconfig, room):
    # Such as "build", which ruff and many a .gitignore pass over, too.
    passed_over = pytestconfig.getini("norecursedirs")
    for path in (ROOT / room).glob("**/*.py"):
        for folder in path.relative_to(ROOT).parts[:-1]:
            assert not any(fnmatch(folder, pattern) for pattern in passed_over), path


def test_dolfinx_stays_in_its_rooms():
    for name, tree in MODULES.items():
        away = room_of(name) not in ("pde", "meshes", "scripts")
        if away and not any(word in name.rpartition(".")[2] for word in OF_A_DENSITY):
            used = set(imports(tree))
            assert not any(each.startswith(("dolfinx", "ufl", "basix")) for each in used), name
            assert not {"pde", "meshes"} & {room_of(each) for each in used}, name
