"""Processes in which ``meanformer bench`` measures: how they are started and what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from meanformer.scripts import bench_machine, bench_worker

# What a process may take beyond its measurements: to start, to compile and to be checked.
_PATIENCE = 600.0


def measure(
    task: str,
    arguments: Mapping[str, object],
    *,
    environment: Mapping[str, str] | None = None,
    ranks: int | None = None,
    seconds: float = 0.0,
) -> tuple[list[dict[str, Any]], str]:
    """Do a task in a process of its own.

    Args:
        task: A generator function as "module:name", which yields results.
        arguments: Its arguments, which JSON can hold.
        environment: Variables to be set.
        ranks: So many ranks (by mpirun, if there are several; see ``why_not_on``), each with a core
            of its own, in place of one process with all cores.
        seconds: What the measurements may take.

    Returns:
        The results, and what went wrong, if anything did.
    """
    job = {
        "task": task,
        "arguments": dict(arguments),
        "pinned_to": bench_machine.cores() if ranks else [],
    }
    command = [sys.executable, "-P", "-m", bench_worker.__name__]
    if ranks and ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMIX_", "PMI_", "OMPI_COMM_WORLD"))
    }
    variables |= environment or {}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [*command, json.dumps(job)],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            printed, errors = process.communicate(timeout=_PATIENCE + seconds)
            stopped = False
        except subprocess.TimeoutExpired:
            process.terminate()  # mpirun ends its ranks; killed, it would leave them behind
            printed, errors = process.communicate()
            stopped = True
        except BaseException:
            process.terminate()
            raise
    results, code = _results(printed), process.returncode
    if stopped:
        return results, f"stopped after {_PATIENCE + seconds:.0f} s"
    if code == 0:
        return results, ""
    lines = [line.strip() for line in errors.splitlines() if line.strip().isprintable()]
    # A launcher has more to say after the error.
    lines = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)] or lines
    if code < 0:
        return results, f"ended by signal {-code}"
    return results, f"failed: {lines[-1] if lines else code}"


def why_not_on(ranks: int) -> str:
    """Why so many ranks, a core each, cannot be measured here; empty if they can."""
    if shutil.which("mpirun") is None:
        return "mpirun is not on PATH"
    cores = len(bench_machine.cores())
    return f"{cores} core{'s'[: cores - 1]} only" if cores < ranks else ""


def _results(printed: str) -> list[dict[str, Any]]:
    """What a worker found: the lines that are whole."""
    return [json.loads(line) for line in printed.splitlines() if line[:1] + line[-1:] == "{}"]
