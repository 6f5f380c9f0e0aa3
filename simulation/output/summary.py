"""``summary.json``: how a run ended and what it cost."""

from __future__ import annotations

import json
import math
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from meanformer.mpi import LIBRARY

import meanformer
from meanformer.simulation.output.folder import replace_file
from meanformer.simulation.output.tables import Table
from meanformer.simulation.scheme import Scheme
from meanformer.simulation.state import State


def summarise(
    state: State, scheme: Scheme | None, tables: dict[str, Table], seconds: dict[str, float]
) -> dict[str, Any]:
    """Where a run has ended and what it cost, the same on every rank, as JSON. Collective.

    Args:
        state: The solvers.
        scheme: That of the density, or None.
        tables: The tables of diagnostics by file stem.
        seconds: Wall time by phase, of this rank: told are the largest of all ranks. Those of a
            solver's parts, as in "density.attention", are contained in its own.
    """
    solvers = state.solvers
    parts = {f"{name}.{p}": s for name in solvers for p, s in solvers[name].wall_time.items()}
    everyone = state.comm.allgather(seconds | parts)
    phases = sorted({phase for one in everyone for phase in one})
    wall_time = {phase: max(one.get(phase, 0.0) for one in everyone) for phase in phases}
    return {
        "time": state.time,
        "steps": {name: solver.steps for name, solver in solvers.items()},
        "refused_steps": {name: solver.refused_steps for name, solver in solvers.items()},
        "ranks": state.comm.size,
        "wall_time": {phase: round(value, 3) for phase, value in wall_time.items()},
        "versions": _versions(scheme),
        "final": {stem: _last_row(table) for stem, table in tables.items()},
    }


def write_summary(summary: dict[str, Any], folder: Path) -> None:
    """Write ``summary.json``.

    Raises:
        OSError: If it cannot be written; then it is the former one.
    """
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    replace_file(folder / "summary.json", text.encode(), durable=False)


def _last_row(table: Table) -> dict[str, float | None]:
    last = {name: float(values[-1]) for name, values in table.columns.items()}
    return {name: value if math.isfinite(value) else None for name, value in last.items()}


def _versions(scheme: Scheme | None) -> dict[str, str]:
    """What the run used: what a density needs, only where there is one."""
    found = {name: metadata.version(name) for name in ("numpy", "scipy", "mpi4py", "ducc0", "POT")}
    return {
        "meanformer": meanformer.__version__,
        "python": platform.python_version(),
        **(scheme.versions if scheme is not None else {}),
        "mpi": LIBRARY,
        **found,
    }
