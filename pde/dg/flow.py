"""Transport of a density by the attention of its own measure."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import ufl
from dolfinx import fem, la

from meanformer.arrays import Array
from meanformer.attention import Attention, Evaluator, Field
from meanformer.attention.evaluation.evaluator import OF_OWN_MASS
from meanformer.integrators.stepper import Rate
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.forms import Moments, set_values
from meanformer.pde.dg.transport import outflow, transport_form


class AttentionFlow:
    """The tendency -div(rho v[rho]), with v interpolated in continuous elements of degree p + 1.

    Args:
        elements: The density's elements.
        attention: The model, until ``change`` tells of another.
        open_boundary: Whether mass leaves where v points outwards; else nothing passes.

    Attributes:
        space: The elements of the velocity.
        open_boundary: Whether mass may leave.
        wall_time: Seconds spent in "attention" and "residual".
    """

    def __init__(self, elements: Elements, attention: Attention, open_boundary: bool) -> None:
        """Compile forms, prepare the attention. Collective."""
        self._elements, self.open_boundary = elements, open_boundary
        dimension = elements.where.dimension
        element = ("Lagrange", elements.degree + 1, (dimension,))
        self.space = fem.functionspace(elements.domain, element)
        self._velocity, density = fem.Function(self.space), fem.Function(elements.space)
        arguments = density, self._velocity, ufl.TestFunction(elements.space), elements
        self._transport = Moments(transport_form(*arguments), density)
        self._outflow = Moments(outflow(*arguments), density) if open_boundary else None
        self.wall_time = {"attention": 0.0, "residual": 0.0}
        owned = self.space.dofmap.index_map.size_local
        nodes = self.space.tabulate_dof_coordinates()[:owned, :dimension]
        self._targets = elements.where.retract(nodes)
        self._started: tuple[Array, Field] | None = None
        self._evaluator: Evaluator
        self.change(attention)

    def change(self, attention: Attention) -> None:
        """Go on with another model. Collective."""
        self._started = None
        self._evaluator = attention.prepare(
            self._targets, self._elements.points, self._elements.where, OF_OWN_MASS,
            self._elements.comm,
        )  # fmt: skip

    def start(self, values: Array) -> Field:
        """What attention says of a density where a step starts. Collective.

        Sinkhorn's potentials of earlier calls are forgotten, so that a step depends on the density
        alone. The field is kept for the same array until that of another density is asked for.
        """
        if self._started is None or self._started[0] is not values:
            self._evaluator.warm(None)
            self._started = values, self.velocity(values)
        return self._started[1]

    def velocity(self, values: Array) -> Field:
        """What attention says of a density at the nodes of ``space``. Collective.

        Sinkhorn's iteration goes on from the potentials of the last call.

        Raises:
            AttentionDomainError: If Z is not positive.
        """
        began = perf_counter()
        self._started = None  # its memory is that of the next field
        field = self._evaluator(self._elements.measure(values))
        self.wall_time["attention"] += perf_counter() - began
        return field

    def tendency(self, values: Array, field: Field) -> Rate:
        """-div(rho v) of a density that moves with a field of its own or of another. Collective.

        Returns:
            The rate, ``shape=(cells, n)``, and the mass that leaves through this rank's boundary
            per unit time.
        """
        began = perf_counter()
        set_values(self._velocity, field.velocity)
        moments, leaves = self._transport(values), 0.0
        if self._outflow is not None:
            leaving = self._outflow(values)
            leaves = float(leaving.sum())
            moments -= leaving
        rate = Rate(self._elements.solve_mass(moments), leaves)
        self.wall_time["residual"] += perf_counter() - began
        return rate

    def __call__(self, values: Array, time: float) -> Rate:
        """The tendency of a density that moves itself, at any time: a model stands. Collective."""
        return self.tendency(values, self.velocity(values))

    def speeds(self, field: Field) -> Array:
        """Largest speed of a field in each cell, ``shape=(cells,)``. Collective."""
        fastest: Array = np.linalg.norm(self.on_cells(field.velocity), axis=2).max(axis=1)
        return fastest

    def on_cells(self, values: Array) -> Array:
        """Values at the nodes of this rank's cells, from those at the nodes it owns. Collective.

        From ``shape=(m, k)``, as in a ``Field``, to ``shape=(cells, nodes per cell, k)``.
        """
        size = values.shape[1]
        vector = la.vector(self.space.dofmap.index_map, size)
        vector.array[: values.size] = values.ravel()
        vector.scatter_forward()
        nodes = self.space.dofmap.list[: len(self._elements.integrals)]
        everywhere: Array = vector.array.reshape(-1, size)[nodes]
        return everywhere
