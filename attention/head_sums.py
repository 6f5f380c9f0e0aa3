"""The sums of one head at fixed targets, for one set of weights after another."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.plan import Choice, choose
from meanformer.attention.backends.problem import Problem
from meanformer.attention.heads import Head
from meanformer.attention.laws import Law
from meanformer.attention.matrices import multiple_of_identity
from meanformer.attention.spaces import Space, Sphere


class HeadSums:
    """Z and int y k mu(dy) of one head, with the law's factors of points and targets.

    Arguments are those of ``Attention.prepare``, known to fit. Collective.

    Attributes:
        value: V.
        plan: Which backend serves.
        factors: The law's, of the points.
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
    ) -> None:
        query, key, self.value = head.matrices
        self._law = law
        self._problem = problem = Problem(
            kernel=law.kernel,
            targets=targets,
            points=points,
            query=law.scale * query,
            key=key,
            space=space,
            # The tangent space knows nothing of the part along x, unless V turns it.
            tangential=isinstance(space, Sphere) and multiple_of_identity(self.value) is not None,
            tolerance=tolerance * law.share_of_tolerance,
            comm=comm,
            log_factors=law.log_factors(points, key),
        )
        self._shift = law.log_shift(targets, query)
        self.plan, self._backend = choose(problem, choice)
        self.factors = law.point_factors(problem, self._backend, choice)

    def __call__(self, weights: Array) -> Sums:
        """Evaluate for this rank's weights, ``shape=(n,)``. Collective."""
        sums = self._backend.sums(weights, self.factors(weights))
        return sums._replace(log_scale=sums.log_scale + self._shift)

    def matrix(self, weights: Array) -> Array:
        """See ``Evaluator.matrix``; this head's, ``shape=(m, n)``."""
        problem, factors = self._problem, self.factors(weights)
        factors = np.zeros(len(weights)) if factors is None else factors
        block = np.column_stack([problem.keys, weights, factors])
        block = np.concatenate(problem.comm.allgather(block))
        there = block[:, -2] != 0
        keys, weights, factors = block[there, :-2], block[there, -2], block[there, -1]
        kernel, log_scale = problem.kernel.dense(problem.queries, keys, factors)
        matrix = np.zeros((len(kernel), len(block)))
        matrix[:, there] = weights * kernel
        if self._law.normalised:
            return matrix / matrix.sum(axis=1, keepdims=True)
        return matrix * np.exp(log_scale)[:, None]
