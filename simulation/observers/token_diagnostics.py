"""What ``particles.csv`` holds of the tokens at one time, besides what every measure has."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.attention import Euclidean
from meanformer.simulation.observers import diagnostics as d
from meanformer.simulation.observers.columns import (
    Diagnostics,
    Measures,
    Part,
    Row,
    empty,
)
from meanformer.simulation.observers.observed_tokens import Everyone, ObservedTokens
from meanformer.simulation.observers.system_table import SystemTable
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.systems import Systems
from meanformer.theory import (
    Hull,
    boolean_rows,
    numerical_rank,
    numerical_ranks,
    relative_linkages,
    system_clusters,
)
from meanformer.threads import blas_for

_LARGEST_DIMENSION_OF_HULLS = 3
_MOST_TOKENS_OF_MATRICES = 2000


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
    if not observed.attention.normalised or observed.pairs > _MOST_TOKENS_OF_MATRICES**2:
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
            "boolean_rows": "for a normalised law and up to 2000 tokens (of several systems, or "
            r"with a prompt, up to $4\cdot10^6$ pairs in all): how many rows of the "
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
