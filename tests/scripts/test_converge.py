"""The command ``meanformer converge``: its table, its files, and what it refuses."""

import csv

from mpi4py import MPI

import pytest

from meanformer.scripts import command_line
from meanformer.scripts.main import main

CIRCLE = """
[space]
dimension = 2
[attention]
beta = 0.0
[initial]
kind = "poisson-kernel"
a = [0.3, 0.4]
[pde]
degree = 1
[time]
end = 1.0
"""


@pytest.fixture
def folder(shared_tmp_path, monkeypatch):
    """A working folder with a case."""
    if MPI.COMM_WORLD.rank == 0:
        (shared_tmp_path / "circle.toml").write_text(CIRCLE)
    MPI.COMM_WORLD.barrier()
    monkeypatch.chdir(shared_tmp_path)
    return shared_tmp_path


def converge(*arguments):
    return main(["converge", "circle.toml", *arguments])


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def files(folder):
    """What lies in a folder, for all ranks alike."""
    comm = MPI.COMM_WORLD
    comm.barrier()
    return comm.bcast(sorted(path.name for path in folder.iterdir()))


def printed(capfd):
    """What rank 0 has printed and what the others have, on every rank."""
    captured = capfd.readouterr()
    first, *others = MPI.COMM_WORLD.allgather((captured.out, captured.err))
    return *first, "".join(out for out, _ in others)


@pytest.mark.mpi
def test_table_csv_and_picture(folder, capfd):
    pytest.importorskip("matplotlib")
    files_asked_for = ["--csv", "errors.csv", "--plot", "errors.png"]
    assert converge("--over", "pde.refinement=1,2,3,4", *files_asked_for) == 0
    out, _, others = printed(capfd)
    assert "pde.refinement" in out and "others" not in out and others == ""
    assert "error: of the density in L2 at the end, against the exact solution" in out
    assert "in h = 2^-pde.refinement; 1.5" in out and "between neighbours" in out
    assert "expected: 2 (degree + 1)" in out and "doubt" not in out and "believed" not in out
    assert files(folder) == ["circle.toml", "errors.csv", "errors.png"]
    rows = read(folder / "errors.csv")
    assert [row["pde.refinement"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["size"]) for row in rows] == [0.5, 0.25, 0.125, 0.0625]
    assert rows[0]["order"] == "" and 1.8 < float(rows[3]["order"]) < 2.1
    assert all(float(row["error"]) < 0.02 for row in rows)
    assert {row["status"] for row in rows} == {"done"}
    assert (folder / "errors.png").stat().st_size > 5000


@pytest.mark.mpi
def test_an_order_that_is_not_to_be_believed(folder, capfd):
    # Degree 2 on meshes that are too coarse for the start.
    narrow = ["--set", "initial.a=[0.72,0.54]", "--set", "pde.degree=2", "--set", "time.end=0.5"]
    over = ["--over", "pde.refinement=1,2,3,4", "--quantity", "mean_1"]
    assert converge(*over, *narrow, "--csv", "errors.csv") == 0
    out, _, _ = printed(capfd)
    assert "too steep" in out and "expected: 3 to 5 (degree + 1 to 2 degree + 1)" in out
    assert "not to be believed: it is above 6, one more than expected" in out
    files(folder)
    assert [row["doubt"] for row in read(folder / "errors.csv")] == ["", "", "", "too steep"]


@pytest.mark.parametrize(
    "over, options, expected",
    [
        ("pde.refinement=2,3", ["--quantity", "pde.energy"], "finest run, pde.refinement = 3"),
        ("pde.degree=1,2", ["--set", "pde.refinement=2"], "no order: pde.degree is not a size"),
        ("initial.a=[0.1,0.2],[0.3,0]", ["--set", "pde.refinement=1"], "[0.1, 0.2]"),
    ],
)
def test_other_studies_have_a_table_and_a_picture_too(over, options, expected, folder, capfd):
    pytest.importorskip("matplotlib")
    assert converge("--over", over, *options, "--plot", "errors.pdf", "--csv", "errors.csv") == 0
    assert expected in capfd.readouterr().out
    assert (folder / "errors.pdf").stat().st_size > 1000
    assert len(read(folder / "errors.csv")) == 2


@pytest.mark.mpi
def test_a_run_that_stops_itself_has_its_own_exit_code(folder, capfd):
    stops = ["--set", "pde.largest_unresolved=0.05"]
    assert converge("--over", "pde.refinement=1,3,4", *stops, "--csv", "errors.csv") == 3
    out, _, _ = printed(capfd)
    assert "pde.refinement = 1 stopped: density: the mesh does not resolve" in out
    assert "order 1.8" in out
    files(folder)
    assert [row["error"] == "" for row in read(folder / "errors.csv")] == [True, False, False]


@pytest.mark.mpi
def test_a_warning_names_the_run(folder, capfd):
    assert converge("--over", "pde.refinement=0,4") == 0
    _, err, others = printed(capfd)
    assert "pde.refinement = 0: warning: density: the mesh does not resolve" in err
    assert "pde.refinement = 4" not in err and others == ""


WRONG = {
    "unknown key": (["--over", "pde.refinment=1,2"], "did you mean 'refinement'"),
    "two keys": (["--over", "time.step=0.1,0.2", "--over", "pde.degree=1,2"], "more than once"),
    "value": (["--over", "pde.refinement=1,99"], "pde.refinement: 99 is not allowed"),
    "no values": (["--over", "pde.refinement"], "no '='"),
    "one value": (["--over", "pde.refinement=3"], "at least two values"),
    "an empty value": (["--over", "pde.refinement=1,,3"], "pde.refinement: '' is not allowed"),
    "override": (["--over", "pde.refinement=1,2", "--set", "pde"], "must be table.key=value"),
    "quantity": (["--over", "pde.refinement=1,2", "--quantity", "man_1"], "did you mean 'mean_1'"),
    "folder": (["--over", "pde.refinement=1,2", "--csv", "no/such.csv"], "--csv: no/such.csv"),
}


@pytest.mark.mpi
@pytest.mark.parametrize("name", list(WRONG))
def test_refusals(name, folder, capfd):
    arguments, message = WRONG[name]
    code = converge(*arguments, *([] if "--csv" in arguments else ["--csv", "errors.csv"]))
    out, err, others = printed(capfd)
    assert code == 2 and message in err and out == others == ""
    assert files(folder) == ["circle.toml"]


def test_a_missing_case_is_refused(folder, capfd):
    assert main(["converge", "missing.toml", "--over", "pde.refinement=1,2"]) == 2
    assert "missing.toml: 1 problem" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stop:
        converge()
    assert stop.value.code == 2


def test_pictures_that_cannot_be_drawn(folder, capfd, monkeypatch):
    over = ["--over", "pde.refinement=1,2"]
    if command_line.find_spec("matplotlib"):
        assert converge(*over, "--plot", "errors.docx") == 2
        assert "no ending of a picture; allowed: " in capfd.readouterr().err
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    assert converge(*over, "--plot", "errors.png") == 2
    assert 'pip install "meanformer[docs]"' in capfd.readouterr().err
