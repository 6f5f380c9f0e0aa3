r"""Stationary densities with noise: kappa Lap rho = div(rho v[rho]).

Newton's method with GMRES for the equation times (alpha - kappa Lap)^{-1}, which leaves a compact
operator beside the identity: a few dozen directions suffice on any mesh. The mass, which the
equation does not determine, is that of the start.

Where rotations of a stationary density are stationary, too (see ``rotations``), the density is
stationary in a frame that turns: the rates of turning are unknowns, and the density may not turn
from where it starts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import AttentionDomainError
from meanformer.pde.dg.diffusion import LinearSolverError
from meanformer.pde.dg.resolution import LARGEST_SHARE, Resolution
from meanformer.pde.dg.solver import DensitySolver
from meanformer.pde.steady.rotations import Rotations

#: Prefix of this solver's entries in PETSc's options database, such as ``-steady_snes_monitor``.
PREFIX = "steady_"
_MOST_ITERATIONS = 50
_DIRECTIONS = 100
# GMRES need not solve better than the next step of Newton's method can use.
_REDUCTION = 1e-4


class SteadyStateError(ArithmeticError):
    """No stationary density was found."""


@dataclass(frozen=True)
class SteadyState:
    """How a stationary density was found.

    Attributes:
        residual: The integral of |d_t rho|, but for rotations: the mass that would move.
        turning: The same of the rotations alone, by which the mesh turns the density.
        iterations: Newton's steps, or time steps.
        resolution: Share of the mass in cells that do not resolve it (``pde.dg.resolution``): the
            equation may be solved to round-off, and its solution be wrong.
    """

    residual: float
    turning: float
    iterations: int
    resolution: float


def _found(solver: DensitySolver, size: float, turning: float, iterations: int) -> SteadyState:
    """The result, with a warning on rank 0 if the mesh does not resolve the density. Collective."""
    share = Resolution(solver.elements, solver.temperature > 0)(solver.values)
    if share > LARGEST_SHARE and solver.comm.rank == 0:
        message = f"the mesh does not resolve {share:.0%} of the mass of the stationary density"
        warnings.warn(f"{message}; a finer one would change it", stacklevel=3)
    return SteadyState(size, turning, iterations, share)


def _size(solver: DensitySolver, values: Array) -> float:
    """The integral of |f|. Collective."""
    return solver.elements.integral(np.abs(values @ solver.elements.basis.T))


def tendency(solver: DensitySolver, values: Array) -> Array:
    """-div(rho v[rho]) + kappa Lap rho, ``shape=(cells, n)``. Collective."""
    flow = solver.flow
    field = solver.field() if values is solver.values else flow.velocity(values)
    rate = flow.tendency(values, field).change
    if solver.diffusion is not None:
        rate += solver.temperature * solver.diffusion(values)
    return rate


def residual(solver: DensitySolver, values: Array) -> float:
    """The integral of |d_t rho|, but for rotations, per unit of time. Collective."""
    rate = tendency(solver, values)
    return _size(solver, rate - Rotations(solver, values).part(rate))


def march(solver: DensitySolver, tolerance: float, longest: float) -> SteadyState:
    """Take time steps until the density is stationary. Collective.

    Warns on rank 0 if the mesh does not resolve it.

    Args:
        solver: Holds the density; moved in time.
        tolerance: Of ``residual``.
        longest: Time after which to give up.

    Raises:
        SteadyStateError: If the residual is larger by then.
    """
    end, before = solver.time + longest, solver.steps
    while (size := residual(solver, solver.values)) > tolerance:
        if solver.time >= end:
            raise SteadyStateError(
                f"the residual is {size:.3g} after a time of {longest:g}, not {tolerance:g}"
            )
        solver.step(end)
    turns = Rotations(solver, solver.values).part(tendency(solver, solver.values))
    return _found(solver, size, _size(solver, turns), solver.steps - before)


def newton(solver: DensitySolver, tolerance: float = 1e-9) -> SteadyState:
    """Replace the density by a stationary one of its mass, found from it. Collective.

    The time stays. Start near enough: where ``march`` has led, or at a guess of the right shape.
    Warns on rank 0 if the mesh does not resolve the density found.

    Args:
        solver: With noise; its ``values`` are set.
        tolerance: Of ``residual``.

    Raises:
        ValueError: If there is no noise, or mass leaves through a boundary.
        SteadyStateError: On every rank, if Newton's method does not converge, or ends at a density
            that is negative somewhere; the solver's density is as it was.
        RuntimeError: If the solver is closed.
    """
    if solver.diffusion is None:
        raise ValueError("newton: there must be noise; temperature is 0")
    solver.diffusion.must_be_open()
    if solver.flow.open_boundary:
        raise ValueError("newton: mass leaves through the boundary; it must be 'no-flux'")
    problem = _Problem(solver)
    snes = PETSc.SNES().create(solver.comm)
    unknown, right = problem.vector(), problem.vector()
    unknown.array[: solver.values.size] = solver.values.ravel()
    snes.setOptionsPrefix(PREFIX)
    snes.setFunction(problem.function, right)
    snes.setUseMF(True)
    linear = snes.getKSP()
    linear.setType("gmres")
    linear.setGMRESRestart(_DIRECTIONS)
    linear.setTolerances(rtol=_REDUCTION, max_it=_DIRECTIONS)
    linear.getPC().setType("none")
    snes.setTolerances(atol=0.0, rtol=0.0, stol=0.0, max_it=_MOST_ITERATIONS)
    snes.setMaxKSPFailures(_MOST_ITERATIONS)
    snes.setConvergenceTest(problem.test, kargs={"tolerance": tolerance})
    snes.setFromOptions()
    try:
        snes.solve(None, unknown)
        reason, iterations = snes.getConvergedReason(), snes.getIterationNumber()
        if reason <= 0:
            raise SteadyStateError(
                f"newton: no convergence (PETSc reason {reason}) in {iterations} steps; start "
                "nearer, or march first"
            ) from problem.error
        values, rest, turns = problem.equation(unknown)
        values = values.copy()
    finally:
        for each in (snes, unknown, right):
            each.destroy()
    size = _size(solver, rest)
    if solver.comm.allreduce(solver.elements.limiter(values)):
        raise SteadyStateError("newton: the stationary density has a negative mean on a cell")
    solver.values = values * (solver.mass() / solver.elements.mass(values))
    return _found(solver, size, _size(solver, turns), iterations)


class _Problem:
    """The equation for a density and its rates of turning, as PETSc calls it.

    The rates come last, on rank 0.
    """

    def __init__(self, solver: DensitySolver) -> None:
        self._solver, self._start = solver, solver.values
        # Rates of attention are of the order of one, or of kappa.
        self._rate = 1.0 + solver.temperature
        self._rotations = Rotations(solver, solver.values)
        self.error: ArithmeticError | None = None

    def vector(self) -> Any:
        """A vector of unknowns, zero."""
        solver = self._solver
        turns = len(self._rotations.directions) if solver.comm.rank == 0 else 0
        return PETSc.Vec().createMPI((self._start.size + turns, None), comm=solver.comm)

    def equation(self, unknown: Any) -> tuple[Array, Array, Array]:
        """The density, its tendency in the turning frame, and what the frame takes away."""
        array, count = unknown.array_r, self._start.size
        rates = self._solver.comm.bcast(array[count:])
        values = array[:count].reshape(self._start.shape)
        turns = self._rotations.combine(rates)
        return values, tendency(self._solver, values) - turns, turns

    def function(self, snes: Any, unknown: Any, result: Any) -> None:
        """Set (alpha - kappa Lap)^{-1} of the tendency, and how far the density has turned."""
        solver = self._solver
        assert solver.diffusion is not None
        try:
            values, rest, _ = self.equation(unknown)
            smooth = solver.diffusion.solve(rest, solver.temperature / self._rate)
        except (AttentionDomainError, LinearSolverError) as error:
            # On every rank; of too long a step, which PETSc halves at this.
            self.error = error
            result.set(np.inf)
            return
        moved = values - self._start
        turned = self._rotations.components(moved)
        # The equation keeps the mass up to the round-off of differences only.
        gained = solver.elements.mass(moved) * self._start
        result.array[: values.size] = (smooth / self._rate + gained).ravel()
        result.array[values.size :] = turned[: len(result.array) - values.size]

    def test(
        self, snes: Any, iteration: int, norms: tuple[float, float, float], *, tolerance: float
    ) -> int:
        """PETSc's reason to stop, by |d_t rho| and turns of the density in place of its norms."""
        values, rest, _ = self.equation(snes.getSolution())
        turned = self._rotations.components(values - self._start)
        size = _size(self._solver, rest) + float(np.abs(turned).sum())
        reasons = PETSc.SNES.ConvergedReason
        if size <= tolerance:
            return int(reasons.CONVERGED_FNORM_ABS)
        if iteration >= _MOST_ITERATIONS:
            return int(reasons.DIVERGED_MAX_IT)
        return int(reasons.ITERATING)
