"""The command ``meanformer solve``, as a user calls it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from mpi4py import MPI

import pytest

import meanformer
from meanformer.scripts.main import main
from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.observers.token_diagnostics import TokenDiagnostics
from meanformer.simulation.output.folder import locked
from meanformer.tests.simulation.case.wrong_cases import WRONG

ROOT = Path(meanformer.__file__).parent
MPIRUN = shutil.which("mpirun")
RIGHT = """
[attention]
beta = 1.0
[initial]
kind = "uniform"
[particles]
number = 20
[time]
end = 0.2
"""
CALL = "from meanformer.scripts.main import main; raise SystemExit(main())"


def meanformer_command(*arguments, folder, ranks=1, script=CALL):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    if ranks > 1:
        command = [MPIRUN, "-n", str(ranks), *command]
    # Not the launcher's own variables, where the tests themselves run under mpirun.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMIX_", "OMPI_COMM"))
    }
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT.parent), os.environ.get("PYTHONPATH")])
    )
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_solve_runs_and_says_where_the_run_is(tmp_path):
    (tmp_path / "small.toml").write_text(RIGHT)
    done = meanformer_command("solve", "small.toml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "runs/small" in done.stdout
    assert (tmp_path / "runs/small/particles.csv").exists()
    assert not (tmp_path / "runs/small/pde.csv").exists()


def test_runs_on_as_many_ranks_give_the_same_bytes(tmp_path):
    case = ROOT / "cases/two-caps.toml"
    options = ["--set", "time.end=0.02", "--set", "particles.number=500"]
    tables = []
    for name in ("first", "second"):
        done = meanformer_command(
            "solve", case, "--output", name, *options, folder=tmp_path, ranks=2
        )
        assert done.returncode == 0, done.stderr
        tables.append([(tmp_path / name / f"{t}.csv").read_bytes() for t in ("pde", "compare")])
    assert tables[0] == tables[1]


def test_output_and_set_override_the_case(tmp_path):
    (tmp_path / "small.toml").write_text(RIGHT)
    options = ["--output", "elsewhere", "--set", "time.end=0.1", "--set", "particles.number=7"]
    done = meanformer_command("solve", "small.toml", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    resolved = tomllib.loads((tmp_path / "elsewhere/case.toml").read_text())
    assert resolved["time"]["end"] == 0.1
    assert resolved["particles"]["number"] == 7


def test_a_run_that_stops_itself_has_its_own_exit_code(tmp_path):
    (tmp_path / "small.toml").write_text(RIGHT)
    options = ["--set", "attention.law=unnormalised", "--set", "attention.beta=800"]
    stopped = meanformer_command("solve", "small.toml", *options, folder=tmp_path)
    assert stopped.returncode == 3
    assert "double precision" in stopped.stderr


@pytest.mark.parametrize(
    "arguments", [["solve"], ["sovle", "x.toml"], ["solve", "x.toml", "--nonsense"], []]
)
def test_wrong_command_lines(arguments, tmp_path):
    assert meanformer_command(*arguments, folder=tmp_path).returncode == 2


NOISY = """
[attention]
beta = 1.0
[noise]
temperature = 0.1
[initial]
kind = "uniform"
[pde]
refinement = 0
[time]
end = 0.01
"""


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    "text, code, word",
    [
        ("-diffusion_pc_type jacobi -diffusion_ksp_converged_reason", 0, "converged"),
        ("-diffusion_pc_type nonsense", 2, "--petsc"),
        ("-diffusion_pc_type lu -diffusion_pc_factor_mat_solver_type none", 2, "--petsc"),
        ("diffusion_pc_type jacobi", 2, "-name"),
    ],
)
def test_options_for_petsc(tmp_path, ranks, text, code, word):
    (tmp_path / "noisy.toml").write_text(NOISY)
    done = meanformer_command(
        "solve", "noisy.toml", f"--petsc={text}", folder=tmp_path, ranks=ranks
    )
    assert done.returncode == code, done.stderr
    assert word in done.stdout + done.stderr
    assert (tmp_path / "runs").exists() == (code == 0)


def test_version_and_help(tmp_path):
    version = meanformer_command("--version", folder=tmp_path)
    assert version.stdout.strip() == meanformer.__version__
    for arguments in (["--help"], ["solve", "--help"]):
        assert meanformer_command(*arguments, folder=tmp_path).returncode == 0


def check_wrong(name, folder, ranks):
    entry = WRONG[name]
    (folder / "wrong.toml").write_text(entry["case"])
    refused = meanformer_command("solve", "wrong.toml", folder=folder, ranks=ranks)
    assert refused.returncode == 2, refused.stderr
    # Under mpirun the launcher adds that a process ended with exit code 2.
    assert refused.stderr.count(entry["key"]) >= 1, refused.stderr
    assert refused.stderr.count("wrong.toml:") == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["wrong.toml"]


@pytest.mark.mpi
def test_every_wrong_case_is_refused_on_all_ranks(shared_tmp_path, monkeypatch, capfd):
    comm = MPI.COMM_WORLD
    path = shared_tmp_path / "wrong.toml"
    monkeypatch.chdir(shared_tmp_path)
    taken = []
    for name, wrong in WRONG.items():
        if comm.rank == 0:
            path.write_text(wrong["case"])
        comm.barrier()
        refused = main(["solve", "wrong.toml"]) == 2
        told = (wrong["key"] in capfd.readouterr().err) == (comm.rank == 0)
        comm.barrier()
        alone = [entry.name for entry in shared_tmp_path.iterdir()] == ["wrong.toml"]
        # Of all ranks together: one that fails alone would leave the others waiting.
        if not all(comm.allreduce([refused and told and alone])):
            taken.append(name)
    assert not taken


SOME = list(WRONG)[::8]


@pytest.mark.parametrize("name", SOME)
def test_wrong_cases_are_refused(name, tmp_path):
    check_wrong(name, tmp_path, ranks=1)


@pytest.mark.skipif(MPIRUN is None, reason="needs mpirun")
@pytest.mark.parametrize("name", SOME[::4])
def test_wrong_cases_are_refused_on_two_ranks(name, tmp_path):
    check_wrong(name, tmp_path, ranks=2)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", list(WRONG))
def test_every_wrong_case_is_refused(name, ranks, tmp_path):
    check_wrong(name, tmp_path, ranks)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_missing_case_is_refused(ranks, tmp_path):
    refused = meanformer_command("solve", "missing.toml", folder=tmp_path, ranks=ranks)
    assert refused.returncode == 2
    assert "missing.toml" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "override", ["pde.degre=2", "time.end=-1", "time", "particles.number=many"]
)
def test_wrong_overrides_are_refused(override, tmp_path):
    (tmp_path / "small.toml").write_text(RIGHT)
    refused = meanformer_command("solve", "small.toml", "--set", override, folder=tmp_path)
    assert refused.returncode == 2
    assert override.partition("=")[0] in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize("path", sorted(ROOT.glob("cases/*.toml")), ids=lambda path: path.stem)
def test_the_example_cases_run(path, tmp_path):
    step = Case.load(path).time.step
    options = ["--output", "run", "--set", f"time.end={0.1 if step == 'auto' else 2 * step}"]
    done = meanformer_command("solve", path, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr


FULL = """
title = "A full disk"
[attention]
beta = 1.0
[initial]
kind = "von-mises-fisher"
mean = [0.0, 0.0, 1.0]
concentration = 2.0
[pde]
refinement = 3
degree = 1
[particles]
number = 4000
[compare]
metrics = ["harmonic"]
[time]
end = 4.0
sample_every = 0.05
[output]
checkpoint_every = 0.1
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_rank_ends_all(rank, tmp_path):
    case = tmp_path / "full.toml"
    case.write_text(FULL)
    script = f"""
from mpi4py import MPI
from meanformer.simulation.observers.token_diagnostics import TokenDiagnostics
sample = TokenDiagnostics.sample
def fail(self, state):
    if state.time > 0.1 and state.comm.rank == {rank}:
        raise OSError(f"rank {rank} fails")
    sample(self, state)
TokenDiagnostics.sample = fail
{CALL}"""
    failed = meanformer_command(
        "solve", case, "--output", tmp_path / "run", folder=tmp_path, ranks=2, script=script
    )
    assert failed.returncode not in (0, 2, 3, 4)
    assert f"rank {rank} fails" in failed.stderr
    assert (tmp_path / "run/checkpoint/latest.json").exists()


