"""All that columns of tokens need of them at one sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Euclidean, Model, Space, Sphere
from meanformer.simulation.observers.columns import Measures, Observed, Row
from meanformer.solvers import Tokens
from meanformer.theory import Leading, SystemClusters, leading, relative_linkages, system_clusters

# Tokens of a cluster on spheres are linked by steps of this length along the chord.
_CHORD = 0.01


@dataclass(frozen=True, eq=False)
class Everyone:
    """All tokens of systems in the order of their numbers, ``shape=(systems, n, d)``."""

    points: Array
    space: Space

    @cached_property
    def clusters(self) -> SystemClusters:
        """Clusters of the tokens."""
        if isinstance(self.space, Sphere):
            return system_clusters(self.points, np.full(len(self.points), _CHORD))
        return system_clusters(self.points, relative_linkages(self.points, self.lengths))

    @property
    def lengths(self) -> Array:
        """The largest length of a token of each system, ``shape=(systems,)``."""
        return np.linalg.norm(self.points, axis=2).max(axis=1)


class ObservedTokens(Observed[Tokens]):
    """Tokens at a sample.

    Args:
        solver: The tokens, x or z.
        model: What x follows.
        rescaled: Whether they are z.
        prompt: How many fixed tokens act beside them, in each system.
    """

    def __init__(
        self, solver: Tokens, model: Model, rescaled: bool = False, prompt: int = 0
    ) -> None:
        super().__init__(solver, model)
        self._prompt = prompt
        self.has_energy = not (rescaled or prompt)
        self.systems = len(solver.systems.here) if solver.systems.count > 1 else None
        self._everyone: Everyone | None = None

    @cached_property
    def attention(self) -> Attention:
        """The attention that the model begins with: its law is that of all layers."""
        return self.model.during(0.0).at(0.0)

    @cached_property
    def leading(self) -> Leading | None:
        """The leading eigenvalue of V for section 4 of arXiv 2305.05465; None where it has none.

        The theorem is one of normalised laws in R^d with a V that is constant in time, of tokens
        that see all tokens, without a prompt and without a drift.
        """
        attention, space = self.attention, self.solver.space
        constant = attention.normalised and np.isinf(self.model.next_change(0.0))
        alone = not (attention.relative or attention.causal or self._prompt or attention.drift)
        if not (constant and alone and isinstance(space, Euclidean)):
            return None
        return leading(attention.value_in(space.dimension))

    @property
    def pairs(self) -> int:
        """Of tokens and what each may attend to, of all systems."""
        solver = self.solver
        return solver.systems.count * solver.number * (solver.number + self._prompt)

    @property
    def measures(self) -> Measures:
        """The measure of each system here."""
        solver, systems = self.solver, self.solver.systems
        parts = systems.apart(solver.points), systems.apart(solver.weights)
        return Measures(*parts, solver.space, systems.within)

    def of_everyone(self, names: Sequence[str], numbers: Callable[[Everyone], Row]) -> Row:
        """Numbers made of all tokens of each system here. Collective.

        Of several systems each rank makes its own; of one, rank 0 does for all.

        Args:
            names: Of the columns, for a rank without systems.
            numbers: Makes them.
        """
        comm, space, points = self.solver.comm, self.solver.space, self.measures.points
        if self.systems is not None:
            if self._everyone is None:
                self._everyone = Everyone(points, space)
            return numbers(self._everyone) if len(points) else dict.fromkeys(names, np.empty(0))
        if self._everyone is None:
            parts = comm.gather(points[0], root=0)
            together = np.concatenate(parts) if comm.rank == 0 else np.empty((0, 0))
            self._everyone = Everyone(together[None], space)
        row: Row = comm.bcast(numbers(self._everyone) if comm.rank == 0 else None, root=0)
        return row

    def forget(self) -> None:
        """Forget the tokens of a sample, and what was evaluated of them."""
        super().forget()
        self._everyone = None
