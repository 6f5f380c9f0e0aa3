"""One time step of a density: explicit without noise, implicit-explicit with it."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from meanformer.arrays import Array
from meanformer.integrators.imex import ImexScheme
from meanformer.integrators.ssp import SSPScheme
from meanformer.pde.dg.diffusion import Diffusion
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.flow import AttentionFlow

# Implicit steps may leave so much of the mass below zero in cell means, far below any accuracy.
_LARGEST_BELOW_ZERO = 1e-4


class ExplicitStepper:
    """Strong-stability-preserving steps: limited Euler steps of transport, and their means.

    Attributes:
        scheme: The scheme.
        wall_time: Seconds spent in the "limiter".
        outflow: Mass that left through the boundary in the last step. The same on all ranks.
    """

    def __init__(self, elements: Elements, flow: AttentionFlow, scheme: SSPScheme) -> None:
        """Steps of a flow on elements."""
        self.scheme = scheme
        self._elements, self._flow = elements, flow
        self.wall_time = {"limiter": 0.0}
        self.outflow = 0.0

    def __call__(self, start: Array, dt: float) -> Array | None:
        """One step; None if it makes a cell mean negative, or blows up. Collective."""
        negative = 0
        leaving: list[float] = []
        euler_step = dt / self.scheme.coefficient

        def euler(state: Array) -> Array:
            nonlocal negative
            moved = state + euler_step * self._flow(state)
            leaving.append(self._flow.outflow)
            began = perf_counter()
            negative += self._elements.limiter(moved)
            self.wall_time["limiter"] += perf_counter() - began
            return moved

        values = self.scheme.step(start, euler)
        rates = iter(leaving)
        # The same scheme for the mass outside, whose tendency is what leaves.
        left = self.scheme.step(np.zeros(1), lambda mass: mass + euler_step * next(rates))
        failures, self.outflow = self._elements.comm.allreduce(np.array([negative, left[0]]))
        return None if failures else values


class ImexStepper:
    """Implicit-explicit steps: explicit transport, implicit diffusion.

    Cells whose mean an implicit stage leaves below zero are emptied, and the density elsewhere is
    shrunk by as much.

    Attributes:
        scheme: The scheme.
        wall_time: Seconds spent in "diffusion" and the "limiter".
        outflow: Mass that left through the boundary in the last step. The same on all ranks.
    """

    def __init__(
        self,
        elements: Elements,
        flow: AttentionFlow,
        diffusion: Diffusion,
        temperature: float,
        scheme: ImexScheme,
    ) -> None:
        """Steps of a flow and of kappa Lap on elements."""
        self.scheme = scheme
        self._elements, self._flow = elements, flow
        self._diffusion, self._temperature = diffusion, temperature
        self.wall_time = {"diffusion": 0.0, "limiter": 0.0}
        self.outflow = 0.0

    def __call__(self, start: Array, dt: float) -> Array | None:
        """One step; None if it leaves much mass below zero, or blows up. Collective."""
        scheme, kappa = self.scheme, self._temperature
        moved = [self._flow(start)]
        leaving = [self._flow.outflow]
        diffused = [kappa * self._diffusion(start)]
        stages = range(1, len(scheme.weights))
        for i in stages:
            known = start.copy()
            for j in range(i):
                known += dt * scheme.explicit[i, j] * moved[j]
                known += dt * scheme.implicit[i, j] * diffused[j]
            began = perf_counter()
            length = dt * scheme.implicit[i, i]
            stage = self._diffusion.solve(known, kappa * length)
            self.wall_time["diffusion"] += perf_counter() - began
            diffused.append((stage - known) / length)
            if not self._keep_positive(stage):
                return None
            moved.append(self._flow(stage))
            leaving.append(self._flow.outflow)
        values = start.copy()
        for weight, transport, noise in zip(scheme.weights, moved, diffused, strict=True):
            values += dt * weight * (transport + noise)
        self.outflow = dt * float(self._elements.comm.allreduce(scheme.weights @ leaving))
        return values if self._keep_positive(values) else None

    def _keep_positive(self, values: Array) -> bool:
        """Make a density non-negative in place; whether little was below zero. Collective."""
        began = perf_counter()
        comm, limiter = self._elements.comm, self._elements.limiter
        below = limiter.empty_negative_cells(values, comm)
        fine = below <= _LARGEST_BELOW_ZERO and not comm.allreduce(limiter(values))
        self.wall_time["limiter"] += perf_counter() - began
        return fine
