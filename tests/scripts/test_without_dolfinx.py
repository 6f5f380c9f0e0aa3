"""Tokens alone need no DOLFINx and no MPI library, and do not load them where they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mpi4py import MPI

import pytest

import meanformer
from meanformer.simulation import Case, CaseError, requirements, run

ROOT = Path(meanformer.__file__).parent
LIBRARIES = ("dolfinx", "basix", "ufl", "ffcx", "petsc4py", "slepc4py", "dolfinx_solver")
BOTH = """
[attention]
beta = 1.0
[initial]
kind = "uniform"
[pde]
refinement = 0
[particles]
number = 20
[time]
end = 0.2
"""
COMMANDS = (
    'pip install "meanformer[dolfinx]"',
    'conda install -c conda-forge "fenics-dolfinx>=0.9" mpich',
)
BLOCK = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LIBRARIES}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""
# What mpi4py's own finder raises there.
BLOCK_MPI = """
class NoLibrary:
    def find_spec(self, name, path=None, target=None):
        if name == "mpi4py.MPI":
            raise RuntimeError("cannot load MPI library")

sys.meta_path.insert(0, NoLibrary())
"""
CALL = "from meanformer.scripts.main import main; raise SystemExit(main())"


def python(script, *arguments, folder, **variables):
    """A process of its own, which is no rank of the one that runs the tests."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMI_", "PMIX_", "MPI_LOCAL", "OMPI_COMM"))
    }
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT.parent), os.environ.get("PYTHONPATH")])
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    tokens = BOTH.replace("[pde]\nrefinement = 0\n", "")
    (tmp_path / "tokens.toml").write_text(tokens)
    (tmp_path / "both.toml").write_text(BOTH)
    return tmp_path


@pytest.mark.parametrize("mpi", [True, False])
def test_tokens_run_and_go_on_without_dolfinx(folder, mpi):
    script = BLOCK + BLOCK_MPI * (not mpi)
    script += """
from meanformer.scripts.main import main

print(main(["solve", "tokens.toml"]))
print(main(["solve", "tokens.toml", "--resume", "--set", "time.end=0.4"]))
print(main(["solve", "both.toml", "--set", "pde=none"]))
"""
    done = python(script, folder=folder)
    assert [line for line in done.stdout.split("\n") if line.isdecimal()] == ["0"] * 3, done.stderr
    whole = run(Case.load(folder / "tokens.toml", ["time.end=0.4"]), comm=MPI.COMM_SELF)
    summary = json.loads((folder / "runs/tokens/summary.json").read_text())
    assert summary["resumed_at"] == 0.2 and summary["time"] == 0.4
    assert {"dolfinx"} & summary["versions"].keys() == set()
    assert (summary["versions"]["mpi"] == "none") == (not mpi)
    assert summary["final"]["particles"]["energy"] == whole.particles["energy"][-1]
    assert (folder / "runs/tokens/tokens.pvd").exists()
    assert (folder / "runs/both/particles.csv").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["solve", "both.toml"],
        ["solve", "both.toml", "--set", "particles=none", "--resume"],
        ["converge", "both.toml", "--over", "pde.refinement=0,1"],
        ["bench", "pde"],
    ],
)
def test_a_density_without_dolfinx_is_refused_and_nothing_written(folder, words):
    done = python(BLOCK + CALL, *words, folder=folder)
    assert done.returncode == 2
    assert all(command in done.stderr for command in COMMANDS), done.stderr
    assert "No module named 'dolfinx'" in done.stderr and "Traceback" not in done.stderr
    assert ("--set pde=none" in done.stderr) == (
        "particles=none" not in words and "bench" not in words
    )
    assert sorted(path.name for path in folder.iterdir()) == ["both.toml", "tokens.toml"]


def test_dolfinx_is_not_loaded_where_it_is_not_needed(folder):
    script = f"""
import sys

def check(what):
    loaded = [name for name in {LIBRARIES} if name in sys.modules]
    assert not loaded, (what, loaded)

import meanformer.attention; check("attention")
import meanformer.particles; check("particles")
from meanformer.simulation import Case, run, converge; check("simulation")
import meanformer.scripts.main; check("scripts.main")
assert meanformer.scripts.main.main(["solve", "tokens.toml"]) == 0; check("run")
assert meanformer.scripts.main.main(
    ["converge", "tokens.toml", "--over", "particles.number=20,40"]
) == 0; check("converge")
"""
    done = python(script, folder=folder)
    assert done.returncode == 0, done.stderr


def test_options_for_petsc_without_a_density_are_refused(folder):
    done = python(CALL, "solve", "tokens.toml", "--petsc=-diffusion_pc_type lu", folder=folder)
    assert done.returncode == 2 and "--petsc" in done.stderr
    assert not (folder / "runs").exists()


def test_one_of_several_ranks_without_an_mpi_library_is_told(folder):
    script = "import sys\n" + BLOCK_MPI + CALL
    done = python(script, "solve", "tokens.toml", folder=folder, OMPI_COMM_WORLD_SIZE="2")
    assert done.returncode == 1 and "pip install mpich" in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.mpi
def test_dolfinx_missing_on_one_rank_is_told_on_all(monkeypatch):
    comm = MPI.COMM_WORLD
    if comm.rank == comm.size - 1:
        monkeypatch.setattr(requirements, "_MODULE", "dolfinx.not_there")
    case = Case.from_dict(
        {
            "attention": {"beta": 1.0},
            "initial": {"kind": "uniform"},
            "pde": {"refinement": 0},
            "time": {"end": 0.1},
        }
    )
    with pytest.raises(CaseError, match=r"No module named 'dolfinx\.not_there'"):
        run(case)
