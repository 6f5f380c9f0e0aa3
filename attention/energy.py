"""The interaction energy of a measure."""

from __future__ import annotations

from dataclasses import replace

from mpi4py import MPI

import numpy as np

from meanformer.attention.attention import Attention
from meanformer.attention.evaluator import AttentionDomainError
from meanformer.attention.matrices import times
from meanformer.attention.spaces import Array, Space

# Points whose Z is so small against the largest hardly count in the sum.
_TOLERANCE = 1e-6


def interaction_energy(
    attention: Attention, points: Array, weights: Array, space: Space, comm: MPI.Comm | None = None
) -> float:
    r"""E = 1/(2 beta) iint e^{<Ax,y>} mu(dx) mu(dy) (arXiv 2312.10794, section 3).

    At beta = 0, where E is infinite, the limit of E - 1/(2 beta) is returned: half of <K^T Q m, m>,
    m the mean. Where e^{<Ax,y>} exceeds double precision, so does E. Collective over ``comm``.

    Args:
        attention: The model; its law and value matrix play no role.
        points: This rank's points, ``shape=(n, d)``.
        weights: This rank's weights, ``shape=(n,)``.
        space: Where the points live.
        comm: The ranks over which the measure is distributed, or None.

    Returns:
        The energy, dimensionless; plus or minus infinity beyond double precision.
    """
    if attention.beta == 0:
        mean = weights @ points
        mean = mean if comm is None else comm.allreduce(mean)
        return float(mean @ times(replace(attention, beta=1.0).logit_matrix, mean)) / 2
    kernel = replace(attention, law="unnormalised", value=None)
    try:
        field = kernel.prepare(points, points, space, _TOLERANCE, comm)(weights)
    except AttentionDomainError:
        return float(np.copysign(np.inf, attention.beta))
    share = float(weights @ (field.partition * np.exp(field.log_scale)))
    return (share if comm is None else comm.allreduce(share)) / (2 * attention.beta)
