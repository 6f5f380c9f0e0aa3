"""How far a density is from a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meanformer.arrays import Array
from meanformer.pde.dg.solver import DensitySolver
from meanformer.pde.quadrature import CellQuadrature, tabulate

_MORE_THAN_SQUARES = 4  # the degree by which the rule is above that of squares of the density


def l2_distance(solver: DensitySolver, density: Callable[[Array], Array]) -> float:
    """(int (rho - density)^2)^{1/2} over the mesh, dimensionless. Collective.

    Args:
        solver: What holds rho, of degree p; the rule has degree 2p + 4, well above its own.
        density: Maps points of the space, ``shape=(n, d)``, to values, ``shape=(n,)``.
    """
    space = solver.elements.space
    rule = CellQuadrature(space.mesh, 2 * solver.degree + _MORE_THAN_SQUARES)
    points = solver.space.retract(rule.points.reshape(-1, solver.space.dimension))
    values = solver.values @ tabulate(space, rule.reference).T
    apart = values - np.asarray(density(points)).reshape(values.shape)
    square = float((rule.weights * apart**2).sum())
    return float(np.sqrt(solver.comm.allreduce(square)))
