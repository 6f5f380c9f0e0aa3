"""A convergence study: a case at several values of one key, and the order of its errors."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.measures import Measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.output.folder import on_root
from meanformer.simulation.requirements import check_dolfinx
from meanformer.simulation.runner import run
from meanformer.simulation.studies.credibility import doubt_between, doubts, expected_orders
from meanformer.simulation.studies.exact_values import exact_columns, exact_end
from meanformer.simulation.studies.orders import fit_order, order_between
from meanformer.simulation.studies.quantities import (
    L2,
    MOMENTS,
    Quantity,
    columns_of,
    find_quantity,
)
from meanformer.simulation.studies.study import Expected, Row, Study
from meanformer.simulation.studies.variants import is_number, spell, variants_of

_STEP = "time.step"
_MEANINGS = {
    "pde.refinement": "2^-pde.refinement",
    _STEP: "the mean time step",
    "particles.number": "1/particles.number",
}
# Numbers in whose powers errors do not fall.
_NO_SIZES = ("pde.degree", "particles.seed", "attention.random_values.seed", "space.dimension")


@dataclass(frozen=True)
class _Run:
    """A run to make, or what is kept of one."""

    value: Any
    case: Case
    exact: Measure | None
    status: str = ""
    reason: str = ""
    seconds: float = np.nan
    steps: int = 0
    numbers: Array | None = None


def converge(
    case: Case | str | Path,
    key: str,
    values: Sequence[object],
    quantity: str | None = None,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    *,
    overrides: Iterable[str] = (),
    progress: bool = False,
) -> Study:
    """Run a case at several values of one key, and fit the order of its errors. Collective.

    The error is that at the end of a run, against the exact solution where there is one, or else
    against the finest run, whose own error the fit allows for (``orders.fit_order``). A distance
    in ``compare.csv`` is an error itself. A run that stops itself, or whose mesh does not resolve
    the start, is a row without an error, and the study goes on. Nothing is written. Only the
    solver that the quantity needs is run, and samples are taken at the start and the end only,
    unless they are what is varied: they would shorten steps.

    Args:
        case: A case, or its file.
        key: Any key of a case, as for ``--set``: "pde.refinement", "time.step", ...
        values: At least two; a string is read as TOML, as for ``--set``.
        quantity: "l2", the L2 norm of the density's error; "moments", the Euclidean norm of that
            of mean and covariance; or a column, "pde.energy" or "energy". By default "l2" where
            the density's exact solution is known, else "moments", and for "time.step", where the
            error of the mesh would hide that of the steps.
        comm: The ranks that share every run.
        overrides: Changes to the case, ``table.key=value``.
        progress: Show progress on rank 0's terminal.

    Raises:
        CaseError: On every rank, before the first run, if the case, the key, a value or the
            quantity is wrong, or a case has a density and DOLFINx is missing; or if no mesh
            resolves the start.
    """
    variants = comm.bcast(on_root(comm, lambda: variants_of(case, key, values, tuple(overrides))))
    for _, one in variants:
        check_dolfinx(one, comm)
    runs = [_Run(value, one, exact_end(one)) for value, one in _coarse_to_fine(key, variants)]
    cases = [one.case for one in runs]
    has_l2 = all(one.exact is not None and one.case.pde is not None for one in runs)
    wanted = quantity or (L2 if has_l2 and key != _STEP else MOMENTS)
    chosen = find_quantity(wanted, has_l2, lambda: columns_of(cases, comm))
    for place, one in enumerate(runs):
        runs[place] = _make(one, key, chosen, comm, progress)
        if comm.size > 1:
            gc.collect()  # on all ranks together: meshes have communicators of their own
    if all(one.status == "refused" for one in runs):
        raise CaseError([runs[0].reason])
    if key == _STEP:  # "auto" among them
        runs.sort(key=lambda one: one.steps / one.case.time.end)
    return _study(cases[0].title, key, chosen, runs)


def _coarse_to_fine(key: str, variants: list[tuple[Any, Case]]) -> list[tuple[Any, Case]]:
    """In the order of the runs; as given where the key does not say which is finer."""
    if key not in _MEANINGS:
        return variants
    sign = -1 if key == _STEP else 1
    return sorted(variants, key=lambda one: sign * one[0] if is_number(one[0]) else -np.inf)


def _make(planned: _Run, key: str, quantity: Quantity, comm: MPI.Intracomm, progress: bool) -> _Run:
    """Make a run, and keep what the study needs of its end. Collective."""
    changes: dict[str, Any] = {"title": f"{key} = {spell(planned.value)}"}
    if quantity.table != "compare":  # solvers do not see each other: one is enough
        other = "pde" if quantity.table == "particles" else "particles"
        changes |= {other: None, "compare": None}
    time = planned.case.time
    if key != "time.sample_every":
        changes["time"] = time.model_copy(update={"sample_every": time.end})
    try:
        result = run(planned.case.model_copy(update=changes), comm=comm, progress=progress)
    except CaseError as error:  # the mesh does not resolve the start
        return replace(planned, status="refused", reason="; ".join(error.problems))
    summary = result.summary
    return replace(
        planned,
        status=result.status,
        reason=summary["reason"] or "",
        seconds=summary["wall_time"]["total"],
        steps=summary["steps"]["tokens" if quantity.table == "particles" else "density"],
        numbers=quantity.of(result, planned.exact) if result.status == "done" else None,
    )


def _study(title: str, key: str, quantity: Quantity, runs: list[_Run]) -> Study:
    """Errors and their order, from what is kept of all runs."""
    # Steps alone do not lead to the exact solution: the mesh and the sample stay.
    right = [_right_numbers(quantity, None if key == _STEP else one.exact) for one in runs]
    reference, finest = "zero" if quantity.table == "compare" else "exact solution", None
    if any(numbers is None for numbers in right):
        reference = "finest run" if key in _MEANINGS else "last run"
        finest = max((i for i, one in enumerate(runs) if one.status == "done"), default=None)
        right = [None if finest is None else runs[finest].numbers] * len(runs)
    errors = [_error(one, numbers) for one, numbers in zip(runs, right, strict=True)]
    symbol, sizes = _sizes(key, runs, finest)
    smallest = 0.0
    if finest is not None:
        errors[finest] = np.nan
        smallest = sizes[finest]
    # The first n tokens are the same in every run.
    power = 2 if key == "particles.number" and finest is not None else 1
    expected = expected_orders(key, quantity, runs[0].case)
    rows = [
        Row(one.value, size, error, np.nan, one.seconds, one.status, one.reason)
        for one, size, error in zip(runs, sizes, errors, strict=True)
    ]
    rows = list(_with_orders(rows, smallest, power, expected))
    fit = fit_order(sizes, errors, smallest, power)
    return Study(
        title=title,
        key=key,
        quantity=quantity.name,
        reference=reference,
        finest=None if finest is None else runs[finest].value,
        symbol=symbol,
        meaning=_MEANINGS.get(key, symbol.replace(_last(key), key)),
        rows=tuple(rows),
        fit=fit,
        expected=expected,
        doubts=() if fit is None else doubts(key, rows, fit.order, expected),
    )


def _right_numbers(quantity: Quantity, exact: Measure | None) -> Array | None:
    """What the numbers of a quantity should be, if that is known."""
    if quantity.is_error:
        return np.zeros(1)
    known = {} if exact is None else exact_columns(exact)
    if not set(quantity.columns) <= set(known):
        return None
    return np.array([known[name] for name in quantity.columns])


def _error(made: _Run, right: Array | None) -> float:
    if made.numbers is None or right is None:
        return np.nan
    return float(np.linalg.norm(made.numbers - right))


def _with_orders(
    rows: list[Row], smallest: float, power: int, expected: Expected | None
) -> Iterator[Row]:
    """The rows with the orders between neighbours that have errors."""
    before: Row | None = None
    for row in rows:
        if before is not None:
            sizes, errors = (before.size, row.size), (before.error, row.error)
            order = order_between(sizes, errors, smallest, power)
            coarse_to_fine = errors if sizes[0] > sizes[1] else errors[::-1]
            row = replace(row, order=order, doubt=doubt_between(coarse_to_fine, order, expected))
        if row.error > 0:
            before = row
        yield row


def _sizes(key: str, runs: list[_Run], finest: int | None) -> tuple[str, list[float]]:
    """What the order is in, and that of every run, nan where there is none."""
    values = [one.value for one in runs]
    if key == _STEP:  # what a run makes of it, and of "auto"
        return "dt", [one.case.time.end / one.steps if one.steps else np.nan for one in runs]
    if key in _NO_SIZES or not all(is_number(value) and value >= 0 for value in values):
        return "", [np.nan] * len(runs)
    if key == "pde.refinement":
        return "h", [2.0**-value for value in values]
    if key == "particles.number":
        return "1/n", [1 / value for value in values]
    # Nobody has said which is finer: the last one that was done, and errors fall towards it.
    done = [one.value for one in runs if one.status == "done"]
    if finest is None or values[finest] == min(done):
        return _last(key), [float(value) for value in values]
    if values[finest] == max(done):
        return f"1/{_last(key)}", [1 / value if value else np.inf for value in values]
    return "", [np.nan] * len(runs)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
