"""The command ``meanformer reproduce``: its files, its exit codes, and what it refuses."""

from dataclasses import replace

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.scripts.main import main
from meanformer.scripts.reproduce.figures import DIAGRAMS, FIGURES
from meanformer.scripts.reproduce.recording import Recorder, Recording
from meanformer.simulation import Case, run

COMM = MPI.COMM_WORLD
QUICK = "polytope-2d"


def reproduce(*arguments):
    return main(["reproduce", *map(str, arguments)])


@pytest.fixture
def quick(monkeypatch):
    """The figure with fewer samples, which is soon drawn."""
    figure = replace(FIGURES[QUICK], sample_every=3.0, shown=(0.0, 15.0))
    monkeypatch.setitem(FIGURES, QUICK, figure)
    return figure


@pytest.mark.mpi
def test_writes_case_data_picture_and_movie(quick, shared_tmp_path, capsys):
    pytest.importorskip("matplotlib")
    from PIL import Image

    folder = shared_tmp_path / "figure"
    assert reproduce(QUICK, "--output", folder) == 0
    with np.load(folder / "tokens.npz") as file:
        found = Recording(**file)
    printed = capsys.readouterr().out
    if COMM.rank == 0:
        assert "section 3" in printed
        assert printed.count("holds") == len(quick.checks(found))
        assert "FAILS" not in printed
    else:
        assert printed == ""
    assert Case.load(folder / "case.toml") == quick.case(QUICK, quick.seed)
    assert (folder / "particles.csv").exists()
    for name in (f"{QUICK}.png", f"{QUICK}.gif"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 300
            if name.endswith(".gif"):
                assert image.n_frames == 6

    # Any number of ranks gives the same tokens.
    alone = Recorder(quick.has_matrix)
    run(quick.case(QUICK, quick.seed), comm=MPI.COMM_SELF, observers=[alone])
    expected = alone.recording()
    assert np.array_equal(found.times, expected.times)
    assert np.abs(found.positions - expected.positions).max() < 1e-9


@pytest.mark.mpi
def test_the_attention_matrix_is_that_of_all_tokens():
    figure = replace(FIGURES["low-rank"], end=1.0, sample_every=0.5, number=7, dimension=3)
    recorder = Recorder(with_matrix=True)
    run(figure.case("any", 3), observers=[recorder])
    if COMM.rank > 0:
        return
    recording, given = recorder.recording(), figure.matrices(3)
    assert recording.matrices.shape == (3, 7, 7)
    for x, matrix in zip(recording.positions, recording.matrices, strict=True):
        weights = np.exp((x @ given["query"].T) @ (x @ given["key"].T).T)
        assert np.allclose(matrix, weights / weights.sum(axis=1, keepdims=True), atol=1e-12)


def test_says_that_it_does_not_hold(quick, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(FIGURES, QUICK, replace(quick, end=0.5))
    assert reproduce(QUICK, "--output", tmp_path / "figure") == 3
    assert "FAILS" in capsys.readouterr().out


def test_lists_all_figures(capsys):
    assert reproduce("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*FIGURES, *DIAGRAMS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["polytope2d"], "unknown name 'polytope2d'; allowed: boolean, polytope-2d, "),
        (["polytope2d"], "did you mean 'polytope-2d'?"),
        ([], "NAME: missing; allowed: boolean, "),
        (["boolean", "--seed", "-1"], "--seed: -1; must be a whole number of at least 0"),
    ],
)
def test_refuses_wrong_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reproduce(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_refuses_a_folder_that_no_run_wrote(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "mine.txt").write_text("mine")
    assert reproduce(QUICK, "--output", tmp_path) == 2
    assert "holds files that no run wrote" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_says_that_it_needs_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("meanformer.scripts.command_line.find_spec", lambda name: None)
    assert reproduce("boolean") == 2
    assert 'pip install "meanformer[docs]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.mpi
def test_writes_the_data_and_the_picture_of_a_diagram(shared_tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    few = {"dimension": 8, "number": 4, "systems": 5, "betas": (0.5, 1.0), "end": 9.0}
    diagram = replace(DIAGRAMS["phase-diagram"], **few, sample_every=1.0)
    monkeypatch.setitem(DIAGRAMS, "phase-diagram", diagram)
    folder = shared_tmp_path / "diagram"
    assert reproduce("phase-diagram", "--output", folder) == 0
    assert capsys.readouterr().out.count("holds") == (2 if COMM.rank == 0 else 0)
    with np.load(folder / "shares.npz") as file:
        found = dict(file)
    assert np.array_equal(found["times"], np.arange(10.0)) and found["shares"].shape == (2, 10)
    assert np.all(found["shares"][:, 0] == 0) and found["shares"][:, -1].min() > 0.3
    case, _ = diagram.cases("phase-diagram", diagram.seed)
    assert Case.load(folder / "case.toml") == case
    assert (folder / "phase-diagram.png").stat().st_size > 1000
    # Counted by hand, whatever the number of ranks.
    points = run(case, comm=MPI.COMM_SELF).state.tokens.points.reshape(5, 4, 8)
    pairs = [x[i] @ x[j] for x in points for i in range(4) for j in range(i)]
    assert found["shares"][0, -1] == np.mean(np.array(pairs) >= 0.999)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIAGRAMS)
def test_what_diagrams_show_holds(name, tmp_path):
    pytest.importorskip("matplotlib")
    assert reproduce(name, "--output", tmp_path / name) == 0
    assert (tmp_path / name / f"{name}.png").stat().st_size < 150e3


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_what_the_paper_says_holds(name, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / name
    assert reproduce(name, "--output", folder) == 0
    assert (folder / f"{name}.gif").stat().st_size < 1.5e6
    assert (folder / f"{name}.png").stat().st_size < 150e3
