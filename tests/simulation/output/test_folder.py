"""The output folder: one run at a time, and runs that are there already are kept."""

import fcntl
import os
from contextlib import ExitStack

import pytest

from meanformer.simulation import Case, CaseError
from meanformer.simulation.output.folder import CASE_FILE, locked, new_folder


def case(title):
    return Case.from_dict(
        {
            "title": title,
            "attention": {"beta": 1.0},
            "initial": {"kind": "uniform"},
            "particles": {"number": 20},
            "time": {"end": 0.2},
        }
    )


@pytest.fixture(params=["missing", "empty", "former"])
def folder(request, tmp_path):
    folder = tmp_path / "run"
    if request.param == "former":
        with new_folder(folder, case("former")):
            pass
    elif request.param == "empty":
        folder.mkdir()
    return folder


def titles(parent):
    return {path.name: Case.load(path / CASE_FILE).title for path in parent.iterdir()}


def expected(folder, winner):
    return {"run": winner} | ({"run.1": "former"} if (folder.parent / "run.1").exists() else {})


def test_a_former_run_is_kept(folder):
    was_there = (folder / CASE_FILE).exists()
    with new_folder(folder, case("second")):
        assert (folder.parent / "run.1").exists() == was_there
        assert titles(folder.parent) == expected(folder, "second")
        with pytest.raises(CaseError, match="a run is going on"), locked(folder):
            pass
    with locked(folder):
        pass


# What a start does one after the other: another start may come before any of these.
CALLS = [(os, "stat"), (os, "mkdir"), (os, "open"), (os, "rename"), (os, "replace")]


@pytest.mark.parametrize("module, name", [*CALLS, (fcntl, "flock")])
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_of_two_starts_at_once_one_is_refused(folder, module, name, moment, monkeypatch):
    was_there = (folder / CASE_FILE).exists()
    original, calls, going_on = getattr(module, name), 0, []

    def start(title):
        held = ExitStack()
        try:
            held.enter_context(new_folder(folder, case(title)))
        except CaseError as error:
            assert "a run is going on" in str(error)
        else:
            going_on.append((title, held))

    def call(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == moment:
            start("another")
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, call)
    start("one")
    monkeypatch.undo()
    [(winner, held)] = going_on
    assert (folder.parent / "run.1").exists() == was_there
    assert titles(folder.parent) == expected(folder, winner)
    with pytest.raises(CaseError, match="a run is going on"), locked(folder):
        pass
    held.close()


@pytest.mark.parametrize("name", ["notes.txt", "pde.csv"])
def test_files_that_no_run_wrote_are_left_alone(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(CaseError, match="no run wrote"), new_folder(tmp_path, case("one")):
        pass
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_a_file_is_left_alone(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(CaseError, match="is a file"), new_folder(tmp_path / "run", case("one")):
        pass
    assert (tmp_path / "run").read_text() == "mine"
