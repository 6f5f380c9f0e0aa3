"""The density solver: nonlocal transport and diffusion by discontinuous Galerkin elements."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Literal, get_args

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh
from scipy.special import xlogy

from meanformer.arrays import Array, Indices
from meanformer.attention import Attention, Field, Model
from meanformer.errors import SolverError
from meanformer.integrators import imex, ssp
from meanformer.integrators.stepper import Stepper
from meanformer.pde.dg.diffusion import Diffusion
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.flow import AttentionFlow
from meanformer.pde.dg.forms import set_values
from meanformer.pde.dg.step_length import StepLength
from meanformer.pde.initial import InitialDensity
from meanformer.pde.point_values import PointValues
from meanformer.timing import timed

Boundary = Literal["outflow", "no-flux"]

_MOST_HALVINGS = 12


class PositivityError(SolverError):
    """No step, however small, keeps the cell means non-negative."""


class DensitySolver:
    """Solve d_t rho + div(rho v[rho]) = kappa Lap rho, with v the velocity of attention.

    Upwind discontinuous Galerkin elements of degree p with a positivity limiter. Without noise, an
    SSP Runge-Kutta method of order p + 1; with it, symmetric interior penalty and an
    implicit-explicit Runge-Kutta method of order 2 (p = 1) or 3. The velocity is interpolated in
    continuous elements of degree p + 1. The density is per unit length, area or volume, with mass
    one at t = 0; all is dimensionless.

    Args:
        domain: A mesh with shared-facet ghosts, see ``meanformer.meshes``: of the circle or the
            sphere, where it has one dimension less than its coordinates, or of a piece of R^d.
        attention: The model; it may change with time in jumps (``Schedule``).
        degree: p, 0 to 3; at least 1 with noise. On curved meshes degree 3 needs geometry of
            degree 3 for its order.
        initial: The density at t = 0: maps points, ``shape=(n, d)``, to values, ``shape=(n,)``, or
            is a real scalar UFL expression on the mesh, such as a ``fem.Function``. It is projected
            and normalised to mass one. On spheres a callable sees points of the sphere, an
            expression those of the curved mesh; x / sqrt(x.x) brings its x to the sphere.
        step: A fixed time step, or None for the largest that is safe.
        temperature: kappa, not negative.
        boundary: "outflow", mass leaves where v points outwards, or "no-flux", nothing passes.
            Spheres have none. Diffusion passes no boundary.

    Attributes:
        elements: The elements of the density.
        time: Time reached, dimensionless.
        steps: Steps taken.
        refused_steps: Steps tried that made a cell mean negative.
        automatic_step: The largest step that was safe when the last one began, whatever ``step``
            is; infinite before the first.
        values: Nodal values on this rank's cells, ``shape=(cells, n)``.
        outflow: Mass that has left through the boundary.
        initial_mass: Mass of the initial density as the quadrature sees it, before normalisation;
            far from its true mass, the mesh does not resolve it.
        numbers: Numbers of this rank's cells in the mesh as it was made, whatever the number of
            ranks, ``shape=(cells,)``.

    Raises:
        ValueError: If an argument is out of range, ``initial`` is no real scalar on this mesh, or
            the model changes smoothly or is causal.
        InitialDensityError: If the initial density is not finite, is negative on a cell, or has
            no mass.
    """

    def __init__(
        self,
        domain: mesh.Mesh,
        attention: Model,
        degree: int,
        initial: InitialDensity,
        step: float | None = None,
        *,
        temperature: float = 0.0,
        boundary: Boundary = "outflow",
    ) -> None:
        """Compile forms, tabulate, project the initial density. Collective."""
        if degree not in ssp.BY_DEGREE:
            raise ValueError(f"degree is {degree}; allowed: {', '.join(map(str, ssp.BY_DEGREE))}")
        if step is not None and not step > 0:
            raise ValueError(f"step is {step}; it must be positive")
        if not (np.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature}; it must be finite and not negative")
        if boundary not in get_args(Boundary):
            raise ValueError(f"boundary is {boundary!r}; allowed: {', '.join(get_args(Boundary))}")
        first = attention.during(0.0)
        if not isinstance(first, Attention):
            raise ValueError("attention must be constant between its changes")
        if first.causal:
            raise ValueError("attention is causal; it must not be: a density has no order")
        self.comm: MPI.Intracomm = domain.comm
        self.degree, self.temperature = degree, temperature
        self.time, self.steps, self.refused_steps, self.outflow = 0.0, 0, 0, 0.0
        self.automatic_step = np.inf
        self._attention, self._fixed_step = attention, step
        self._layer = attention.during(self.time)

        self.elements = Elements(domain, degree)
        self.space, self.points = self.elements.where, self.elements.points
        # Before there is anything that must be freed.
        self.values, self.initial_mass = self.elements.project(initial)
        has_boundary = domain.topology.dim == domain.geometry.dim
        self._flow = AttentionFlow(
            self.elements, self.attention, has_boundary and boundary == "outflow"
        )
        self._other_time: dict[str, float] = {}
        self.diffusion = Diffusion(self.elements) if temperature > 0 else None
        self._stepper, euler_steps = self._integrator()
        self._step_length = StepLength(self.elements, euler_steps, temperature, self.diffusion)
        self._density = fem.Function(self.elements.space)
        self.numbers = domain.topology.original_cell_index[: len(self.elements.integrals)]

    def _integrator(self) -> tuple[Stepper, float]:
        """What takes steps, and how much longer they may be than an Euler step of transport."""
        elements, diffusion, kappa = self.elements, self.diffusion, self.temperature
        times = self._other_time
        if diffusion is None:
            explicit = ssp.BY_DEGREE[self.degree]
            limit = timed(elements.limiter, times, "limiter")
            return partial(explicit.step, tendency=self._flow, limit=limit), explicit.coefficient

        def solve(known: Array, length: float) -> Array:
            return diffusion.solve(known, kappa * length)

        def limit_implicit(values: Array) -> bool:
            return elements.limiter.after_implicit(values, elements.comm)

        implicit = imex.BY_DEGREE[self.degree]
        stepper = partial(
            implicit.step,
            tendency=self._flow,
            stiff=lambda values: kappa * diffusion(values),
            solve=timed(solve, times, "diffusion"),
            limit=timed(limit_implicit, times, "limiter"),
        )
        return stepper, implicit.courant

    def close(self) -> None:
        """Free what Python does not: a solver with noise takes no more steps. Collective.

        The density stays, and closing again does nothing.
        """
        if self.diffusion is not None:
            self.diffusion.close()

    @property
    def attention(self) -> Attention:
        """The model at the present time; at a change, the layer that begins."""
        return self._attention.during(self.time).at(self.time)

    @property
    def flow(self) -> AttentionFlow:
        """Transport by the present model. Collective where a layer begins."""
        if self._attention.during(self.time) is not self._layer:
            self._layer = self._attention.during(self.time)
            self._flow.change(self.attention)
        return self._flow

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds spent in "attention", "residual", "limiter", and "diffusion" with noise."""
        return self._flow.wall_time | self._other_time

    @property
    def density(self) -> fem.Function:
        """The density as a DOLFINx function, ghosts updated. Collective."""
        set_values(self._density, self.values)
        return self._density

    @property
    def weights(self) -> Array:
        """Weights of the density as a measure on ``points``, ``shape=(n,)``."""
        return self.elements.measure(self.values)

    @property
    def point_numbers(self) -> Indices:
        """Numbers that sort ``points`` in one order on any number of ranks, ``shape=(n,)``."""
        per_cell = self.elements.basis.shape[0]
        first: Indices = np.asarray(self.numbers, dtype=np.int64)[:, None] * per_cell
        return (first + np.arange(per_cell)).ravel()

    @property
    def point_volumes(self) -> Array:
        """Length, area or volume that ``integral`` gives each of ``points``, ``shape=(n,)``."""
        return self.elements.quadrature.weights.ravel()

    def at(self, points: npt.ArrayLike) -> Array:
        """The density at points. Collective.

        On a sphere the mesh is off it by its error: the value is that where the ray from the origin
        through the point meets the mesh.

        Args:
            points: Points of this rank's choice, whoever owns the cells, ``shape=(m, d)``; m is
                each rank's own, 0 is allowed.

        Returns:
            Values, ``shape=(m,)``; nan at points outside of the mesh. On a border of cells, that of
            the cell with the lowest of ``numbers``.

        Raises:
            ValueError: On every rank, if points of any rank have another shape, are not real and
                finite, or, on a sphere, no unit vectors up to 1e-6.
        """
        return self._point_values(self.values, points)

    @cached_property
    def _point_values(self) -> PointValues:
        """Made when first asked for. Collective."""
        return PointValues(self.elements)

    def mass(self) -> float:
        """Integral of the density. Collective."""
        return self.elements.mass(self.values)

    def range(self) -> tuple[float, float]:
        """Smallest and largest nodal value on all ranks. Collective."""
        low, high = self.values.min(initial=np.inf), self.values.max(initial=-np.inf)
        return (
            float(self.comm.allreduce(low, op=MPI.MIN)),
            float(self.comm.allreduce(high, op=MPI.MAX)),
        )

    def entropy(self) -> float:
        """H = int rho log rho. Collective."""
        density = np.maximum(self.values @ self.elements.basis.T, 0.0)
        return self.elements.integral(xlogy(density, density))

    def integral(self, values: Array) -> float:
        """The integral over the mesh of a function given at ``points``. Collective."""
        return self.elements.integral(values.reshape(self.elements.quadrature.weights.shape))

    def arrays(self) -> dict[str, Array]:
        """What a solver of the same problem needs to go on; rows go with ``numbers``."""
        names = ("time", "steps", "refused_steps", "outflow")
        return {"values": self.values} | {name: np.array(getattr(self, name)) for name in names}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave, with this rank's rows by ``numbers``."""
        self.values = arrays["values"]
        self.time, self.outflow = float(arrays["time"]), float(arrays["outflow"])
        self.steps, self.refused_steps = int(arrays["steps"]), int(arrays["refused_steps"])

    def field(self) -> Field:
        """What attention says of the present density at the nodes of ``flow``. Collective.

        The next step starts from it: it is evaluated once.

        Raises:
            AttentionDomainError: If Z is not positive.
        """
        return self.flow.start(self.values)

    def step(self, until: float) -> None:
        """Take one time step, which ends at ``until`` or before. Collective.

        Raises:
            PositivityError: If cell means become negative however small the step.
            AttentionDomainError: If Z is not positive.
            LinearSolverError: If PETSc's solver does not converge.
            RuntimeError: With noise, after ``close``.
            StepTooSmallError: If the step that is safe is too small to go on.
        """
        until = min(until, self._attention.next_change(self.time))
        flow, field = self.flow, self.field()
        speeds, remaining = flow.speeds(field), until - self.time
        self.automatic_step = self._step_length(self.values, self.attention, field, speeds)
        allowed = self._fixed_step or self.automatic_step
        count = self._step_length.number_of_steps(remaining, allowed, speeds)
        first = flow.tendency(self.values, field)
        for _ in range(_MOST_HALVINGS):
            dt = remaining / count
            step = self._stepper(self.values, self.time, dt, first)
            mine = np.array([1.0, 0.0] if step is None else [0.0, step.outflow])
            refused, outflow = self.comm.allreduce(mine)
            if step is not None and not refused:
                self.values = step.after
                self.outflow += float(outflow)
                self.steps += 1
                self.time = until if count == 1 else self.time + dt
                return
            self.refused_steps += 1
            count *= 2
        raise PositivityError(f"cell means are negative at t = {self.time} for steps down to {dt}")
