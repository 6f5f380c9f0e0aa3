"""Processes in which is measured: how they are started, what they do, and what they say.

A process of its own has a peer's settings of threads, memory that nothing else has used, and takes
nobody with it when it fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from importlib import import_module
from typing import Any

from meanformer.mpi import MPI

from meanformer.threads import open_cores

# What a process may take beyond its measurements: to start, to compile and to be checked.
_PATIENCE = 600.0


def why_not_on(ranks: int) -> str:
    """Why so many ranks, a core each, cannot be measured here; empty if they can."""
    if shutil.which("mpirun") is None:
        return "mpirun is not on PATH"
    count = len(open_cores())
    return f"{count} core{'s'[: count - 1]} only" if count < ranks else ""


def measure(
    task: str,
    arguments: dict[str, Any],
    *,
    environment: dict[str, str] | None = None,
    ranks: int | None = None,
    seconds: float = 0.0,
) -> tuple[list[dict[str, Any]], str]:
    """Do a task in a process of its own.

    Args:
        task: A generator function as "module:name", which yields results, flat dictionaries.
        arguments: Its arguments, which JSON can hold.
        environment: Variables to be set; {cores} stands for the number of cores.
        ranks: So many ranks (by mpirun, if there are several), each with a core of its own, in
            place of one process with all cores.
        seconds: What the measurements may take.

    Returns:
        The results, and what went wrong, if anything did.
    """
    if ranks and ranks > 1 and (problem := why_not_on(ranks)):
        return [], problem
    cores = open_cores()
    job = json.dumps([task, arguments, cores if ranks else []])
    command = [sys.executable, "-P", "-m", __name__, job]
    if ranks and ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    launchers = ("PMIX_", "PMI_", "OMPI_COMM_WORLD")
    inherited = {name: to for name, to in os.environ.items() if not name.startswith(launchers)}
    count = str(len(cores))
    own = {name: to.replace("{cores}", count) for name, to in (environment or {}).items()}
    path = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        command,
        env=inherited | own | {"PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        problem = ""
        try:
            printed, errors = process.communicate(timeout=_PATIENCE + seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun ends its ranks; killed, it would leave them behind
            printed, errors = process.communicate()
            problem = f"stopped after {_PATIENCE + seconds:.0f} s"
        except BaseException:
            process.terminate()
            raise
    whole = [line for line in printed.splitlines() if line[:1] + line[-1:] == "{}"]
    return [json.loads(line) for line in whole], problem or _why(process.returncode, errors)


def _why(code: int, errors: str) -> str:
    """Why a process has failed, by its exit code and by what it said; empty if it has not."""
    if code == 0:
        return ""
    if code < 0:
        return f"ended by signal {-code}"
    lines = [line.strip() for line in errors.splitlines() if line.strip().isprintable()]
    # A launcher has more to say after the error.
    lines = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)] or lines
    return f"failed: {lines[-1] if lines else code}"


def work(job: str) -> None:
    """Do a task, on each rank of this process, and write a line of JSON for each result.

    Args:
        job: JSON of the task, its arguments, and the cores that ranks are pinned to, if any.
    """
    task, arguments, pinned_to = json.loads(job)
    # Libraries may print; what they print is not ours.
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        if pinned_to and hasattr(os, "sched_setaffinity"):  # not on macOS
            os.sched_setaffinity(0, {pinned_to[MPI.COMM_WORLD.rank % len(pinned_to)]})
        try:
            # Imported only now: libraries look for their cores when they are loaded.
            module, _, name = task.partition(":")
            for result in getattr(import_module(module), name)(**arguments):
                print(json.dumps(result), file=output, flush=True)
        except Exception:
            if MPI.COMM_WORLD.size > 1:
                # The others would wait for this rank for ever.
                traceback.print_exc()
                MPI.COMM_WORLD.Abort(1)
            raise


if __name__ == "__main__":
    work(sys.argv[1])
