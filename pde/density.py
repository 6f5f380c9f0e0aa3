"""The density solver: nonlocal transport on the sphere by discontinuous Galerkin elements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh
from scipy.special import xlogy

from meanformer.attention import Attention, Field, Model, Sphere
from meanformer.attention.spaces import Array
from meanformer.attention.steps import equal_steps
from meanformer.pde.limiter import PositivityLimiter
from meanformer.pde.quadrature import CellQuadrature, tabulate
from meanformer.pde.ssp import BY_DEGREE
from meanformer.pde.transport import Transport

# Weights of the facet points in a quadrature with positive weights that gives the cell mean
# (Zhang, Xia, Shu, J. Sci. Comput. 50, 2012): an Euler step keeps cell means non-negative if
# dt |v| |F| / |K| does not exceed 2/3 of the first Gauss-Lobatto weight.
_POSITIVE_COURANT = {0: 1 / 3, 1: 1 / 3, 2: 1 / 9, 3: 1 / 9}
_SAFETY = 0.9
# Near a steady state velocities are small and transport allows any step: the growth of
# perturbations, at rates below |Dv|, then sets the scale of time.
_SHARE_OF_RATE = 0.25
_MOST_HALVINGS = 12

# Relative error of the velocity where Z is small against e^beta, that is where there is almost no
# mass (a share m of the mass near x makes Z(x) at least m e^beta). Weighted with the mass, the
# error of harmonics stays at 1e-13; that of other backends is well below the bound.
_TOLERANCE = 1e-8


class InitialDensityError(ValueError):
    """The initial density is no density on this mesh."""


class PositivityError(ArithmeticError):
    """No step, however small, keeps the cell means non-negative."""


class DensitySolver:
    """Solve d_t rho + div(rho v[rho]) = 0 on S^2, with v the velocity of attention.

    Upwind discontinuous Galerkin elements of degree p, an SSP Runge-Kutta scheme of order p + 1,
    and a positivity limiter. The velocity is interpolated in continuous elements of degree p + 1.
    Densities are per unit area (dimensionless: the sphere has radius one), with mass one.

    Args:
        domain: A mesh of the sphere with shared-facet ghosts, see ``meshes.icosphere``.
        attention: The model; it may change with time in jumps (``Schedule``).
        degree: p, 0 to 3. Degree 3 needs a mesh of geometry degree 3 for its order.
        initial: The density at t = 0: maps unit vectors, ``shape=(n, 3)``, to values,
            ``shape=(n,)``. It is projected and normalised to mass one.
        step: A fixed time step, or None for the largest that is safe.

    Attributes:
        time: Time reached, dimensionless.
        steps: Steps taken.
        initial_mass: Mass of the initial density as the quadrature sees it, before normalisation;
            far from its true mass, the mesh does not resolve it.
        wall_time: Seconds spent in "attention", "residual" and "limiter".

    Raises:
        ValueError: If ``degree`` or ``step`` is out of range, or the model changes smoothly.
        InitialDensityError: If the initial density is not finite, is negative on a cell, or has
            no mass.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        attention: Model,
        degree: int,
        initial: Callable[[Array], Array],
        step: float | None = None,
    ) -> None:
        """Compile forms, tabulate, project the initial density. Collective."""
        if degree not in BY_DEGREE:
            raise ValueError(f"degree is {degree}; allowed: {', '.join(map(str, BY_DEGREE))}")
        if step is not None and not step > 0:
            raise ValueError(f"step is {step}; it must be positive")
        if not isinstance(attention.during(0.0), Attention):
            raise ValueError("attention must be constant between its changes")
        self.comm = domain.comm
        self.degree = degree
        self.space = Sphere(3)
        self.time, self.steps = 0.0, 0
        self.wall_time = {"attention": 0.0, "residual": 0.0, "limiter": 0.0}
        self._attention, self._fixed_step = attention, step
        self._layer = attention.during(self.time)
        self._scheme = BY_DEGREE[degree]
        self._negative_means, self._velocity_is_current = 0, False

        density_space = fem.functionspace(domain, ("Discontinuous Lagrange", degree))
        velocity_space = fem.functionspace(domain, ("Lagrange", degree + 1, (3,)))
        self._velocity = fem.Function(velocity_space)
        quadrature_degree = max(2 * degree + 1, 2)
        self.quadrature = CellQuadrature(domain, quadrature_degree)
        self._basis = tabulate(density_space, self.quadrature.reference)
        self._transport = Transport(
            density_space, self.quadrature, self._velocity, quadrature_degree
        )
        self._limiter = PositivityLimiter(
            density_space.element.basix_element,
            self.quadrature.reference,
            quadrature_degree,
            self._transport.integrals,
        )
        #: Points of the density as a measure: the quadrature points, brought to the sphere.
        self.points = self.space.retract(self.quadrature.points.reshape(-1, 3))
        owned = velocity_space.dofmap.index_map.size_local
        self._targets = self.space.retract(velocity_space.tabulate_dof_coordinates()[:owned])
        self._prepare()
        self._velocity_nodes = velocity_space.dofmap.list[: len(self.quadrature.points)]
        #: Numbers of this rank's cells in the mesh as it was made, whatever the number of ranks.
        self.cell_numbers = domain.topology.original_cell_index[: len(self.quadrature.points)]
        self._courant_length = self._scheme.coefficient * _SAFETY * self._cell_sizes()

        self.values = self._project(initial)

    def _cell_sizes(self) -> Array:
        """Largest dt |v| of an Euler step that keeps each cell's mean non-negative."""
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        element = self._velocity.function_space.element.basix_element
        nodes = self._velocity.function_space.tabulate_dof_coordinates()[self._velocity_nodes]
        vertices = np.einsum("qn,cnk->cqk", element.tabulate(0, corners)[0, :, :, 0], nodes)
        sides = np.linalg.norm(vertices - np.roll(vertices, 1, axis=1), axis=2)
        area = self.quadrature.weights.sum(axis=1)
        sizes: Array = _POSITIVE_COURANT[self.degree] * area / sides.max(axis=1)
        return sizes

    def _project(self, initial: Callable[[Array], Array]) -> Array:
        """L2 projection, limited and normalised to mass one."""
        exact = np.asarray(initial(self.points), dtype=float)
        total = self._sum(float(exact @ self.quadrature.weights.ravel()))
        if not (np.isfinite(total) and total > 0):
            raise InitialDensityError(
                f"its mass on the mesh is {total:g}; it must be finite and positive"
            )
        moments = (self.quadrature.weights * exact.reshape(self.quadrature.weights.shape)) @ (
            self._basis
        )
        values = self._transport.solve_mass(moments)
        if self._sum(self._limiter(values)):
            raise InitialDensityError("it is negative on a cell")
        self.initial_mass = total
        values /= self._sum(float((self._transport.integrals * values).sum()))
        return values

    @property
    def density(self) -> fem.Function:
        """The density as a DOLFINx function, ghosts updated. Collective."""
        function = self._transport.density
        function.x.array[: self.values.size] = self.values.ravel()
        function.x.scatter_forward()
        return function

    @property
    def weights(self) -> Array:
        """Weights of the density as a measure on ``points``, ``shape=(n,)``: they add up to 1."""
        return self._weights_of(self.values)

    def _weights_of(self, values: Array) -> Array:
        return (self.quadrature.weights * (values @ self._basis.T)).ravel()

    def mass(self) -> float:
        """Integral of the density. Collective."""
        return self._sum(float((self._transport.integrals * self.values).sum()))

    def range(self) -> tuple[float, float]:
        """Smallest and largest nodal value on all ranks. Collective."""
        low, high = self.values.min(initial=np.inf), self.values.max(initial=-np.inf)
        return (
            float(self.comm.allreduce(low, op=MPI.MIN)),
            float(self.comm.allreduce(high, op=MPI.MAX)),
        )

    def entropy(self) -> float:
        """H = int rho log rho. Collective."""
        density = np.maximum(self.values @ self._basis.T, 0.0)
        return self._sum(float((self.quadrature.weights * xlogy(density, density)).sum()))

    def step(self, until: float) -> None:
        """Take one time step, which ends at ``until`` or before. Collective.

        Raises:
            PositivityError: If cell means become negative however small the step.
            AttentionDomainError: If Z is not positive.
            StepTooSmallError: If the step that is safe is too small to go on.
        """
        start, until = self.values, min(until, self._attention.next_change(self.time))
        if self._attention.during(self.time) is not self._layer:
            self._layer = self._attention.during(self.time)
            self._prepare()
        # Without the potentials of earlier steps: a step depends on the density alone.
        self._field.warm(None)
        field = self._update_velocity(start)
        remaining = until - self.time
        count = equal_steps(remaining, self._largest_step(field))
        for _ in range(_MOST_HALVINGS):
            dt = remaining / count
            self._negative_means, self._velocity_is_current = 0, True
            values = self._scheme.step(start, partial(self._euler, dt / self._scheme.coefficient))
            if not self._sum(self._negative_means):
                self.values = values
                self.steps += 1
                self.time = until if count == 1 else self.time + dt
                return
            count *= 2
            self._update_velocity(start)
        raise PositivityError(f"cell means are negative at t = {self.time} for steps down to {dt}")

    def _prepare(self) -> None:
        """Prepare the attention of the present layer. Collective."""
        attention = self._layer.at(self.time)
        self._field = attention.prepare(
            self._targets, self.points, self.space, _TOLERANCE, self.comm
        )

    def _largest_step(self, field: Field) -> float:
        """The fixed step, or the largest that is safe for transport and resolves the dynamics."""
        if self._fixed_step is not None:
            return self._fixed_step
        speed = np.linalg.norm(self._velocity.x.array.reshape(-1, 3), axis=1)
        fastest = speed[self._velocity_nodes].max(axis=1)
        with np.errstate(divide="ignore"):
            safe = (self._courant_length / fastest).min(initial=np.inf)
            resolved = np.divide(_SHARE_OF_RATE, self._layer.at(self.time).rate_bound(field))
        return float(self.comm.allreduce(min(safe, resolved), op=MPI.MIN))

    def _euler(self, dt: float, state: Array) -> Array:
        """Limited Euler step of length ``dt``."""
        if not self._velocity_is_current:
            self._update_velocity(state)
        self._velocity_is_current = False
        began = perf_counter()
        moved = state + dt * self._transport(state)
        ended = perf_counter()
        self._negative_means += self._limiter(moved)
        self.wall_time["residual"] += ended - began
        self.wall_time["limiter"] += perf_counter() - ended
        return moved

    def _update_velocity(self, values: Array) -> Field:
        """Interpolate v[rho]."""
        began = perf_counter()
        field = self._field(self._weights_of(values))
        self._velocity.x.array[: field.velocity.size] = field.velocity.ravel()
        self._velocity.x.scatter_forward()
        self.wall_time["attention"] += perf_counter() - began
        return field

    def _sum(self, number: float) -> float:
        return self.comm.allreduce(number)
