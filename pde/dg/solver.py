"""The density solver: nonlocal transport and diffusion by discontinuous Galerkin elements."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, get_args

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh
from scipy.special import xlogy

from meanformer.arrays import Array, Indices
from meanformer.attention import Attention, Field, Model, Sphere
from meanformer.attention.variance import largest_variance
from meanformer.errors import SolverError
from meanformer.integrators import imex, ssp
from meanformer.integrators.steps import StepTooSmallError, equal_steps
from meanformer.pde.dg.diffusion import Diffusion
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.flow import AttentionFlow
from meanformer.pde.dg.forms import set_values
from meanformer.pde.dg.steppers import ExplicitStepper, ImexStepper
from meanformer.pde.initial import InitialDensity
from meanformer.pde.point_values import PointValues

Boundary = Literal["outflow", "no-flux"]

# Weights of the facet points in a quadrature with positive weights that gives the cell mean
# (Zhang, Xia, Shu, J. Sci. Comput. 50, 2012): an Euler step keeps cell means non-negative if
# dt |v| |F| / |K| does not exceed 2/3 of the first Gauss-Lobatto weight, on triangles and, with
# room to spare, on intervals. On tetrahedra it is no proof: steps that fail are halved anywhere.
_POSITIVE_COURANT = {0: 1 / 3, 1: 1 / 3, 2: 1 / 9, 3: 1 / 9}
# Above these dt |v| |F| / |K| upwind elements of degree p on a uniform line are unstable, without
# noise and with it (for the explicit part alone).
_STABLE_COURANT = {0: 1.0, 1: 0.333, 2: 0.306, 3: 0.451}
_STABLE_COURANT_WITH_NOISE = {1: 0.409, 2: 0.308, 3: 0.191}
_SAFETY = 0.9
# Near a steady state velocities are small and transport allows any step: the growth of
# perturbations, at rates below |Dv|, then sets the scale of time.
_SHARE_OF_RATE = 0.25
# Of the sphere's third harmonics, and of the sixth Hermite functions in R^d, by kappa / variance.
_RATE_OF_DIFFUSION = 12.0
_MOST_HALVINGS = 12


class PositivityError(SolverError):
    """No step, however small, keeps the cell means non-negative."""


class DensitySolver:
    """Solve d_t rho + div(rho v[rho]) = kappa Lap rho, with v the velocity of attention.

    Upwind discontinuous Galerkin elements of degree p with a positivity limiter. Without noise, an
    SSP Runge-Kutta scheme of order p + 1; with it, symmetric interior penalty and an
    implicit-explicit Runge-Kutta scheme of order 2 (p = 1) or 3. The velocity is interpolated in
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
            the model changes smoothly.
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
        if not isinstance(attention.during(0.0), Attention):
            raise ValueError("attention must be constant between its changes")
        self.comm: MPI.Intracomm = domain.comm
        self.degree, self.temperature = degree, temperature
        self.time, self.steps, self.outflow = 0.0, 0, 0.0
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
        self._stepper: ExplicitStepper | ImexStepper
        if temperature > 0:
            self.diffusion: Diffusion | None = Diffusion(self.elements)
            self._stepper = ImexStepper(
                self.elements, self._flow, self.diffusion, temperature, imex.BY_DEGREE[degree]
            )
            longest, stable = self._stepper.scheme.courant, _STABLE_COURANT_WITH_NOISE[degree]
        else:
            self.diffusion = None
            self._stepper = ExplicitStepper(self.elements, self._flow, ssp.BY_DEGREE[degree])
            longest, stable = self._stepper.scheme.coefficient, _STABLE_COURANT[degree]
        heights = self.elements.heights()
        courant = min(longest * _POSITIVE_COURANT[degree], stable)
        self._courant_length = _SAFETY * courant * heights
        self._density = fem.Function(self.elements.space)
        self.numbers = domain.topology.original_cell_index[: len(self.elements.integrals)]

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
        return self._flow.wall_time | self._stepper.wall_time

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
        numbers = {"time": self.time, "steps": self.steps, "outflow": self.outflow}
        return {"values": self.values} | {name: np.array(n) for name, n in numbers.items()}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave, with this rank's rows by ``numbers``."""
        self.values = arrays["values"]
        self.time, self.outflow = float(arrays["time"]), float(arrays["outflow"])
        self.steps = int(arrays["steps"])

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
        start, until = self.values, min(until, self._attention.next_change(self.time))
        flow, field = self.flow, self.field()
        remaining = until - self.time
        count = self._number_of_steps(remaining, field)
        for _ in range(_MOST_HALVINGS):
            dt = remaining / count
            values = self._stepper(start, dt)
            if values is not None:
                self.values = values
                self.outflow += self._stepper.outflow
                self.steps += 1
                self.time = until if count == 1 else self.time + dt
                return
            count *= 2
            flow.update(start)
        raise PositivityError(f"cell means are negative at t = {self.time} for steps down to {dt}")

    def _number_of_steps(self, remaining: float, field: Field) -> int:
        """Equal steps that cover an interval, none longer than allowed. Collective."""
        self.automatic_step = self._largest_safe_step(field)
        try:
            return equal_steps(remaining, self._fixed_step or self.automatic_step)
        except StepTooSmallError as error:
            speed = float(self._flow.speeds().max(initial=0.0))
            speed = self.comm.allreduce(speed, op=MPI.MAX)
            reason = f"{error}; speeds reach {speed:.3g}"
            if self.diffusion is not None:
                reason += f" and kappa is {self.temperature:g}"
            elif not isinstance(self.space, Sphere):
                reason += ", perhaps where there is no mass: a smaller mesh would not go there"
            raise StepTooSmallError(reason) from None

    def _largest_safe_step(self, field: Field) -> float:
        """The largest step that is safe for transport and resolves the dynamics. Collective."""
        attention, where = self.attention, self.space
        spread = largest_variance(self.points, self.weights, where, self.comm, attention.normalised)
        rate = attention.rate_bound(field, spread) + self._rate_of_diffusion()
        with np.errstate(divide="ignore"):
            safe = (self._courant_length / self._flow.speeds()).min(initial=np.inf)
            resolved = np.divide(_SHARE_OF_RATE, rate)
        return float(self.comm.allreduce(min(safe, resolved), op=MPI.MIN))

    def _rate_of_diffusion(self) -> float:
        """The rate at which diffusion changes the density, from int |grad rho|^2 / int rho^2.

        That is d/(2 s) for a normal distribution of variance s. Collective.
        """
        if self.diffusion is None:
            return 0.0
        elements = self.elements
        density, curved = (v @ elements.basis.T for v in (self.values, self.diffusion(self.values)))
        weights = elements.quadrature.weights
        mine = np.array([-(weights * density * curved).sum(), (weights * density**2).sum()])
        roughness, size = self.comm.allreduce(mine)
        steepness = max(2 / elements.domain.topology.dim * roughness / size, 0.0)
        if isinstance(self.space, Sphere):
            steepness = max(steepness, 1.0)  # of perturbations of the uniform density
        return float(_RATE_OF_DIFFUSION * self.temperature * steepness)
