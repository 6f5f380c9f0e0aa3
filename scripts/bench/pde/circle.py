r"""The peer of the density solver: transport on the circle by finite differences, and the truth.

With unnormalised attention the density rho of angles follows

    d_t rho + d_theta (rho v) = 0,    v(theta) = int sin(phi - theta) e^{beta cos(phi - theta)} rho,

a convolution, which a Fourier transform does on equal grids.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft

from meanformer.arrays import Array
from meanformer.integrators.explicit import RK4
from meanformer.integrators.stepper import Rate

#: Whose density it is: of our solver, in as few steps as do, of the peer, and ours again.
OURS, PEER, OWN_STEPS = "ours", "Lax-Friedrichs", "ours, own steps"
BETA = 5.0
END = 0.5
# Modes 2 to 4 grow like e^{14 t} or faster: a density that is far from uniform would collapse to a
# point long before the end. There, this one has a peak of 4.4 times its mean.
_AMPLITUDE, _CENTRE = 0.02, 0.3


def initial_density(angles: Array) -> Array:
    """The density at t = 0 by the angle, of mass one."""
    return np.multiply(1 + _AMPLITUDE * np.cos(angles - _CENTRE), 0.5 / np.pi)


def equal_angles(size: int) -> Array:
    """theta_j = 2 pi j / n, ``shape=(n,)``."""
    return np.multiply(2 * np.pi / size, np.arange(size))


def velocity_on(size: int) -> Callable[[Array], Array]:
    """From rho to v on the equal grid of n angles, ``shape=(n,)`` both, by Fourier transforms."""
    angles = equal_angles(size)
    kernel = -np.sin(angles) * np.exp(BETA * np.cos(angles))
    factors = fft.rfft(kernel) * (2 * np.pi / size)

    def velocity(density: Array) -> Array:
        return fft.irfft(fft.rfft(density) * factors, size)

    return velocity


class Solution(NamedTuple):
    """The density at the end.

    Attributes:
        coefficients: Of its Fourier series, up to half of the grid's frequencies.
        largest_speed: Of all times.
    """

    coefficients: npt.NDArray[np.complex128]
    largest_speed: float

    def density(self, angles: Array) -> Array:
        """At any angles, ``shape=(n,)``."""
        modes = np.arange(len(self.coefficients))
        doubled = np.where(modes == 0, 1, 2) * self.coefficients
        return (np.exp(1j * np.outer(angles, modes)) @ doubled).real


@cache
def fourier_solution(size: int = 512, steps: int = 2000) -> Solution:
    """The solution by a Fourier pseudo-spectral method on ``size`` angles, and Runge's in time."""
    velocity = velocity_on(size)
    derivative = 1j * np.arange(size // 2 + 1)
    step = END / steps

    def rate(density: Array, time: float) -> Rate:
        return Rate(fft.irfft(-derivative * fft.rfft(density * velocity(density)), size))

    density = initial_density(equal_angles(size))
    largest = 0.0
    for _ in range(steps):
        density = RK4.step(density, 0.0, step, rate(density, 0.0), tendency=rate).after
        largest = max(largest, float(np.abs(velocity(density)).max()))
    return Solution(fft.rfft(density)[:-1] / size, largest)


class LaxFriedrichs:
    """The first-order scheme of Lax and Friedrichs on n equal cells.

    With h their width and f = rho v,

        rho_j <- (rho_{j-1} + rho_{j+1}) / 2 - dt / (2 h) (f_{j+1} - f_{j-1}).

    Steps are the longest that are stable at all times, dt = h / max |v|. (Longer ones early on,
    where speeds are low, cost as much accuracy as coarser cells that save as much time.)

    Args:
        size: n.
        largest_speed: max |v| of all times.

    Attributes:
        angles: Where the density is, ``shape=(n,)``.
        steps: Steps to the end.
    """

    def __init__(self, size: int, largest_speed: float) -> None:
        width = 2 * np.pi / size
        self.angles = equal_angles(size)
        self.steps = int(np.ceil(END * largest_speed / width))
        self._half_courant = END / self.steps / (2 * width)
        self._velocity = velocity_on(size)
        # With the neighbours of the ends.
        self._density, self._flux = np.empty(size + 2), np.empty(size + 2)

    def solve(self) -> Array:
        """The density at the end, ``shape=(n,)``."""
        padded, flux = self._density, self._flux
        density, change = initial_density(self.angles), np.empty(len(self.angles))
        for _ in range(self.steps):
            padded[1:-1] = density
            np.multiply(density, self._velocity(density), out=flux[1:-1])
            for array in (padded, flux):
                array[0], array[-1] = array[-2], array[1]
            np.subtract(flux[2:], flux[:-2], out=change)
            change *= self._half_courant
            np.add(padded[2:], padded[:-2], out=density)
            density *= 0.5
            density -= change
        return density
