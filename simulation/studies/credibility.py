"""Which orders of convergence theory expects, and why one that was found is not to be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from meanformer.integrators import imex, ssp
from meanformer.integrators.explicit import RK4
from meanformer.simulation.case.case import Case
from meanformer.simulation.studies.quantities import L2, Quantity
from meanformer.simulation.studies.study import Expected, Row
from meanformer.simulation.studies.variants import spell

# Columns whose errors need not be a power of the size of the cells or of the number of tokens.
_NO_POWERS = {"mass", "resolution", "halvings", "outflow", "spread"} | {
    # Counts, and the mass of what is counted.
    *("clusters", "largest_cluster", "vertices", "at_vertices", "hyperplanes"),
    *("boolean_rows", "rank", "leaders"),
}
# An order this far above the largest expected is not believed, nor are neighbours this far apart.
_LARGEST_EXCESS = 1.0
_LARGEST_SPREAD = 1.0
# Nor is an order below this share of the least expected, or below this where nothing is expected.
_LEAST_SHARE, _LEAST = 0.5, 0.25

TOO_STEEP, TOO_FLAT, GROWS = "too steep", "too flat", "grows"
_FLOORS = {
    "pde.refinement": "the error of steps, box or reference, or round-off",
    "time.step": "the error of the mesh or of the reference, or round-off",
    "particles.number": "the error of the density or of the distance itself",
}


def expected_orders(key: str, quantity: Quantity, case: Case) -> Expected | None:
    """The orders of a study over ``key``, by any of its cases; None where theory says nothing."""
    if key == "particles.number" and quantity.table != "pde":
        if not _NO_POWERS.isdisjoint(quantity.columns):
            return None
        if case.particles is not None and case.particles.systems > 1:
            return None  # the error of means over systems is noise, or a bias
        return Expected(0.5, 0.5, "independent tokens")
    if key == "time.step" and quantity.table == "particles":
        if case.in_layers:
            return Expected(1, 1, "short layers tend to a flow")
        if case.particles is None or case.particles.integrator != "rk4":  # steps are as errors ask
            return None
        return Expected(RK4.order, RK4.order, "the time scheme of the tokens")
    if quantity.table != "pde" or case.pde is None:
        return None
    degree = case.pde.degree
    if key == "time.step":
        noise = case.noise.temperature > 0
        order = imex.BY_DEGREE[degree].order if noise else ssp.BY_DEGREE[degree].order
        return Expected(order, order, f"the time scheme that goes with degree {degree}")
    if key != "pde.refinement" or not _NO_POWERS.isdisjoint(quantity.columns):
        return None
    if quantity.name == L2:
        return Expected(degree + 1, degree + 1, "degree + 1")
    return Expected(degree + 1, 2 * degree + 1, "degree + 1 to 2 degree + 1")


def doubt_between(errors: tuple[float, float], order: float, expected: Expected | None) -> str:
    """Why the order between two runs is not to be believed, in a word; "" if it may be.

    Errors are that of the coarser run, then that of the finer one.
    """
    if np.isnan(order):
        return ""
    if errors[1] > errors[0]:
        return GROWS
    if expected is not None and order > expected.highest + _LARGEST_EXCESS:
        return TOO_STEEP
    return TOO_FLAT if order < _least(expected) else ""


def _least(expected: Expected | None) -> float:
    """The least order that may be believed."""
    return _LEAST if expected is None else _LEAST_SHARE * expected.lowest


def doubts(
    key: str, rows: Sequence[Row], fitted: float, expected: Expected | None
) -> tuple[str, ...]:
    """Why the order ``fitted`` to rows is not to be believed, in sentences; none if it may be."""
    used = [row for row in rows if row.error > 0]
    names, between = [spell(row.value) for row in used], [row.doubt for row in used[1:]]
    if used[0].size < used[-1].size:  # as given, from fine to coarse
        names, between = names[::-1], between[::-1]
    found = []
    if expected is not None and fitted > expected.highest + _LARGEST_EXCESS:
        most = f"{expected.highest + _LARGEST_EXCESS:g}"
        found.append(f"it is above {most}, one more than expected: the coarse runs are too coarse")
    still = 0
    while still < len(between) and between[-1 - still] in (TOO_FLAT, GROWS):
        still += 1
    if still:
        floor = _FLOORS.get(key, "an error that is not that of this key")
        start = f"from {key} = {names[-1 - still]} on errors fall at less than order"
        found.append(f"{start} {_least(expected):g}: what is left is {floor}")
    if GROWS in between[: len(between) - still]:
        first = between.index(GROWS)
        found.append(
            f"errors are not monotone: they grow from {names[first]} to {names[first + 1]}"
        )
    finite = [row.order for row in used[1:] if np.isfinite(row.order)]
    if not found and finite and max(finite) - min(finite) > _LARGEST_SPREAD:
        found.append(
            f"orders between neighbours, {min(finite):.2f} to {max(finite):.2f}, differ by more "
            f"than {_LARGEST_SPREAD:g}: errors do not follow one power yet"
        )
    return tuple(found)
