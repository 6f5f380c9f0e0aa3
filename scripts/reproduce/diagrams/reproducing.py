"""A diagram's runs one after another, and its files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter

from meanformer.mpi import MPI

import numpy as np

from meanformer.scripts.reproduce.diagrams.diagram import Diagram, PairShares
from meanformer.simulation import Case, run
from meanformer.simulation.controller import RunStopped
from meanformer.simulation.output.folder import new_folder, on_root, replace_file
from meanformer.theory import Deviation

#: The file of a diagram's data, beside NAME.png.
DATA_FILE = "shares.npz"
_DPI = 150


def reproduce(
    name: str, diagram: Diagram, cases: Sequence[Case], folder: Path, comm: MPI.Intracomm
) -> list[Deviation]:
    """Run all cases, and write the case of the first, data and the picture. Collective.

    Args:
        name: Of the picture.
        diagram: What is drawn.
        cases: Its runs.
        folder: Where files go.
        comm: The ranks that share the work.

    Returns:
        What was measured, on every rank.

    Raises:
        CaseError: If the folder cannot be used.
        OSError: If a file cannot be written.
        RunStopped: On every rank, if a run does not reach its end.
    """
    with ExitStack() as held:
        on_root(comm, partial(held.enter_context, new_folder(folder, cases[0])))
        everything = []
        for number, case in enumerate(cases, start=1):
            began, pairs = perf_counter(), PairShares(diagram.counts)
            result = run(case, comm=comm, observers=[pairs])
            if result.status != "done":
                raise RunStopped(f"{case.title}: {result.status}: {result.summary['reason']}")
            everything.append(pairs.shares)
            if comm.rank == 0:
                seconds = perf_counter() - began
                print(f"{number}/{len(cases)}  {case.title}  ({seconds:.1f} s)", flush=True)
        times, shares = np.array(pairs.times), np.array(everything)

        def write() -> None:
            content = io.BytesIO()
            np.savez_compressed(content, times=times, shares=shares)
            replace_file(folder / DATA_FILE, content.getvalue())
            diagram.draw(times, shares).savefig(folder / f"{name}.png", dpi=_DPI)

        on_root(comm, write)
    return diagram.checks(times, shares)
