"""What is drawn of a density: its fields at equispaced nodes of every cell."""

from __future__ import annotations

import basix
import basix.ufl
import numpy as np

from meanformer.arrays import Array
from meanformer.pde.dg.solver import DensitySolver
from meanformer.pde.quadrature import tabulate

# Below this share of the uniform density there is nothing but errors, and the zeros of the limiter.
_FLOOR = 1e-10


class NodalFields:
    """The density and what moves it, at the nodes of discontinuous equispaced elements.

    Programs draw a cell from values at its nodes. The elements are of the density's degree, and
    at least of degree 2, as curved cells need it.

    Args:
        solver: The density solver.

    Attributes:
        element: The scalar element, whose nodes are meant.
    """

    def __init__(self, solver: DensitySolver) -> None:
        """Tabulate the solver's elements at the nodes. Collective."""
        self._solver = solver
        self.element = basix.ufl.element(
            "Lagrange",
            solver.elements.domain.basix_cell(),
            max(2, solver.degree),
            lagrange_variant=basix.LagrangeVariant.equispaced,
            discontinuous=True,
        )
        nodes = self.element.basix_element.points
        self._density_basis = tabulate(solver.elements.space, nodes)
        self._velocity_basis = tabulate(solver.flow.space, nodes)
        everywhere = np.ones_like(solver.elements.quadrature.weights)
        self._floor = _FLOOR / solver.elements.integral(everywhere)

    def __call__(self) -> dict[str, Array]:
        r"""The fields at the solver's time. Collective.

        Returns:
            On this rank's cells, by name: ``density`` and ``log10_density``, the logarithm of it or
            of 1e-10 times the uniform density, if that is larger, ``shape=(cells, n)``;
            ``velocity``, interpolated as the solver does it, in three coordinates,
            ``shape=(cells, n, 3)``; and for laws with a positive kernel ``log_Z``, interpolated
            likewise, of several heads the sum, ``shape=(cells, n)``. With sinkhorn it is -f.

        Raises:
            AttentionDomainError: If the velocity is undefined.
        """
        density = self._solver.values @ self._density_basis.T
        fields = {"density": density, "log10_density": np.log10(np.maximum(density, self._floor))}
        field = self._solver.field()
        columns = [field.velocity]
        if self._solver.attention.rule.has_log_partition:
            columns.append(field.log_partition.sum(axis=0))
        on_cells = self._solver.flow.on_cells(np.column_stack(columns))
        values = np.einsum("qm,cmk->cqk", self._velocity_basis, on_cells)
        dimension = field.velocity.shape[1]
        fields["velocity"] = np.zeros((*density.shape, 3))
        fields["velocity"][:, :, :dimension] = values[:, :, :dimension]
        if len(columns) > 1:
            fields["log_Z"] = values[:, :, dimension]
        return fields
