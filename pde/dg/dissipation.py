r"""The rate at which a density's free energy falls.

With E the interaction energy, g the gradient of its first variation, H the entropy and
F = kappa H - E, a density that moves with v, which a drift is part of, and diffuses with kappa has

    dF/dt = -int <g - kappa grad log rho, v - kappa grad log rho> rho,

for every law that has an energy, any matrices and any drift (arXiv 2312.10794, section 3, for V = I
and A = beta I, where it is a square), as long as no mass is at a boundary. Without noise, it is
-dE/dt.
"""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.energy import EnergyOfMeasure
from meanformer.pde.dg.elements import Elements

# The limiter leaves points where a cell's density touches zero but its gradient does not.
_SMALLEST_SHARE_OF_MEAN = 1e-3


def dissipation(
    elements: Elements, energy: EnergyOfMeasure, values: Array, temperature: float
) -> float:
    """-dF/dt of a density, dimensionless. Collective.

    With gradients that see the jumps at facets: those inside the cells alone lose an order.

    Args:
        elements: The density's elements.
        energy: Of the present model and this density.
        values: The density's values.
        temperature: kappa.
    """
    measure = elements.measure(values)
    pull, velocity = energy.gradient(), energy.field().velocity
    rate = float(measure @ np.einsum("ij,ij->i", pull, velocity))
    if temperature > 0:
        slopes = elements.weak_gradients(values)
        weights = elements.quadrature.weights
        cross = np.einsum("cqk,cqk->cq", slopes, (pull + velocity).reshape(slopes.shape))
        density = values @ elements.basis.T
        means = np.einsum("ci,ci->c", elements.integrals, values) / elements.integrals.sum(axis=1)
        floor = np.maximum(_SMALLEST_SHARE_OF_MEAN * means, np.finfo(float).tiny)
        fisher = np.einsum("cqk,cqk->cq", slopes, slopes) / np.maximum(density, floor[:, None])
        rate += float((weights * (temperature**2 * fisher - temperature * cross)).sum())
    return float(elements.comm.allreduce(rate))
