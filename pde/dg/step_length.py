"""The longest step of a density that is safe for transport, and that its integrator resolves."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Field, Sphere
from meanformer.attention.variance import largest_variance
from meanformer.integrators.steps import StepTooSmallError, equal_steps
from meanformer.pde.dg.diffusion import Diffusion
from meanformer.pde.dg.elements import Elements

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
# The sphere's third harmonics decay at this rate in units of kappa, and in R^d the sixth Hermite
# functions in units of kappa / variance.
_RATE_OF_DIFFUSION = 12.0


class StepLength:
    """The longest safe step of an integrator.

    Args:
        elements: The density's elements, of degree p.
        euler_steps: The integrator's longest step relative to that of an Euler step of transport.
        temperature: kappa.
        diffusion: The operator Lap; None without noise.
    """

    def __init__(
        self,
        elements: Elements,
        euler_steps: float,
        temperature: float,
        diffusion: Diffusion | None,
    ) -> None:
        self._elements = elements
        self._temperature, self._diffusion = temperature, diffusion
        stable = _STABLE_COURANT if diffusion is None else _STABLE_COURANT_WITH_NOISE
        degree = elements.degree
        courant = min(euler_steps * _POSITIVE_COURANT[degree], stable[degree])
        self._courant_length = _SAFETY * courant * elements.heights()

    def __call__(self, values: Array, attention: Attention, field: Field, speeds: Array) -> float:
        """The longest step from a density, infinite where nothing moves. Collective.

        Args:
            values: The density, ``shape=(cells, n)``.
            attention: The present model.
            field: What it says of the density.
            speeds: Largest speed in each cell, ``shape=(cells,)``.
        """
        elements = self._elements
        spread = largest_variance(
            elements.points, elements.measure(values), elements.where, elements.comm,
            attention.normalised,
        )  # fmt: skip
        rate = attention.rate_bound(field, elements.where, spread)
        rate += self._rate_of_diffusion(values)
        with np.errstate(divide="ignore"):
            safe = (self._courant_length / speeds).min(initial=np.inf)
            resolved = np.divide(_SHARE_OF_RATE, rate)
        return float(elements.comm.allreduce(min(safe, resolved), op=MPI.MIN))

    def number_of_steps(self, remaining: float, longest: float, speeds: Array) -> int:
        """See ``equal_steps``, whose error is told with a reason. Collective."""
        try:
            return equal_steps(remaining, longest)
        except StepTooSmallError as error:
            elements = self._elements
            speed = elements.comm.allreduce(float(speeds.max(initial=0.0)), op=MPI.MAX)
            reason = f"{error}; speeds reach {speed:.3g}"
            if self._diffusion is not None:
                reason += f" and kappa is {self._temperature:g}"
            elif not isinstance(elements.where, Sphere):
                reason += ", perhaps where there is no mass: a smaller mesh would not go there"
            raise StepTooSmallError(reason) from None

    def _rate_of_diffusion(self, values: Array) -> float:
        """The rate at which diffusion changes a density, from int |grad rho|^2 / int rho^2.

        That is d/(2 s) for a normal distribution of variance s. Collective.
        """
        if self._diffusion is None:
            return 0.0
        elements = self._elements
        density, curved = (v @ elements.basis.T for v in (values, self._diffusion(values)))
        roughness, size = -elements.integral(density * curved), elements.integral(density**2)
        steepness = max(2 / elements.domain.topology.dim * roughness / size, 0.0)
        if isinstance(elements.where, Sphere):
            steepness = max(steepness, 1.0)  # of perturbations of the uniform density
        return float(_RATE_OF_DIFFUSION * self._temperature * steepness)
