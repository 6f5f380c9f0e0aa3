"""A whole run: solvers from a case, observers around them, a result in the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.errors import SolverError
from meanformer.simulation.builders.solvers import build
from meanformer.simulation.case.case import Case
from meanformer.simulation.controller import (
    Observer,
    RunInterrupted,
    RunStopped,
    integrate,
    sample_times,
)
from meanformer.simulation.observers.columns import Comparison
from meanformer.simulation.observers.guards import MassGuard, StepGuard
from meanformer.simulation.observers.interruption import Interruption
from meanformer.simulation.observers.observed_tokens import ObservedTokens
from meanformer.simulation.observers.progress import TerminalProgress
from meanformer.simulation.observers.system_table import SystemTable
from meanformer.simulation.observers.token_diagnostics import TokenDiagnostics
from meanformer.simulation.output.checkpoints import Checkpoints
from meanformer.simulation.output.folder import new_folder, on_root
from meanformer.simulation.output.resume import SYSTEMS_FILE, Start, find_start, take_over
from meanformer.simulation.output.summary import summarise, write_summary
from meanformer.simulation.output.tables import Table
from meanformer.simulation.output.token_fields import TokenFields
from meanformer.simulation.requirements import check_device, check_dolfinx, check_memory
from meanformer.simulation.scheme import Scheme
from meanformer.simulation.state import State
from meanformer.threads import divided_cores

#: Columns by name, ``shape=(samples,)`` each.
Columns = dict[str, Array]
#: File stems of all tables.
STEMS = ("pde", "particles", "compare")


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        status: "done", "stopped" if the run stopped itself, or "interrupted" by a signal.
        pde: Columns of ``pde.csv`` over the samples, ``shape=(samples,)`` each; empty without a
            density.
        particles: Columns of ``particles.csv``; empty without tokens.
        compare: Columns of ``compare.csv``; empty unless both solvers ran.
        systems: Columns of ``systems.csv``: those of each system at the last sample,
            ``shape=(systems,)`` each; empty unless there are several.
        summary: What ``summary.json`` holds.
        state: The solvers at the end; a density with noise takes no more steps.
        scheme: What the scheme of the density offers beside it; None without a density.
    """

    status: str
    pde: Columns
    particles: Columns
    compare: Columns
    systems: Columns
    summary: dict[str, Any]
    state: State
    scheme: Scheme | None = None

    @property
    def tables(self) -> dict[str, Columns]:
        """The columns of all tables by file stem."""
        return dict(zip(STEMS, (self.pde, self.particles, self.compare), strict=True))


