"""What ``particles.csv`` holds of the tokens at one time, besides what every measure has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Euclidean, Model, Space, Sphere
from meanformer.simulation.observers import diagnostics as d
from meanformer.simulation.observers.columns import Diagnostics, Observed, Part, Row, alone, empty
from meanformer.simulation.state import State
from meanformer.solvers import Tokens, WeightedPoints
from meanformer.theory import (
    Clusters,
    Hull,
    Leading,
    boolean_rows,
    clusters,
    leading,
    numerical_rank,
    relative_linkage,
)
from meanformer.threads import blas_for

# Tokens of a cluster on spheres are linked by steps of this length along the chord.
_CHORD = 0.01
_LARGEST_DIMENSION_OF_HULLS = 3
_MOST_TOKENS_OF_MATRICES = 2000


@dataclass(frozen=True, eq=False)
class Everyone:
    """All tokens in the order of their numbers, ``shape=(n, d)``, at a sample; on rank 0."""

    points: Array
    space: Space

    @cached_property
    def clusters(self) -> Clusters:
        """Clusters of the tokens."""
        if isinstance(self.space, Sphere):
            return clusters(self.points, _CHORD)
        return clusters(self.points, relative_linkage(self.points, self.length))

    @property
    def length(self) -> float:
        """The largest length of a token."""
        return float(np.linalg.norm(self.points, axis=1).max())


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

    def on_root(self, numbers: Callable[[Everyone], Row]) -> Row:
        """Numbers that rank 0 makes of all tokens, on every rank. Collective."""
        comm = self.solver.comm
        if self._everyone is None:
            parts = comm.gather(self.solver.points, root=0)
            points = np.concatenate(parts) if comm.rank == 0 else np.empty((0, 0))
            self._everyone = Everyone(points, self.solver.space)
        row: Row = comm.bcast(numbers(self._everyone) if comm.rank == 0 else None, root=0)
        return row

    def forget(self) -> None:
        """Forget the tokens of a sample, and what was evaluated of them."""
        super().forget()
        self._everyone = None


def spread(solver: WeightedPoints) -> Row:
    """The largest distance |x_i - mean| of a point from the mean of its measure. Collective."""
    points, comm = solver.points, solver.comm
    mean = comm.allreduce(solver.weights @ points)
    sizes = [np.linalg.norm(x, axis=1).max(initial=0.0) for x in (points - mean, points)]
    distance, length = (comm.allreduce(size, op=MPI.MAX) for size in sizes)
    return {"spread": d.rounded(distance, length)}


def _clusters(observed: ObservedTokens, row: Row) -> Row:
    return observed.on_root(
        lambda tokens: {
            "clusters": tokens.clusters.number,
            "largest_cluster": tokens.clusters.largest,
        }
    )


def _vertices(observed: ObservedTokens, row: Row) -> Row:
    """Section 3 of arXiv 2305.05465."""
    space = observed.solver.space
    if not isinstance(space, Euclidean) or space.dimension > _LARGEST_DIMENSION_OF_HULLS:
        return {}

    def numbers(tokens: Everyone) -> Row:
        vertices = Hull(tokens.clusters.centres).vertices
        there = tokens.clusters.counts[vertices].sum()
        return {"vertices": len(vertices), "at_vertices": float(there)}

    return observed.on_root(numbers)


def _hyperplanes(observed: ObservedTokens, row: Row) -> Row:
    """Section 4 of arXiv 2305.05465."""
    found = observed.leading
    if found is None or observed.solver.space.dimension < 2:
        return {}

    def numbers(tokens: Everyone) -> Row:
        coordinates = (tokens.points @ found.left)[:, None]
        length = tokens.length * float(np.linalg.norm(found.left))
        return {"hyperplanes": clusters(coordinates, relative_linkage(coordinates, length)).number}

    return observed.on_root(numbers)


def _matrix(observed: ObservedTokens, row: Row) -> Row:
    """Section 2 of arXiv 2305.05465."""
    solver, comm = observed.solver, observed.solver.comm
    if not observed.attention.normalised or solver.number > _MOST_TOKENS_OF_MATRICES:
        return {}
    matrix = solver.attention_matrix()
    rows = comm.allreduce(int(boolean_rows(matrix).sum()))
    parts = comm.gather(matrix, root=0)
    rank = numerical_rank(np.concatenate(parts, axis=1)) if comm.rank == 0 else None
    return {"boolean_rows": rows, "rank": comm.bcast(rank, root=0)}


def _leaders(observed: ObservedTokens, row: Row) -> Row:
    if observed.attention.law != "hardmax":
        return {}
    solver = observed.solver
    return {"leaders": solver.comm.allreduce(int(solver.leaders().sum()))}


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
        alone(spread),
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
            "boolean_rows": "for a normalised law and up to 2000 tokens: how many rows of the "
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
    """Fill ``particles.csv``."""

    parts = OF_TOKENS

    def sample(self, state: State) -> None:
        """Add a row."""
        tokens = self._observed.solver
        number, dimension = tokens.number, tokens.space.dimension
        with blas_for(number**2 * max(number, dimension)):
            super().sample(state)
