"""The interaction energy of a measure, and its gradient."""

from __future__ import annotations

from dataclasses import replace

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.accuracy import OF_OWN_MASS
from meanformer.attention.attention import Attention
from meanformer.attention.backends.backend import Sums
from meanformer.attention.evaluator import Evaluator
from meanformer.attention.heads import Head
from meanformer.attention.matrices import times
from meanformer.attention.spaces import Space

#: Laws that have an interaction energy.
ENERGETIC = frozenset({"softmax", "unnormalised", "linear", "l2", "sinkhorn"})


def interaction_energy(
    attention: Attention, points: Array, weights: Array, space: Space, comm: MPI.Comm | None = None
) -> float:
    r"""The energy of which the law follows the gradient; of several heads, the sum.

    With A = beta K^T Q symmetric, V = I and noise-free dynamics,

    * softmax and unnormalised: E = 1/(2 beta) iint e^{<Ax,y>} mu(dx) mu(dy) never decreases
      (arXiv 2312.10794, section 3),
    * l2: the same with e^{-beta |Qx-Ky|^2},
    * linear: E = 1/(4 beta) iint <Ax,y>^2 mu(dx) mu(dy),
    * sinkhorn: E = -1/(2 beta) int (f+g) mu(dx), where f = g (arXiv 2110.11773).

    At beta = 0, where the first are infinite, the limit of E less its constant is returned: half of
    <K^T Q m, m> with m the mean (softmax, unnormalised and sinkhorn), and minus half of
    int |Qx-Ky|^2 (l2). Where e^{<Ax,y>} exceeds double precision, so does E. Collective over
    ``comm``.

    Args:
        attention: The model; its values V play no role.
        points: This rank's points, ``shape=(n, d)``.
        weights: This rank's weights, ``shape=(n,)``.
        space: Where the points live.
        comm: The ranks over which the points are distributed, or None.

    Returns:
        The energy, dimensionless; plus or minus infinity beyond double precision.

    Raises:
        ValueError: If the law has no energy (sigmoid, hardmax), or an argument is wrong.
        AttentionDomainError: If there is no mass, or Sinkhorn's iteration does not converge.
    """
    measure = _Measure(attention, points, weights, space, comm)
    return sum(measure.energy(head) for head in attention.all_heads)


def energy_gradient(
    attention: Attention, points: Array, weights: Array, space: Space, comm: MPI.Comm | None = None
) -> Array:
    r"""The gradient of the energy's first variation, at the points of the measure.

    Where mu moves with a velocity u, dE/dt = int <grad dE/dmu, u> mu(dx), whatever the matrices.
    With A = beta K^T Q symmetric and V = I it is v for the unnormalised and the linear law and for
    sinkhorn, Z v for softmax, and 2 Z v for l2 on a sphere (arXiv 2312.10794, section 3).
    Collective over ``comm``.

    Arguments and errors as for ``interaction_energy``.

    Returns:
        Tangent vectors, ``shape=(n, d)``, dimensionless.
    """
    measure = _Measure(attention, points, weights, space, comm)
    total = np.sum([measure.gradient(head) for head in attention.all_heads], axis=0)
    return space.tangent(points, total)


class _Measure:
    """A weighted measure, and what the energy of each head says of it."""

    def __init__(
        self,
        attention: Attention,
        points: Array,
        weights: Array,
        space: Space,
        comm: MPI.Comm | None,
    ) -> None:
        if attention.law not in ENERGETIC:
            raise ValueError(
                f"law is {attention.law!r}; only these have an energy: "
                f"{', '.join(sorted(ENERGETIC))}"
            )
        self._attention, self._points, self._weights = attention, points, weights
        self._space, self._comm = space, comm

    def energy(self, head: Head) -> float:
        """The energy of one head."""
        law, beta = self._attention.law, self._attention.beta
        evaluator, sums = self._sums(head)
        if law == "linear":
            moments = self._second_moments()
            left, right = (times(matrix, moments) for matrix in (head.product, head.product.T))
            return beta * float(np.trace(left @ right)) / 4
        if beta == 0:
            return self._limit(law, head)
        if law == "sinkhorn":  # log Z = -f
            (potential,) = evaluator.potentials
            assert potential is not None
            minus_other = np.log(sums.partition) + sums.log_scale
            return float(self._integral(minus_other - potential)) / (2 * beta)
        with np.errstate(over="ignore"):
            share = self._integral(sums.partition * np.exp(sums.log_scale))
        return float(share) / (2 * beta) if np.isfinite(share) else float(np.copysign(np.inf, beta))

    def gradient(self, head: Head) -> Array:
        """The gradient of one head's, before projection on the tangent space."""
        turned = Head(head.key, head.query)
        halves = [self._along_queries(one) for one in (head, turned)[: 1 + self._turns(head)]]
        mean: Array = np.mean(halves, axis=0)
        return mean

    def _along_queries(self, head: Head) -> Array:
        """The gradient with respect to the argument x of the kernel alone, times two."""
        law, points = self._attention.law, self._points
        query, _, _ = head.matrices
        logits = head.product  # K^T Q
        if law == "linear":
            inner = times(points, self._attention.beta * logits.T) @ self._second_moments()
            return times(inner, logits)
        _, sums = self._sums(head)
        if law == "sinkhorn":
            return times(sums.moment / sums.partition[:, None], logits)
        with np.errstate(over="ignore"):
            scale = np.exp(sums.log_scale)[:, None]
        moment = times(sums.moment * scale, logits)
        if law != "l2":
            return moment
        own = times(times(points, query.T), query)
        return 2 * (moment - own * (sums.partition[:, None] * scale))

    def _turns(self, head: Head) -> bool:
        """Whether Q and K in each other's place make another kernel."""
        if self._attention.law == "l2":
            query, key, _ = (np.asarray(matrix) for matrix in head.matrices)
            return query.shape != key.shape or not np.array_equal(query, key)
        product = np.asarray(head.product)
        return product.ndim > 0 and not np.array_equal(product, product.T)

    def _sums(self, head: Head) -> tuple[Evaluator, Sums]:
        """The kernel's sums at the points themselves."""
        # V and what is relative to the target play no role.
        alone = replace(
            self._attention, query=None, key=None, value=None, relative=False,
            heads=(Head(head.query, head.key),),
        )  # fmt: skip
        evaluator = alone.prepare(self._points, self._points, self._space, OF_OWN_MASS, self._comm)
        (sums,), _ = evaluator.sums(self._weights)
        return evaluator, sums

    def _limit(self, law: str, head: Head) -> float:
        mean = self._integral(self._points)
        if law != "l2":
            return float(mean @ times(head.product, mean)) / 2
        query, key, _ = head.matrices
        squares = [times(self._points, m.T) ** 2 for m in (query, key)]
        mass = float(self._integral(np.ones(len(self._points))))
        both = sum(float(self._integral(square.sum(axis=1))) for square in squares)
        return float(mean @ times(head.product, mean)) - mass * both / 2

    def _second_moments(self) -> Array:
        return self._integral(self._points[:, :, None] * self._points[:, None, :])

    def _integral(self, values: Array) -> Array:
        share = np.asarray(np.tensordot(self._weights, values, axes=1), dtype=float)
        return share if self._comm is None else self._comm.allreduce(share)