def run(
    case: Case,
    output: str | Path | None = None,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    progress: bool = False,
    resume: bool = False,
    observers: Sequence[Observer] = (),
) -> Result:
    """Run a case. Collective over ``comm``.

    Args:
        case: What to run.
        output: Folder for the files of the run; None writes nothing. With a folder, SIGTERM,
            SIGHUP, SIGINT (Ctrl-C) or SIGUSR1 to any rank end the run after the present step, with
            a checkpoint.
        comm: The ranks that share the work.
        progress: Show progress on rank 0's terminal.
        resume: Go on from the last checkpoint in ``output``, on any number of ranks; on as many
            as before, the numbers are those of a run that was never interrupted (to round-off
            with noise on three ranks or more). The case must be the one of that run; its final
            time, title, ``[compare]`` and ``[output]`` may differ.
        observers: More of them, which see every sample and step as those of the run do, after them.

    Returns:
        The columns of all tables, on every rank, and the final state.

    Raises:
        CaseError: If there is a density and DOLFINx is missing, tokens do not fit into memory, or
            the mesh does not resolve its
            start; or the output folder cannot be used, holds no run of this case to go on with,
            or holds a run that is going on.
        ValueError: If ``resume`` is asked for without ``output``.
        OSError: On a rank that cannot write, as on a full disk: the others may wait for it until
            it ends them (as ``meanformer`` does). The last good checkpoint stays.
    """
    began = perf_counter()
    check_dolfinx(case, comm)
    check_memory(case, comm)
    check_device(case, comm)
    folder = None if output is None else Path(output)
    if resume and folder is None:
        raise ValueError("resume: there must be an output folder to go on from")
    with (
        # It limits libraries that are there by now: DOLFINx brings a BLAS of its own.
        divided_cores(comm),
        Interruption(watch=folder is not None, tell=comm.rank == 0) as interruption,
        ExitStack() as held,
    ):
        sections = (case.pde, case.particles, case.compare)
        stems = [stem for stem, section in zip(STEMS, sections, strict=True) if section is not None]
        start = Start()
        if folder is not None and resume:
            start = find_start(folder, case, stems, comm, held)
        state, scheme = build(case, comm)
        if folder is not None and resume:
            take_over(start, folder, case, state)
        elif folder is not None:
            on_root(comm, partial(held.enter_context, new_folder(folder, case)))
        written = folder if comm.rank == 0 else None
        tables = {
            stem: Table(written / f"{stem}.csv" if written else None, start.columns.get(stem))
            for stem in stems
        }
        systems = None
        if state.tokens is not None and state.tokens.systems.count > 1:
            path = written / SYSTEMS_FILE if written else None
            former = {name: np.array(column) for name, column in start.systems.items()}
            systems = SystemTable(state.tokens.systems, path, former)
        own = _observers(case, state, scheme, tables, systems, folder, start)
        watching = [*own, *observers]
        if progress:
            watching.append(TerminalProgress(case.title, case.time.end))
        watching.append(interruption)

        seconds = {"setup": perf_counter() - began}
        try:
            status, reason = _integrate(case, state, start, watching, seconds)
        except BaseException:
            # Perhaps of this rank alone: the others are elsewhere, and closing waits for them.
            if comm.size == 1:
                _close(state, watching)
            raise
        _close(state, watching)
        seconds["total"] = perf_counter() - began
        summary = {
            "status": status,
            "reason": reason,
            "warnings": [line for observer in watching for line in observer.warnings()],
            "resumed_at": start.resumed_at,
        }
        summary |= summarise(state, scheme, tables, seconds)
        if folder is not None and comm.rank == 0:
            write_summary(summary, folder)
    columns = {stem: tables[stem].columns if stem in tables else {} for stem in STEMS}
    of_systems = {} if systems is None else systems.columns
    return Result(
        status, **columns, systems=of_systems, summary=summary, state=state, scheme=scheme
    )


def _integrate(
    case: Case, state: State, start: Start, observers: list[Observer], seconds: dict[str, float]
) -> tuple[str, str | None]:
    """Move the solvers to the end; how that ended, and why. Wall times are added to ``seconds``."""
    times = sample_times(case.time.end, case.time.sample_every, start.sampled)
    try:
        integrate(state, times, observers, seconds)
    except RunInterrupted as stop:
        for observer in observers:
            observer.interrupted(state)
        return "interrupted", str(stop)
    except (RunStopped, SolverError) as stop:
        # All of them are raised on every rank at once.
        return "stopped", str(stop)
    return "done", None


def _close(state: State, observers: list[Observer]) -> None:
    """Close the files of observers, then the density. Collective."""
    try:
        for observer in observers:
            observer.close()
    finally:
        if state.density is not None:
            state.density.close()


def _observers(
    case: Case,
    state: State,
    scheme: Scheme | None,
    tables: dict[str, Table],
    systems: SystemTable | None,
    folder: Path | None,
    start: Start,
) -> list[Observer]:
    """What checks the run, fills its tables, and writes its fields and checkpoints."""
    observers: list[Observer] = [StepGuard(case.title), MassGuard()]
    if scheme is not None:
        observers += [*scheme.limits(), scheme.diagnostics(tables["pde"])]
    if state.tokens is not None:
        prompt = 0 if case.prompt is None else case.prompt.number
        observed = ObservedTokens(state.tokens, state.attention, case.space.rescaled, prompt)
        table, end = tables["particles"], case.time.end
        observers.append(TokenDiagnostics(table, observed, systems, end))
    if case.compare is not None:
        observers.append(Comparison(tables["compare"]))
    formats = case.output.fields
    if folder is not None and "none" not in formats:
        if scheme is not None:
            observers.append(scheme.fields(folder, formats, start))
        if state.tokens is not None:
            observers.append(TokenFields(folder, start))
    if folder is not None:
        every, end = case.output.checkpoint_every, case.time.end
        observers.append(Checkpoints(folder, every, end, tables.values(), start))
    if scheme is not None:  # last: what stops here is written
        observers.append(scheme.resolution(tables["pde"]))
    return observers
