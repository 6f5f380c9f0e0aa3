"""Sinkhorn attention: both marginals of the kernel are those of the measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Backend
from meanformer.attention.backends.plan import Choice, choose
from meanformer.attention.backends.problem import Problem
from meanformer.attention.heads import Head
from meanformer.attention.laws.base import Affine
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.laws.potential import Potential
from meanformer.attention.laws.softmax import Softmax
from meanformer.attention.matrices import full, multiple_of_identity, times

# Marginals carry the round-off of the logits.
_ROUND_OFF = 1e-13


class Sinkhorn(Softmax):
    """V int y e^{f(x)+g(y)+<Ax,y>} mu(dy), both marginals of the kernel 1 (arXiv 2110.11773)."""

    # Errors of the potential and of its products add to those of the sums.
    share_of_tolerance = 0.1
    weighs_points = True
    # Its columns add up over all targets.
    has_causal_form = False

    def point_factors(self, problem: Problem, sums: Backend, choice: Choice) -> Potential:
        """The potential g on the points themselves."""
        rows, columns = sums, None
        if problem.targets is not problem.points:
            problem = replace(problem, targets=problem.points)
            _, rows = choose(problem, choice)
        logits = problem.logits
        if logits.ndim and not np.array_equal(logits, logits.T):
            turned = replace(problem, query=problem.key, key=problem.query)
            _, columns = choose(turned, choice)
        return Potential(rows, columns, max(problem.tolerance, _ROUND_OFF), problem.comm)

    def energy(self, own: OwnSums) -> Array:
        """-1/(2 beta) int (f+g) mu, where f = g (arXiv 2110.11773)."""
        if self.beta == 0:
            return self._limit(own)
        assert own.potential is not None
        minus_other = np.log(own.sums.partition) + own.sums.log_scale  # log Z = -f
        return own.integral(minus_other - own.potential) / (2 * self.beta)

    def pull(self, own: OwnSums) -> Array:
        """K^T Q int y e^{f(x)+g(y)+<Ax,y>} mu(dy)."""
        return times(own.sums.moment / own.sums.partition[:, None], own.head.product)

    def is_mean(self) -> bool:
        """No formula is known for densities on spheres."""
        return False

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """V (m + C S^{-1} (x - m)), C the coupling's covariance: a C^2 + C = a S^2 at A = a I."""
        a, value = multiple_of_identity(self.beta * head.product), full(head.matrices[2], len(mean))
        if a is None:
            return None
        variances, axes = np.linalg.eigh(covariance)
        # c / s of each axis, c = (sqrt(1 + 4 a^2 s^2) - 1) / 2 a without cancellation
        share = 2 * a * variances / (1 + np.sqrt(1 + 4 * (a * variances) ** 2))
        slope = value @ (axes * share) @ axes.T
        return value @ mean - slope @ mean, slope

    def log_partition(
        self, head: Head, mean: Array, covariance: Array, targets: Array
    ) -> Array | None:
        """The potentials depend on the whole measure."""
        return None
