"""Measurements of ``meanformer bench``, each in a process of its own.

A process of its own has a peer's settings of threads, memory that nothing else has used, and takes
nobody with it when it fails. ``python -m meanformer.scripts.bench_worker JOB`` does one job (JSON),
see ``bench_process.measure``, and writes a line of JSON for each result.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from meanformer.mpi import MPI


def main(job: str) -> None:
    """Do a job: a JSON object with task, arguments and pinned_to."""
    given = json.loads(job)
    # Libraries may print; what they print is not ours.
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        cores = given["pinned_to"]
        if cores and hasattr(os, "sched_setaffinity"):  # not on macOS
            os.sched_setaffinity(0, {cores[MPI.COMM_WORLD.rank % len(cores)]})
        try:
            # Imported only now: libraries look for their cores when they are loaded.
            module, _, name = given["task"].partition(":")
            task: Callable[..., Iterator[dict[str, Any]]] = getattr(import_module(module), name)
            for result in task(**given["arguments"]):
                print(json.dumps(result), file=output, flush=True)
        except Exception:
            if MPI.COMM_WORLD.size > 1:
                # The others would wait for this rank for ever.
                traceback.print_exc()
                MPI.COMM_WORLD.Abort(1)
            raise


if __name__ == "__main__":
    main(sys.argv[1])
