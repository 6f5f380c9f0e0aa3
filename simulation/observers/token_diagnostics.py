"""What ``particles.csv`` holds of the tokens at one time, besides what every measure has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Euclidean, Model, Space, Sphere
from meanformer.simulation.observers import diagnostics as d
from meanformer.simulation.observers.columns import (
    Diagnostics,
    Measures,
    Observed,
    Part,
    Row,
    empty,
)
from meanformer.simulation.observers.system_table import SystemTable
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.solvers import Tokens
from meanformer.systems import Systems
from meanformer.theory import (
    Hull,
    Leading,
    SystemClusters,
    boolean_rows,
    leading,
    numerical_rank,
    numerical_ranks,
    relative_linkages,
    system_clusters,
)
from meanformer.threads import blas_for

# Tokens of a cluster on spheres are linked by steps of this length along the chord.
_CHORD = 0.01
_LARGEST_DIMENSION_OF_HULLS = 3
_MOST_TOKENS_OF_MATRICES = 2000


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
        prompted: Whether a prompt acts beside them.
    """

    def __init__(
        self, solver: Tokens, model: Model, rescaled: bool = False, prompted: bool = False
    ) -> None:
        super().__init__(solver, model)
        self._prompted = prompted
        self.has_energy = not (rescaled or prompted)
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
        alone = not (attention.relative or attention.causal or self._prompted or attention.drift)
        if not (constant and alone and isinstance(space, Euclidean)):
            return None
        return leading(attention.value_in(space.dimension))

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


def spread(measures: Measures) -> Row:
    """The largest distance |x_i - mean| of a point from the mean of its measure. Collective."""
    points, comm = measures.points, measures.comm
    means = comm.allreduce((measures.weights[:, None] @ points)[:, 0])
    sizes = (np.linalg.norm(x, axis=2) for x in (points - means[:, None], points))
    distances, lengths = (
        comm.allreduce(size.max(axis=1, initial=0.0), op=MPI.MAX) for size in sizes
    )
    return {"spread": d.rounded(distances, lengths)}


def _clusters(observed: ObservedTokens, row: Row) -> Row:
    return observed.of_everyone(
        ("clusters", "largest_cluster"),
        lambda tokens: {
            "clusters": tokens.clusters.numbers,
            "largest_cluster": tokens.clusters.largest,
        },
    )


def _vertices(observed: ObservedTokens, row: Row) -> Row:
    """Section 3 of arXiv 2305.05465."""
    space = observed.solver.space
    if not isinstance(space, Euclidean) or space.dimension > _LARGEST_DIMENSION_OF_HULLS:
        return {}

    def numbers(tokens: Everyone) -> Row:
        found = tokens.clusters
        count, there = found.numbers, np.full(found.systems, float(tokens.points.shape[1]))
        order = np.argsort(found.owners, kind="stable")
        owned = np.split(order, np.cumsum(found.numbers.astype(int))[:-1])
        for system in np.flatnonzero(count > 2):  # one or two are vertices
            vertices = Hull(found.centres[owned[system]]).vertices
            count[system] = len(vertices)
            there[system] = found.counts[owned[system]][vertices].sum()
        return {"vertices": count, "at_vertices": there}

    return observed.of_everyone(("vertices", "at_vertices"), numbers)


def _hyperplanes(observed: ObservedTokens, row: Row) -> Row:
    """Section 4 of arXiv 2305.05465."""
    found = observed.leading
    if found is None or observed.solver.space.dimension < 2:
        return {}

    def numbers(tokens: Everyone) -> Row:
        coordinates = (tokens.points @ found.left)[..., None]
        lengths = tokens.lengths * float(np.linalg.norm(found.left))
        linkages = relative_linkages(coordinates, lengths)
        return {"hyperplanes": system_clusters(coordinates, linkages).numbers}

    return observed.of_everyone(("hyperplanes",), numbers)


def _matrix(observed: ObservedTokens, row: Row) -> Row:
    """Section 2 of arXiv 2305.05465."""
    solver, systems = observed.solver, observed.solver.systems
    pairs = systems.count * solver.number**2
    if not observed.attention.normalised or pairs > _MOST_TOKENS_OF_MATRICES**2:
        return {}
    matrix = solver.attention_matrix()
    boolean = systems.apart(boolean_rows(matrix)).sum(axis=1, dtype=float)
    rows = systems.within.allreduce(boolean)
    if systems.count > 1:
        apart = matrix.reshape(len(matrix), len(systems.here), solver.number, matrix.shape[-1])
        return {"boolean_rows": rows, "rank": numerical_ranks(apart)}
    parts = solver.comm.gather(matrix, root=0)
    rank = numerical_rank(np.concatenate(parts, axis=1)) if solver.comm.rank == 0 else None
    return {"boolean_rows": rows, "rank": solver.comm.bcast(rank, root=0)}


