"""Runs on two ranks that are cut: by a full disk, a folder that is gone, or a signal to mpirun."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep, time

from mpi4py import MPI

import pytest

import meanformer

MPIRUN = shutil.which("mpirun")
pytestmark = pytest.mark.skipif(MPIRUN is None, reason="needs mpirun")
CASE = """
title = "A full disk"
[space]
kind = "sphere"
dimension = 2
[attention]
beta = 1.0
[initial]
kind = "von-mises-fisher"
mean = [0.0, 1.0]
concentration = 2.0
[pde]
refinement = 3
degree = 1
[particles]
number = 400
[compare]
metrics = ["w1"]
[time]
end = 1.0
step = 0.05
sample_every = 0.05
[output]
fields = ["none"]
checkpoint_every = 10.0
"""
TABLES = ("pde.csv", "particles.csv", "compare.csv")
RUN = "from meanformer.scripts.main import main; raise SystemExit(main())"
# What happens before an observer's sample at t = 0.5 and later, when a checkpoint of t = 0 or of
# t = 0.4 is there.
FAULT = """
import os, shutil, signal, subprocess, time
from pathlib import Path
from mpi4py import MPI
from meanformer.simulation.{module} import {observer}

def fill():
    with Path({mark!r}).open("xb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

def fault(state):
    {fault}

sample = {observer}.sample

def sample_with_fault(self, state):
    if state.time >= 0.5:
        if state.comm.rank == {rank} and not Path({mark!r}).exists():
            fault(state)
            Path({mark!r}).touch()
        state.comm.barrier()
    sample(self, state)

{observer}.sample = sample_with_fault
"""


MODULES = {
    "Checkpoints": "output.checkpoints",
    "DensityDiagnostics": "observers.density_diagnostics",
    "DensityFields": "output.density_fields",
    "TokenDiagnostics": "observers.token_diagnostics",
}


def with_fault(**names):
    """A script that puts a fault in front of an observer's samples."""
    return FAULT.format(module=MODULES[names["observer"]], **names)


def start(case, output, *options, script=""):
    """Start a run on two ranks, under mpirun."""
    command = [MPIRUN, "-n", "2", sys.executable, "-c", script + RUN, "solve", case]
    command += ["--output", output, *options]
    # Not the launcher's own variables, where the tests themselves run under mpirun.
    own = ("PMIX_", "OMPI_COMM")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    places = [str(Path(meanformer.__file__).parent.parent), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    return subprocess.Popen(
        list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True
    )


def end(process):
    """Wait for the end of a run; its exit code and what it said on standard error."""
    with process:
        try:
            errors = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    return process.returncode, errors


def fail(case, output, mark, *options, fault, observer="Checkpoints", rank=0, word):
    """Run up to a fault, which leaves a mark: all ranks end within ten seconds, with a word."""
    script = with_fault(mark=str(mark), fault=fault, observer=observer, rank=rank)
    code, errors = end(start(case, output, *options, script=script))
    seconds = time() - mark.stat().st_mtime
    # 2, 3 and 4 mean something else.
    assert code not in (0, 2, 3, 4), errors
    assert any(each in errors for each in word), errors
    assert seconds < 10, errors


def goes_on(case, output, whole, *options):
    """The run that goes on is the one that was never cut."""
    code, errors = end(start(case, output, "--resume", *options))
    assert code == 0, errors
    for name in TABLES:
        assert (output / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.fixture
def case(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(CASE)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "case.toml").write_text(CASE)
    code, errors = end(start(folder / "case.toml", folder / "run"))
    assert code == 0, errors
    return folder / "run"


@pytest.fixture
def mount():
    """Mount a file system, until the end of the test."""
    mounted = []

    def do(*arguments):
        if shutil.which("mount") is None or subprocess.run(["mount", *arguments]).returncode:
            pytest.skip("file systems cannot be mounted here")
        mounted.append(arguments[-1])

    yield do
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL)


@pytest.fixture
def disk(tmp_path, mount):
    """A folder on a file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder))
    return folder


VTU = ["--set", 'output.fields=["vtu"]']
VTX = ["--set", 'output.fields=["vtx"]']
OFTEN = ["--set", "output.checkpoint_every=0.2"]
FULL = ["No space left"]
# What a rank does that writes a file of its own.
WRITE = 'fill(); (Path({mark!r}).parent / "part").write_bytes(bytes(9))'


@pytest.mark.parametrize(
    "observer, options, more",
    [
        pytest.param("DensityDiagnostics", [], {}, id="table"),
        pytest.param("Checkpoints", OFTEN, {}, id="checkpoint"),
        pytest.param(
            "Checkpoints",
            OFTEN,
            {
                "fault": "fill(); os.kill(os.getpid(), signal.SIGTERM)",
                "word": ["no checkpoint at t = "],
            },
            marks=pytest.mark.slow,
            id="checkpoint-on-a-signal",
        ),
        pytest.param("DensityFields", VTU, {}, id="field-vtu"),
        # Some releases of ADIOS2 free wrong memory where they should say that the disk is full.
        pytest.param(
            "DensityFields",
            VTX,
            {"word": [*FULL, "free(): invalid"]},
            marks=pytest.mark.slow,
            id="field-vtx",
        ),
        pytest.param("DensityFields", VTU, {"rank": 1, "fault": WRITE}, id="rank-1"),
    ],
)
def test_a_full_disk_ends_all_ranks(observer, options, more, case, disk, whole):
    mark = disk / "filler"
    fault = {"fault": "fill()", "word": FULL} | more
    fault["fault"] = fault["fault"].format(mark=str(mark))
    fail(case, disk / "run", mark, *options, observer=observer, **fault)
    mark.unlink()
    goes_on(case, disk / "run", whole, *options)


def test_a_folder_that_is_removed_ends_all_ranks(case, tmp_path):
    folder = tmp_path / "run"
    fault = f"shutil.rmtree({str(folder)!r})"
    fail(case, folder, tmp_path / "mark", fault=fault, word=["No such file"])
    assert not folder.exists()


@pytest.mark.slow
def test_a_folder_that_is_renamed_ends_all_ranks(case, tmp_path, whole):
    folder, moved = tmp_path / "run", tmp_path / "moved"
    fault = f"os.rename({str(folder)!r}, {str(moved)!r})"
    fail(case, folder, tmp_path / "mark", *OFTEN, fault=fault, word=["No such file"])
    assert not folder.exists()
    goes_on(case, moved, whole)


@pytest.mark.slow
def test_a_folder_that_is_unmounted_ends_all_ranks(case, tmp_path, mount, whole):
    disk, folder = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    folder.mkdir()
    mount("--bind", str(disk), str(folder))
    fault = f'subprocess.run(["umount", "-l", {str(folder)!r}], check=True)'
    fail(case, folder, tmp_path / "mark", fault=fault, word=["No such file"])
    assert not list(folder.iterdir())  # the folder below
    goes_on(case, disk, whole)


# Of these, that of Open MPI makes SIGTERM, and kills ranks that do not end at once.
KILLING = () if MPI.get_vendor()[0] == "MPICH" else (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow, id="SIGTERM"),
        pytest.param(signal.SIGUSR1, marks=pytest.mark.slow, id="SIGUSR1"),
    ],
)
def test_a_signal_to_mpirun(number, case, tmp_path, whole):
    folder, mark = tmp_path / "run", tmp_path / "mark"
    fault = f"Path({str(mark)!r}).touch(); time.sleep(2)"
    script = with_fault(mark=str(mark), fault=fault, observer="TokenDiagnostics", rank=0)
    process, until = start(case, folder, script=script), monotonic() + 120
    while not mark.exists() and process.poll() is None and monotonic() < until:
        sleep(0.01)
    process.send_signal(number)
    code, errors = end(process)
    assert mark.exists(), errors
    if number in KILLING:
        assert code != 0
    else:
        name = signal.Signals(number).name
        assert code == 4, errors
        assert f"{name} received: the run ends after the present step" in errors
        assert f"interrupted: {name} received" in errors
        assert json.loads((folder / "summary.json").read_text())["reason"] == f"{name} received"
    goes_on(case, folder, whole)
