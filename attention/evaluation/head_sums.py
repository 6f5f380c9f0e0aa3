"""The sums of one head at fixed targets, for one set of weights after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array, Indices
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.causal.past import Past
from meanformer.attention.backends.causal.sums import over_past
from meanformer.attention.backends.direct.pairs import direct_cost
from meanformer.attention.backends.direct.systems import apart
from meanformer.attention.backends.plan import Choice, Plan, choose
from meanformer.attention.backends.problem import Problem
from meanformer.attention.heads import Head
from meanformer.attention.laws import Law
from meanformer.attention.matrices import multiple_of_identity
from meanformer.attention.spaces import Space
from meanformer.serial import COMM_SELF

# Systems whose pairs take more seconds are summed apart: that costs as much each.
_SMALL = 2e-4


class SumsOfHead(Protocol):
    """Z and int y k mu(dy) of one head.

    Attributes:
        plan: Which backend serves.
    """

    plan: Plan

    @property
    def iterations(self) -> int:
        """Sinkhorn's iterations in the last call; 0 for other laws."""

    @property
    def potential(self) -> Array | None:
        """Sinkhorn's g at this rank's points after a call, ``shape=(n,)``; None for other laws."""

    def start_from(self, potential: Array | None) -> None:
        """Start Sinkhorn's iteration from a potential."""

    def __call__(self, weights: Array) -> Sums:
        """Evaluate for this rank's weights, ``shape=(n,)``. Collective."""

    def matrix(self, weights: Array) -> Array:
        """See ``Evaluator.matrix``; this head's, ``shape=(m, n)``."""


class HeadSums:
    """``SumsOfHead`` with the law's factors of points and targets.

    Arguments are those of ``Attention.prepare``, known to fit, and what targets of causal attention
    see. Collective; with ``systems`` the communicator is that of this rank alone.
    """

    def __init__(
        self,
        law: Law,
        head: Head,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float,
        comm: MPI.Comm,
        choice: Choice,
        systems: int | None,
        past: Past | None,
    ) -> None:
        query, key, value = head.matrices
        self._law, self._past = law, past
        self._problem = problem = Problem(
            kernel=law.kernel,
            targets=targets,
            points=points,
            query=law.scale * query,
            key=key,
            space=space,
            # The tangent space knows nothing of the part along x, unless V turns it.
            tangential=space.projects and multiple_of_identity(value) is not None,
            tolerance=tolerance * law.share_of_tolerance,
            comm=comm,
            log_factors=law.log_factors(points, key),
            systems=systems,
        )
        self._shift = law.log_shift(targets, query)
        chosen = choose(problem, choice) if past is None else over_past(problem, past, choice)
        self.plan, self._backend = chosen
        self._factors = law.point_factors(problem, self._backend, choice)

    @property
    def iterations(self) -> int:
        """See ``SumsOfHead``."""
        return self._factors.iterations

    @property
    def potential(self) -> Array | None:
        """See ``SumsOfHead``."""
        return self._factors.potential

    def start_from(self, potential: Array | None) -> None:
        """See ``SumsOfHead``."""
        self._factors.potential = potential

    def __call__(self, weights: Array) -> Sums:
        """See ``SumsOfHead``."""
        sums = self._backend.sums(weights, self._factors(weights))
        return sums._replace(log_scale=sums.log_scale + self._shift)

    def matrix(self, weights: Array) -> Array:
        """See ``SumsOfHead``."""
        problem, factors = self._problem, self._factors(weights)
        factors = np.zeros(len(weights)) if factors is None else factors
        block = np.column_stack([problem.keys, weights, factors])
        if problem.systems is None:
            return self._matrix(problem.queries, np.concatenate(problem.comm.allgather(block)))
        if problem.systems == 0:
            return np.empty((0, 0))
        systems = zip(*(apart(a, problem.systems) for a in (problem.queries, block)), strict=True)
        return np.vstack([self._matrix(*system) for system in systems])

    def _matrix(self, queries: Array, block: Array) -> Array:
        """The matrix of some queries, and of a block of keys, weights and factors."""
        there = block[:, -2] != 0
        keys, weights, factors = block[there, :-2], block[there, -2], block[there, -1]
        before = np.append(0, np.cumsum(there))
        kernel, log_scale = self._kernel(queries, keys, factors, before)
        matrix = np.zeros((len(kernel), len(block)))
        matrix[:, there] = weights * kernel
        if self._law.normalised:
            totals = matrix.sum(axis=1, keepdims=True)
            return np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals != 0)
        return matrix * np.exp(log_scale)[:, None]

    def _kernel(
        self, queries: Array, keys: Array, factors: Array, before: Indices
    ) -> tuple[Array, Array]:
        """What ``Kernel.dense`` gives, but 0 where a target does not see the point.

        Of the first i points, ``before[i]`` have keys, since they weigh something.
        """
        dense = self._problem.kernel.dense
        if self._past is None:
            return dense(queries, keys, factors)
        kernel, log_scale = np.zeros((len(queries), len(keys))), np.zeros(len(queries))
        for i, count in enumerate(before[self._past.seen]):
            if count:
                row = dense(queries[i : i + 1], keys[:count], factors[:count])
                (kernel[i, :count],), (log_scale[i],) = row
        return kernel, log_scale