def _leaders(observed: ObservedTokens, row: Row) -> Row:
    if observed.attention.law != "hardmax":
        return {}
    systems = observed.solver.systems
    leaders = systems.apart(observed.solver.leaders()).sum(axis=1, dtype=float)
    return {"leaders": systems.within.allreduce(leaders)}


#: The columns of ``particles.csv``; point masses have no density or entropy.
OF_TOKENS: tuple[Part[ObservedTokens], ...] = (
    d.TIME,
    d.MASS,
    Part(d.RANGE, empty("min", "max")),
    d.ENERGY,
    Part(d.ENTROPY, empty("entropy")),
    d.MOMENTS,
    d.HARMONIC,
    Part(
        {
            "spread": r"$\max_i\lvert x_i-m\rvert$, the largest distance (on spheres along the "
            "chord) of a token from the mean m of all: no two are farther apart than twice that, "
            "and it tends to zero where they meet in one cluster"
        },
        lambda observed, row: spread(observed.measures),
    ),
    Part(
        {
            "clusters": "how many clusters there are: tokens are in one where steps from token to "
            "token lead from one to the other that are no longer than 0.01 (on spheres, along the "
            "chord), or in $R^d$ than 1 % of `spread`. Tokens whose `spread` is below $10^{-11}$ "
            "of their largest length are in one place",
            "largest_cluster": "the mass of the largest",
        },
        _clusters,
    ),
    Part(
        {
            "vertices": "in $R^1$ to $R^3$: how many vertices the convex hull of the clusters' "
            "centres has",
            "at_vertices": "in $R^1$ to $R^3$: how many tokens are in the clusters at vertices. "
            "Where $V=I$ and $Q^TK>0$, nearly all z end there or in few other places of the "
            "boundary ([arXiv 2305.05465](https://arxiv.org/abs/2305.05465), section 3)",
        },
        _vertices,
    ),
    Part(
        {
            "hyperplanes": "in $R^d$, d > 1, without a drift, a mask or a prompt, for a normalised "
            "law whose V does not change and has a simple eigenvalue $\\lambda>0$ larger in "
            r"modulus than all others: how many values $\langle\psi,x_i\rangle$ has, with "
            r"$\psi V=\lambda\psi$; of values, steps within 1 % of their largest distance from the "
            "mean make one. In the end "
            "there are at most three, "
            r"if $\langle Q\varphi,K\varphi\rangle>0$ for $V\varphi=\lambda\varphi$ (section 4)"
        },
        _hyperplanes,
    ),
    Part(
        {
            "boolean_rows": "for a normalised law and up to 2000 tokens (of several systems, up to "
            r"$4\cdot10^6$ pairs in all): how many rows of the "
            "attention matrix P of x are within $10^{-6}$ of a unit vector in the maximum norm, in "
            "every head. In $R^1$ with V, QK > 0, all or all but one in the end (section 2)",
            "rank": "for the same: how many singular values of P are above $10^{-6}$ of the "
            "largest; of several heads, the largest number",
        },
        _matrix,
    ),
    Part(
        {
            "leaders": "for hardmax: how many tokens attend to themselves alone, in every head "
            "([arXiv 2407.01602](https://arxiv.org/abs/2407.01602)); a duplicate of a token is one "
            "more to attend to"
        },
        _leaders,
    ),
)


class TokenDiagnostics(Diagnostics):
    """Fill ``particles.csv``, and ``systems.csv`` where there are several systems.

    Args:
        table: Of ``particles.csv``.
        observed: The tokens.
        systems: Of ``systems.csv``.
        end: The final time, at which that is written before a checkpoint is.
    """

    parts = OF_TOKENS

    def __init__(
        self,
        table: Table,
        observed: ObservedTokens,
        systems: SystemTable | None = None,
        end: float = np.inf,
    ) -> None:
        super().__init__(table, observed)
        self._systems, self._end = systems, end

    def sample(self, state: State) -> None:
        """Add a row."""
        systems: Systems = self._observed.solver.systems
        number, dimension = systems.number, self._observed.solver.space.dimension
        with blas_for(len(systems.here) * number**2 * max(number, dimension)):
            super().sample(state)
        if self._systems is not None and state.time >= self._end:
            self._systems.write()

    def interrupted(self, state: State) -> None:
        """Write what each system was at the last sample."""
        self.close()

    def close(self) -> None:
        """Write what each system was at the last sample."""
        if self._systems is not None:
            self._systems.write()

    def _of_all(self, row: Row) -> dict[str, float]:
        if self._systems is None:
            return super()._of_all(row)
        return self._systems.take(row)
