"""The laws: what each makes of a kernel's sums, for one head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from meanformer.mpi import MPI

import numpy as np
from scipy.special import expit

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Sums
from meanformer.attention.backends.direct.pairs import Precision
from meanformer.attention.backends.kernels import Exponential, Hardmax, Kernel, Linear, Sigmoid
from meanformer.attention.backends.plan import Choice, choose
from meanformer.attention.backends.problem import Problem
from meanformer.attention.heads import Head
from meanformer.attention.matrices import multiple_of_identity, times
from meanformer.attention.sinkhorn import Potential
from meanformer.attention.spaces import Space, Sphere

if TYPE_CHECKING:
    from meanformer.attention.attention import Attention

# Errors of the potential and of its products add to those of the sums.
_SHARE_OF_POTENTIAL = 0.1
# Marginals carry the round-off of the logits.
_ROUND_OFF = 1e-13


class HeadField:
    """Z and int y k mu(dy) of one head at fixed targets, for one set of weights after another."""

    def __init__(
        self,
        attention: Attention,
        head: Head,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float,
        comm: MPI.Comm | None,
        choice: Choice | Literal["auto"],
        precision: Precision,
    ) -> None:
        """See ``Attention.prepare``; the arguments are known to fit."""
        query, key, self.value = head.matrices
        self._normalised = attention.normalised
        self._shift: Array = np.zeros(len(targets))
        self._log_factors: Array | None = None
        self._potential: Potential | None = None
        beta = attention.beta
        if attention.law == "l2":
            # -beta |Qx-Ky|^2 = 2 beta <Qx,Ky> - beta |Ky|^2 - beta |Qx|^2
            self._log_factors = -beta * _squares(times(points, key.T))
            self._shift = -beta * _squares(times(targets, query.T))
            beta = 2 * beta
        if attention.law == "hardmax":  # whose maximisers know the sign of beta only
            beta = float(np.sign(beta))
        kernels: dict[str, Kernel] = {
            "linear": Linear(),
            "sigmoid": Sigmoid(attention.offset),
            "hardmax": Hardmax(attention.tie_tolerance),
        }
        problem = Problem(
            kernel=kernels.get(attention.law, Exponential()),
            targets=targets,
            points=points,
            query=beta * query,
            key=key,
            space=space,
            # The tangent space knows nothing of the part along x, unless V turns it.
            tangential=isinstance(space, Sphere) and multiple_of_identity(self.value) is not None,
            tolerance=tolerance * (_SHARE_OF_POTENTIAL if attention.law == "sinkhorn" else 1),
            precision=precision,
            comm=comm,
            log_factors=self._log_factors,
        )
        self.plan, self._backend = choose(problem, choice)
        self._queries, self._points = problem.queries, points
        self._kernel, self._comm = problem.kernel, comm
        if attention.law == "sinkhorn":
            self._potential = self._sinkhorn(problem, choice)

    def _sinkhorn(self, problem: Problem, choice: Choice | Literal["auto"]) -> Potential:
        """The potential on the points themselves."""
        rows, columns = self._backend, None
        if problem.targets is not problem.points or problem.precision == "single":
            # In double precision: marginals would not reach any tolerance in single.
            problem = replace(problem, targets=problem.points, precision="double")
            _, rows = choose(problem, choice)
        logits = problem.logits
        if logits.ndim and not np.array_equal(logits, logits.T):
            turned = replace(problem, targets=problem.points, query=problem.key, key=problem.query)
            _, columns = choose(turned, choice)
        return Potential(rows, columns, max(problem.tolerance, _ROUND_OFF), problem.comm)

    @property
    def potential(self) -> Array | None:
        """Sinkhorn's g of the last call, ``shape=(n,)``; None for other laws."""
        return None if self._potential is None else self._potential.values

    @property
    def iterations(self) -> int:
        """Sinkhorn's iterations in the last call; 0 for other laws."""
        return 0 if self._potential is None else self._potential.iterations

    def matrix(self, weights: Array) -> Array:
        """See ``Evaluator.matrix``; this head's, ``shape=(m, n)``."""
        factors = self._factors(weights)
        factors = np.zeros(len(weights)) if factors is None else factors
        block = np.column_stack([self._points, weights, factors])
        if self._comm is not None:
            block = np.concatenate(self._comm.allgather(block))
        points, weights, factors = block[:, :-2], block[:, -2], block[:, -1]
        logits = self._queries @ points.T
        there = weights != 0
        logits[:, ~there] = -np.inf if isinstance(self._kernel, Exponential) else 0.0
        match self._kernel:
            case Linear():
                return weights * logits
            case Sigmoid(offset):
                return weights * expit(logits + offset)
            case Hardmax(tie_tolerance):
                top = logits[:, there].max(axis=1, keepdims=True)
                sizes = np.sqrt(_squares(points[there])).max()
                slack = tie_tolerance * sizes * np.sqrt(_squares(self._queries))[:, None]
                kernel: Array = weights * (logits >= top - slack)
            case Exponential() if self._normalised:
                logits += factors
                kernel = weights * np.exp(logits - logits[:, there].max(axis=1, keepdims=True))
            case Exponential():
                return weights * np.exp(logits)
        return kernel / kernel.sum(axis=1, keepdims=True)

    def start_from(self, earlier: HeadField | None) -> None:
        """Start Sinkhorn's iteration where an earlier one ended; from nothing if None."""
        if self._potential is not None:
            source = None if earlier is None else earlier._potential
            self._potential.values = None if source is None else source.values

    def __call__(self, weights: Array) -> Sums:
        """Evaluate for this rank's weights, ``shape=(n,)``. Collective."""
        sums = self._backend.sums(weights, self._factors(weights))
        return sums._replace(log_scale=sums.log_scale + self._shift)

    def _factors(self, weights: Array) -> Array | None:
        """Logarithms of the factors that the law gives to the points, ``shape=(n,)``."""
        return self._log_factors if self._potential is None else self._potential(weights)


def _squares(vectors: Array) -> Array:
    """Squared lengths, ``shape=(n,)``."""
    squares: Array = np.einsum("ij,ij->i", vectors, vectors)
    return squares