class SeparateSums:
    """``SumsOfHead`` of several systems one after another: of large ones, or of Sinkhorn's law.

    Args:
        parts: Those of each system, in the order of rows; at least one.
    """

    def __init__(self, parts: Sequence[HeadSums]) -> None:
        self._parts, self.plan = parts, parts[0].plan

    @property
    def iterations(self) -> int:
        """See ``SumsOfHead``."""
        return sum(part.iterations for part in self._parts)

    @property
    def potential(self) -> Array | None:
        """See ``SumsOfHead``."""
        potentials = [part.potential for part in self._parts]
        there = [potential for potential in potentials if potential is not None]
        return np.concatenate(there) if there else None

    def start_from(self, potential: Array | None) -> None:
        """See ``SumsOfHead``."""
        shares = [None] * len(self._parts) if potential is None else self._apart(potential)
        for part, share in zip(self._parts, shares, strict=True):
            part.start_from(share)

    def __call__(self, weights: Array) -> Sums:
        """See ``SumsOfHead``."""
        shares = zip(self._parts, self._apart(weights), strict=True)
        sums = zip(*(part(share) for part, share in shares), strict=True)
        return Sums(*(np.concatenate(each) for each in sums))

    def matrix(self, weights: Array) -> Array:
        """See ``SumsOfHead``."""
        shares = zip(self._parts, self._apart(weights), strict=True)
        return np.vstack([part.matrix(share) for part, share in shares])

    def _apart(self, rows: Array) -> Array:
        return apart(rows, len(self._parts))


def sums_of_head(
    law: Law,
    head: Head,
    targets: Array,
    points: Array,
    space: Space,
    tolerance: float,
    comm: MPI.Comm,
    choice: Choice,
    systems: int | None,
    past: Past | None,
) -> SumsOfHead:
    """The sums of one head, of systems in one call where they are small. Collective.

    Arguments are those of ``Attention.prepare``, known to fit, and what targets of causal attention
    see.
    """
    comm = comm if systems is None else COMM_SELF

    def of(targets: Array, points: Array, systems: int | None, past: Past | None) -> HeadSums:
        return HeadSums(law, head, targets, points, space, tolerance, comm, choice, systems, past)

    if systems is None:
        return of(targets, points, systems, past)
    pairs = len(targets) * len(points) / max(systems, 1) ** 2
    small = direct_cost(1, 1, space.dimension) * pairs < _SMALL
    if systems == 0 or (small and choice in ("auto", "direct") and not law.weighs_points):
        return of(targets, points, systems, past)
    rows = zip(apart(targets, systems), apart(points, systems), strict=True)
    return SeparateSums([of(*own, None, past and Past(past.mask, *own, comm)) for own in rows])
