"""Check whether the mesh resolves the density, and say which mesh would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meanformer.pde.dg.resolution import LARGEST_SHARE
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.tables import most_refined
from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.simulation.warn import warn

# Where more of the mass is in cells that do not resolve it, jumps are those of the mesh, and no
# longer shrink with the cells as those of the density do.
_SHAPE_IS_SEEN = 0.5


@dataclass(frozen=True)
class Need:
    """How much finer the mesh would have to be at all samples so far.

    Attributes:
        halvings: Of all cells.
        seen: Time until which the density's shape is known, and its size extrapolated from there;
            None where all is known.
        at_least: Whether more may be needed.
    """

    halvings: int
    seen: float | None = None
    at_least: bool = False


def find_need(
    columns: Mapping[str, npt.ArrayLike], shrinks: int | None = None, allowed: float = LARGEST_SHARE
) -> Need:
    """Find how often the cells must be halved for the mesh to resolve the density.

    Jumps tell while most of the mass is resolved. Later they do not; but clusters on a sphere that
    have formed shrink exponentially, so what they lacked at the last sample that told is
    extrapolated from there, at the rate at which the largest density grew then.

    Args:
        columns: "t", "resolution", "halvings" and "max" of ``pde.csv``, with a share above
            ``allowed`` somewhere.
        shrinks: Dimension of clusters that shrink exponentially; None if they need not.
        allowed: Share of the mass that may stay unresolved.
    """
    names = ("t", "resolution", "halvings", "max")
    times, shares, halvings, largest = (np.asarray(columns[name], dtype=float) for name in names)
    # A run that goes on from an older version lacks some, and one is the least there is.
    halvings = np.where((shares > allowed) & ~(halvings >= 1), 1, np.nan_to_num(halvings))
    most = int(halvings.max())
    unseen = np.flatnonzero(shares > _SHAPE_IS_SEEN)
    if not len(unseen):
        return Need(most, at_least=allowed < LARGEST_SHARE)
    last = unseen[0] - 1
    if shrinks is None or last < 1 or largest[last] <= largest[last - 1]:
        return Need(most, at_least=True)
    rate = np.log2(largest[last] / largest[last - 1]) / shrinks / (times[last] - times[last - 1])
    lacks = halvings[last] + rate * (times[unseen[-1]] - times[last])
    return Need(max(most, int(np.ceil(lacks))), float(times[last]))


class ResolutionGuard(Observer):
    """At every sample: the mesh resolves the density. Comes after what fills ``pde.csv``.

    Where more than ``LARGEST_SHARE`` is not resolved, it warns once, on rank 0's standard error,
    and again at the end. With ``pde.largest_unresolved`` it stops the run instead.

    Args:
        table: That of the density.
        case: What runs, with a density.
    """

    def __init__(self, table: Table, case: Case) -> None:
        assert case.pde is not None
        self._table, self._case, self._pde, self._warned = table, case, case.pde, False

    def sample(self, state: State) -> None:
        """Warn, or stop the run, if the last row says that too much is not resolved."""
        share, largest = float(self._table.columns["resolution"][-1]), self._pde.largest_unresolved
        line = f"density: the mesh does not resolve {share:.0%} of the mass at t = {state.time:g}"
        if largest is not None and share > largest:
            allowed = f"more than pde.largest_unresolved = {largest:g}"
            raise RunStopped(f"{line}, {allowed}; {self._cure(min(largest, LARGEST_SHARE))}")
        if largest is None and share > LARGEST_SHARE and not self._warned:
            self._warned = True
            if state.comm.rank == 0:
                warn(self._case.title, f"{line}; see the column 'resolution'")

    def warnings(self) -> list[str]:
        """How much was not resolved and when, and which mesh would do."""
        columns = self._table.columns
        if self._pde.largest_unresolved is not None or "halvings" not in columns:
            return []  # no sample yet, or none since an older version
        times, shares = columns["t"], np.nan_to_num(columns["resolution"])
        above = np.flatnonzero(shares > LARGEST_SHARE)
        if not len(above):
            return []
        worst = shares.argmax()
        line = (
            f"density: the mesh does not resolve {shares[worst]:.0%} of the mass at "
            f"t = {times[worst]:g}, first above {LARGEST_SHARE:.0%} at t = {times[above[0]]:g}"
        )
        if worst < len(shares) - 1:
            line += f", {shares[-1]:.0%} at the end"
        return [f"{line}; {self._cure()}"]

    def _cure(self, allowed: float = LARGEST_SHARE) -> str:
        """Which mesh would resolve the density at all samples so far, in words."""
        space = self._case.space
        # In R^d and with noise their size may tend to one that is not zero.
        shrinks = space.kind == "sphere" and self._case.noise.temperature == 0
        need = find_need(self._table.columns, space.dimension - 1 if shrinks else None, allowed)
        mesh = self._mesh(need.halvings)
        if need.at_least and allowed < LARGEST_SHARE:
            return f"it takes {mesh} or more"
        if need.at_least:
            cure = f"it takes {mesh} or more: jumps do not tell how narrow it is inside a cell"
        elif need.seen is None:
            return f"{mesh} should resolve it"
        else:
            cure = f"about {mesh} should, as fast as it sharpens at t = {need.seen:g}"
        outrun = "; clusters that shrink exponentially outrun any fixed mesh"
        return cure + outrun if shrinks else cure

    def _mesh(self, halvings: int) -> str:
        """The mesh whose cells are halved so often, in words."""
        if self._pde.refinement is None:
            return f"a mesh of cells {2**halvings} times smaller"
        refinement, most = self._pde.refinement + halvings, most_refined(self._case.space)
        if refinement <= most:
            return f"pde.refinement = {refinement}"
        beyond = f"more than {most}, the most there is"
        if self._pde.half_width is not None:
            half_width = self._pde.half_width / 2 ** (refinement - most)
            beyond += f"; or {most} and pde.half_width = {half_width:g}, if that holds the mass"
        return f"pde.refinement = {refinement} ({beyond})"