@pytest.mark.parametrize("left_out, stays", [("particles", "pde"), ("pde", "particles")])
def test_a_table_is_left_out(left_out, stays, tmp_path):
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    case = Case.load(path, [f"{left_out}=none"])
    assert getattr(case, left_out) is None and case.compare is None
    assert getattr(case, stays) is not None


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_second_run_in_the_folder_of_a_live_one_is_refused(resume, tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "small.toml").write_text(RIGHT)
    arguments = ("solve", "small.toml", "--output", folder)
    assert meanformer_command(*arguments, folder=tmp_path).returncode == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with locked(folder):  # as a run holds it while it is going on
        refused = meanformer_command(*arguments, *resume, folder=tmp_path)
    assert refused.returncode == 2
    assert "a run is going on in" in refused.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("run*/*") if path.is_file()} == {
        path: text for path, text in before.items() if path.parent == folder
    }
    assert not (tmp_path / "run.1").exists()
    assert meanformer_command(*arguments, *resume, folder=tmp_path).returncode == 0


def test_a_run_holds_its_folder(tmp_path):
    case = Case.from_dict(tomllib.loads(RIGHT))
    folder, sample, seen = tmp_path / "run", TokenDiagnostics.sample, []

    def look(self, state):
        with pytest.raises(CaseError, match="a run is going on"), locked(folder):
            seen.append("free")
        seen.append("held")
        sample(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenDiagnostics, "sample", look)
        run(case, folder)
    assert seen and set(seen) == {"held"}
    with locked(folder):
        pass
