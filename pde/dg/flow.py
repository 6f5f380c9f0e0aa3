"""Transport of a density by the attention of its own measure."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from dolfinx import fem, la

from meanformer.arrays import Array
from meanformer.attention import Attention, Evaluator, Field
from meanformer.attention.accuracy import OF_OWN_MASS
from meanformer.integrators.stepper import Rate
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.transport import Transport
from meanformer.timing import timed


class AttentionFlow:
    """The tendency -div(rho v[rho]), with v interpolated in continuous elements of degree p + 1.

    Args:
        elements: The density's elements.
        attention: The model, until ``change`` tells of another.
        open_boundary: Whether mass leaves where v points outwards; else nothing passes.

    Attributes:
        open_boundary: Whether mass may leave.
        wall_time: Seconds spent in "attention" and "residual".
    """

    def __init__(self, elements: Elements, attention: Attention, open_boundary: bool) -> None:
        """Compile forms, prepare the attention. Collective."""
        self._elements = elements
        degree = elements.space.element.basix_element.degree + 1
        dimension = elements.where.dimension
        space = fem.functionspace(elements.domain, ("Lagrange", degree, (dimension,)))
        self._velocity = fem.Function(space)
        self.wall_time = {"attention": 0.0}
        transport = Transport(elements, self._velocity, open_boundary)
        self._transport = timed(transport, self.wall_time, "residual")
        self.open_boundary = open_boundary
        owned = space.dofmap.index_map.size_local
        nodes = space.tabulate_dof_coordinates()[:owned, :dimension]
        self._targets = elements.where.retract(nodes)
        self._nodes = space.dofmap.list[: len(elements.integrals)]
        self._interpolated: Field | None = None
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
        self._started = self._interpolated = None  # their memory is that of the next field
        field = self._evaluator(self._elements.measure(values))
        self._interpolate(field)
        self.wall_time["attention"] += perf_counter() - began
        return field

    def tendency(self, values: Array, field: Field) -> Rate:
        """-div(rho v) of a density that moves with a field. Collective.

        Args:
            values: The density, ``shape=(cells, n)``.
            field: What ``velocity`` or ``start`` said, of this density or of another.

        Returns:
            See ``Transport``.
        """
        self._interpolate(field)
        return self._transport(values)

    def __call__(self, values: Array, time: float) -> Rate:
        """The tendency of a density that moves itself, at any time: a model stands. Collective."""
        return self.tendency(values, self.velocity(values))

    def speeds(self, field: Field) -> Array:
        """Largest speed of a field in each cell, ``shape=(cells,)``. Collective."""
        self._interpolate(field)
        speed = np.linalg.norm(self._velocity.x.array.reshape(-1, self._targets.shape[1]), axis=1)
        fastest: Array = speed[self._nodes].max(axis=1)
        return fastest

    def _interpolate(self, field: Field) -> None:
        """Make the velocity that of a field, where it is not yet. Collective."""
        if self._interpolated is not field:
            self._interpolated = field
            self._velocity.x.array[: field.velocity.size] = field.velocity.ravel()
            self._velocity.x.scatter_forward()

    @property
    def space(self) -> fem.FunctionSpace:
        """The space of the velocity."""
        return self._velocity.function_space

    def on_cells(self, values: Array) -> Array:
        """Values at the nodes of this rank's cells, from those at the nodes it owns. Collective.

        Args:
            values: As in a ``Field``, ``shape=(m, k)``.

        Returns:
            ``shape=(cells, nodes per cell, k)``.
        """
        size = values.shape[1]
        vector = la.vector(self.space.dofmap.index_map, size)
        vector.array[: values.size] = values.ravel()
        vector.scatter_forward()
        everywhere: Array = vector.array.reshape(-1, size)[self._nodes]
        return everywhere
