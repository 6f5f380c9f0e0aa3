"""Transport of a density by the attention of its own measure."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from dolfinx import fem, la

from meanformer.arrays import Array
from meanformer.attention import Attention, Evaluator, Field
from meanformer.attention.accuracy import OF_OWN_MASS
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.transport import Transport


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
        self._transport = Transport(elements, self._velocity, open_boundary)
        self.open_boundary = open_boundary
        owned = space.dofmap.index_map.size_local
        nodes = space.tabulate_dof_coordinates()[:owned, :dimension]
        self._targets = elements.where.retract(nodes)
        self._nodes = space.dofmap.list[: len(elements.integrals)]
        self._is_current = False
        self._started: tuple[Array, Field] | None = None
        self.wall_time = {"attention": 0.0, "residual": 0.0}
        self._field: Evaluator
        self.change(attention)

    def change(self, attention: Attention) -> None:
        """Go on with another model. Collective."""
        self._is_current, self._started = False, None
        self._field = attention.prepare(
            self._targets, self._elements.points, self._elements.where, OF_OWN_MASS,
            self._elements.comm,
        )  # fmt: skip

    def start(self, values: Array) -> Field:
        """``update`` where a step starts: it depends on the density alone. Collective.

        Without Sinkhorn's potentials of earlier steps; evaluated once for the same array.
        """
        if self._started is None or self._started[0] is not values:
            self._field.warm(None)
            self._started = values, self.update(values)
        self._is_current = True
        return self._started[1]

    def update(self, values: Array) -> Field:
        """Interpolate v[rho]; the next tendency is that of the same density. Collective."""
        began = perf_counter()
        self._started = None
        field = self._field(self._elements.measure(values))
        self._velocity.x.array[: field.velocity.size] = field.velocity.ravel()
        self._velocity.x.scatter_forward()
        self._is_current = True
        self.wall_time["attention"] += perf_counter() - began
        return field

    def __call__(self, values: Array) -> Array:
        """The tendency of a density, ``shape=(cells, n)``. Collective."""
        if not self._is_current:
            self.update(values)
        self._is_current = False
        began = perf_counter()
        tendency = self._transport(values)
        self.wall_time["residual"] += perf_counter() - began
        return tendency

    @property
    def outflow(self) -> float:
        """Mass that left through this rank's boundary per unit time in the last tendency."""
        return self._transport.outflow

    def speeds(self) -> Array:
        """Largest speed in each cell, ``shape=(cells,)``."""
        speed = np.linalg.norm(self._velocity.x.array.reshape(-1, self._targets.shape[1]), axis=1)
        fastest: Array = speed[self._nodes].max(axis=1)
        return fastest

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
