"""A whole run: solvers from a case, observers around them, a result in the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from meanformer.attention import AttentionDomainError
from meanformer.pde import PositivityError
from meanformer.simulation.build import build
from meanformer.simulation.case import Case
from meanformer.simulation.comparison import Comparison
from meanformer.simulation.controller import Observer, RunStopped, integrate, sample_times
from meanformer.simulation.diagnostics import DensityDiagnostics, TokenDiagnostics
from meanformer.simulation.fields import DensityFields, TokenFields
from meanformer.simulation.folder import open_folder
from meanformer.simulation.guards import MassGuard
from meanformer.simulation.progress import TerminalProgress
from meanformer.simulation.state import State
from meanformer.simulation.summary import summarise, write_summary
from meanformer.simulation.tables import Table

Columns = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        status: "done", or "stopped" if the run stopped itself.
        pde: Columns of ``pde.csv`` over the samples, ``shape=(samples,)`` each; empty without a
            density.
        particles: Columns of ``particles.csv``; empty without tokens.
        compare: Columns of ``compare.csv``; empty unless both solvers ran.
        summary: What ``summary.json`` holds.
        state: The solvers at the end.
    """

    status: str
    pde: Columns
    particles: Columns
    compare: Columns
    summary: dict[str, Any]
    state: State


def run(
    case: Case,
    output: str | Path | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
    progress: bool = False,
) -> Result:
    """Run a case. Collective over ``comm``.

    Args:
        case: What to run.
        output: Folder for the files of the run; None writes nothing.
        comm: The ranks that share the work.
        progress: Show progress on rank 0's terminal.

    Returns:
        The columns of all tables, on every rank, and the final state.

    Raises:
        CaseError: If the output folder cannot be used.
    """
    began = perf_counter()
    folder = None if output is None else Path(output)
    if folder is not None:
        open_folder(folder, case.to_toml(), comm)
    state = build(case, comm)
    tables, observers = _observers(case, state, folder)
    if progress:
        observers.append(TerminalProgress(case.title, case.time.end))

    seconds = {"setup": perf_counter() - began}
    status, reason = "done", None
    try:
        times = sample_times(case.time.end, case.time.sample_every)
        seconds |= integrate(state, times, observers)
    except (RunStopped, AttentionDomainError, PositivityError) as stop:
        # All of them are raised on every rank at once.
        status, reason = "stopped", str(stop)
    finally:
        for observer in observers:
            observer.close()
    seconds["total"] = perf_counter() - began
    summary = summarise(state, status, reason, tables, seconds)
    if folder is not None and comm.rank == 0:
        write_summary(summary, folder)
    columns = {stem: table.columns for stem, table in tables.items()}
    none: Columns = {}
    return Result(
        status,
        columns.get("pde", none),
        columns.get("particles", none),
        columns.get("compare", none),
        summary,
        state,
    )


def _observers(
    case: Case, state: State, folder: Path | None
) -> tuple[dict[str, Table], list[Observer]]:
    """The tables of the case, and the observers that fill them and write its fields."""
    tables: dict[str, Table] = {}

    def table(stem: str) -> Table:
        writes = folder is not None and state.comm.rank == 0
        tables[stem] = Table(folder / f"{stem}.csv" if folder and writes else None)
        return tables[stem]

    observers: list[Observer] = [MassGuard()]
    if state.density is not None:
        observers.append(DensityDiagnostics(table("pde")))
    if state.tokens is not None:
        observers.append(TokenDiagnostics(table("particles")))
    if case.compare is not None:
        observers.append(Comparison(table("compare"), case.compare.metrics))
    if folder is not None and "vtx" in case.output.fields:
        if state.density is not None:
            observers.append(DensityFields(folder, state.density))
        if state.tokens is not None:
            observers.append(TokenFields(folder))
    return tables, observers
