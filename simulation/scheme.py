"""What the scheme of a density offers a run beside the density itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from meanformer.arrays import Array
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.resume import Start
from meanformer.simulation.output.tables import Table
from meanformer.solvers import Density


class Scheme(Protocol):
    """A density by one scheme, and all that knows more of it than a ``Density`` says.

    A run asks it for observers, once each and after the solver has its start, and knows nothing
    of elements, meshes or DOLFINx. What observers may raise is said by ``Observer``.
    """

    @property
    def solver(self) -> Density:
        """The density; the run closes it."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that it needs beside those of tokens, by name."""

    def limits(self) -> list[Observer]:
        """What stops the run after a step, besides mass that is not kept; an empty list is fine."""

    def diagnostics(self, table: Table) -> Observer:
        """What fills ``pde.csv``, which may have rows of a former run."""

    def fields(self, folder: Path, formats: Collection[str], start: Start) -> Observer:
        """What writes its fields. Collective.

        Args:
            folder: Where files go.
            formats: "vtu", "vtx" or both.
            start: Where the run starts.
        """

    def resolution(self, table: Table) -> Observer:
        """What says from the rows of ``pde.csv`` whether samples are resolved. It comes last."""

    def l2_distance(self, density: Callable[[Array], Array]) -> float:
        """The L2 norm of the difference from a formula, dimensionless. Collective.

        Args:
            density: Maps points of the space, ``shape=(n, d)``, to values, ``shape=(n,)``.

        Returns:
            The norm over the mesh; what is beyond it does not count.
        """
