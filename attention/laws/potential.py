r"""Sinkhorn's potentials of a measure: the kernel e^{f(x)+g(y)+<Ax,y>} with marginals 1 against it.

The rows' condition int e^{f(x)+g(y)+<Ax,y>} mu(dy) = 1 gives f from g,

    f(x) = -log int e^{g(y)+<Ax,y>} mu(dy),

and the columns' gives g from f with A^T in place of A (arXiv 2110.11773). Repeating both converges
for every measure, but slowly where <Ax,y> is large; so iterates are combined by Anderson's method
(Walker & Ni, SIAM J. Numer. Anal. 49, 2011). For a symmetric A, f = g solves both, and the mean of
g and its image is iterated, which halves the error at least where e^{<Ax,y>} is a positive kernel.
Otherwise f + c and g - c are solutions for every c; the one with int f mu = int g mu is taken.
"""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import AttentionDomainError, Backend
from meanformer.attention.laws.base import PointFactors

_MOST_ITERATIONS = 2000
_HISTORY = 8
# Directions of the history that differ by less are round-off; relative to the largest.
_INDEPENDENT = 1e-10
# Marginals off by more say nothing about the neighbourhood of the solution.
_LOCAL = 0.5
# Residuals that grow by more than this have been led astray by their history.
_GROWTH = 10.0


class Potential(PointFactors):
    """Sinkhorn's potential g at fixed points, for one set of weights after another.

    Args:
        rows: The kernel e^{<A x, y>} from the points to the points.
        columns: That of A^T, or None where A is symmetric.
        tolerance: Largest deviation of a marginal from 1.
        comm: The ranks of the points.
    """

    def __init__(
        self, rows: Backend, columns: Backend | None, tolerance: float, comm: MPI.Comm
    ) -> None:
        self._rows, self._columns = rows, columns
        self._tolerance, self._comm = tolerance, comm
        # Where the next call starts; None before the first.
        self.potential: Array | None = None

    def __call__(self, weights: Array) -> Array:
        """The potential g for these weights, ``shape=(n,)``. Collective.

        Raises:
            AttentionDomainError: On every rank, if a marginal is not positive, or the iteration
                does not converge.
        """
        potential = np.zeros(len(weights)) if self.potential is None else self.potential
        history = _History(np.abs(weights), self._comm)
        smallest = np.inf
        for self.iterations in range(1, _MOST_ITERATIONS + 1):
            change, deviation, surplus = self._change(weights, potential)
            if deviation > min(_LOCAL, _GROWTH * smallest):
                history.clear()
            step = history.next(potential, change)
            error = deviation * history.condition
            if error <= self._tolerance:
                self.potential = potential + surplus / 2
                return self.potential
            smallest, potential = min(smallest, deviation), step
        raise AttentionDomainError(
            f"attention: Sinkhorn's iteration has not converged: after {_MOST_ITERATIONS} "
            f"iterations marginals are off by {smallest:.1e} and its potential by about "
            f"{error:.1e}, more than {self._tolerance:.1e}"
        )

    def _change(self, weights: Array, potential: Array) -> tuple[Array, float, float]:
        """What one iteration adds to g, the largest deviation of a marginal, and mean f - g."""
        other = self._other(self._rows, weights, potential)
        image, surplus = other, 0.0
        if self._columns is not None:
            image = self._other(self._columns, weights, other)
            means = np.array([weights @ (other - potential), weights.sum()])
            means = self._comm.allreduce(means)
            surplus = float(means[0] / means[1]) if means[1] else 0.0  # 0 where there is no system
        # The columns' marginal is e^{g - image}, and the rows' likewise where f = g.
        counted = (potential - image)[weights != 0]
        worst = float(np.abs(np.expm1(np.clip(counted, -50, 50))).max(initial=0.0))
        worst = self._comm.allreduce(worst, op=MPI.MAX)
        change = image - potential
        return change if self._columns is not None else change / 2, worst, surplus

    def _other(self, kernel: Backend, weights: Array, potential: Array) -> Array:
        """-log int e^{potential + <Ax,y>} mu(dy)."""
        log_scale, partition, _ = kernel.sums(weights, potential, moment=False)
        if not self._comm.allreduce(bool(np.all(partition > 0)), op=MPI.LAND):
            raise AttentionDomainError(
                "attention: a marginal of Sinkhorn's kernel is not positive; are weights negative?"
            )
        return -log_scale - np.log(partition)


class _History:
    """Anderson's combination of the last iterates, with the inner product of the measure."""

    def __init__(self, weights: Array, comm: MPI.Comm) -> None:
        self._weights, self._comm = weights, comm
        self.clear()

    def clear(self) -> None:
        """Forget the past."""
        #: By how much the iterate's error exceeds the change that it brings, as far as seen.
        self.condition = 1.0
        self._iterates: list[Array] = []
        self._changes: list[Array] = []

    def next(self, iterate: Array, change: Array) -> Array:
        """The next iterate after ``iterate``, to which one step would add ``change``."""
        self._iterates = [*self._iterates[-_HISTORY:], iterate]
        self._changes = [*self._changes[-_HISTORY:], change]
        if len(self._changes) == 1:
            return iterate + change
        steps = np.diff(self._iterates, axis=0)
        turns = np.diff(self._changes, axis=0)
        products = (turns * self._weights) @ np.vstack([turns, change]).T
        lengths = (steps**2) @ self._weights
        products, lengths = self._comm.allreduce(products), self._comm.allreduce(lengths)
        gram = products[:, :-1]
        ratios = lengths / np.maximum(np.diag(gram), np.finfo(float).tiny)
        self.condition = max(1.0, float(np.sqrt(ratios.max())))
        combination = _least_squares(gram, products[:, -1])
        return iterate + change - combination @ (steps + turns)


def _least_squares(gram: Array, right: Array) -> Array:
    """Solution of the normal equations in the directions that stand out of round-off."""
    scale = np.sqrt(np.diag(gram))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _INDEPENDENT * values[-1]
    projected = vectors[:, kept].T @ (right / scale)
    return vectors[:, kept] @ (projected / values[kept]) / scale
