"""The interaction energy of a measure."""

from __future__ import annotations

from dataclasses import replace

from mpi4py import MPI

import numpy as np

from meanformer.attention.attention import Attention
from meanformer.attention.heads import Head
from meanformer.attention.matrices import times
from meanformer.attention.spaces import Array, Space

#: Laws that have an interaction energy.
ENERGETIC = frozenset({"softmax", "unnormalised", "linear", "l2", "sinkhorn"})

# Of Z where it is small, and where there is almost no mass to weigh the error.
_TOLERANCE = 1e-8


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
    if attention.law not in ENERGETIC:
        raise ValueError(
            f"law is {attention.law!r}; only these have an energy: {', '.join(sorted(ENERGETIC))}"
        )
    measure = _Measure(points, weights, space, comm)
    return sum(measure.energy(attention, head) for head in attention.all_heads)


class _Measure:
    """A weighted measure, whose energy heads ask for one by one."""

    def __init__(self, points: Array, weights: Array, space: Space, comm: MPI.Comm | None) -> None:
        self._points, self._weights = points, weights
        self._space, self._comm = space, comm

    def energy(self, attention: Attention, head: Head) -> float:
        """The energy of one head."""
        law, beta = attention.law, attention.beta
        # V and what is relative to the target play no role.
        alone = replace(
            attention, query=None, key=None, value=None, relative=False,
            heads=(Head(head.query, head.key),),
        )  # fmt: skip
        evaluator = alone.prepare(self._points, self._points, self._space, _TOLERANCE, self._comm)
        (sums,), _ = evaluator.sums(self._weights)
        if law == "linear":
            moments = self._integral(self._points[:, :, None] * self._points[:, None, :])
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

    def _limit(self, law: str, head: Head) -> float:
        mean = self._integral(self._points)
        if law != "l2":
            return float(mean @ times(head.product, mean)) / 2
        query, key, _ = head.matrices
        squares = [times(self._points, m.T) ** 2 for m in (query, key)]
        mass = float(self._integral(np.ones(len(self._points))))
        both = sum(float(self._integral(square.sum(axis=1))) for square in squares)
        return float(mean @ times(head.product, mean)) - mass * both / 2

    def _integral(self, values: Array) -> Array:
        share = np.asarray(np.tensordot(self._weights, values, axes=1), dtype=float)
        return share if self._comm is None else self._comm.allreduce(share)
