"""A disk that fills, or a folder that vanishes, ends all ranks soon and spoils nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import time

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
import os, shutil, signal, subprocess
from pathlib import Path
from mpi4py import MPI
from meanformer.simulation import runner

def fill():
    with Path({mark!r}).open("xb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass

def fault(state):
    {fault}

sample = runner.{observer}.sample

def sample_with_fault(self, state):
    if state.time >= 0.5:
        if state.comm.rank == {rank} and not Path({mark!r}).exists():
            fault(state)
            Path({mark!r}).touch()
        state.comm.barrier()
    sample(self, state)

runner.{observer}.sample = sample_with_fault
"""


def solve(case, output, *options, script=""):
    """Run on two ranks, which are killed together if they do not end."""
    command = [MPIRUN, "-n", "2", sys.executable, "-c", script + RUN, "solve", case]
    # Not the launcher's own variables, where the tests themselves run under mpirun.
    own = ("PMIX_", "OMPI_COMM")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    places = [str(Path(meanformer.__file__).parent.parent), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    command += ["--output", output, *options]
    return subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120
    )


def fail(case, output, mark, *options, fault, observer="Checkpoints", rank=0, word):
    """Run up to a fault, which leaves a mark: all ranks end within ten seconds, with a word."""
    names = {"mark": str(mark), "fault": fault, "observer": observer, "rank": rank}
    failed = solve(case, output, *options, script=FAULT.format(**names))
    seconds = time() - mark.stat().st_mtime
    # 2, 3 and 4 mean something else.
    assert failed.returncode not in (0, 2, 3, 4), failed.stderr
    assert any(each in failed.stderr for each in word), failed.stderr
    assert seconds < 10, failed.stderr
    return failed


def goes_on(case, output, whole, *options):
    """The run that goes on is the one that was never cut."""
    resumed = solve(case, output, "--resume", *options)
    assert resumed.returncode == 0, resumed.stderr
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
    done = solve(folder / "case.toml", folder / "run")
    assert done.returncode == 0, done.stderr
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
            id="checkpoint-on-a-signal",
        ),
        # Some releases of ADIOS2 free wrong memory where they should say that the disk is full.
        pytest.param("DensityFields", VTX, {"word": [*FULL, "free(): invalid"]}, id="field-vtx"),
        pytest.param("DensityFields", VTX, {"rank": 1, "fault": WRITE}, id="rank-1"),
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


def test_a_folder_that_is_renamed_ends_all_ranks(case, tmp_path, whole):
    folder, moved = tmp_path / "run", tmp_path / "moved"
    fault = f"os.rename({str(folder)!r}, {str(moved)!r})"
    fail(case, folder, tmp_path / "mark", *OFTEN, fault=fault, word=["No such file"])
    assert not folder.exists()
    goes_on(case, moved, whole)


def test_a_folder_that_is_unmounted_ends_all_ranks(case, tmp_path, mount, whole):
    disk, folder = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    folder.mkdir()
    mount("--bind", str(disk), str(folder))
    fault = f'subprocess.run(["umount", "-l", {str(folder)!r}], check=True)'
    fail(case, folder, tmp_path / "mark", fault=fault, word=["No such file"])
    assert not list(folder.iterdir())  # the folder below
    goes_on(case, disk, whole)
