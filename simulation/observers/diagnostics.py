"""Numbers that describe a measure at one time: mass, energy, entropy, moments, harmonics."""

from __future__ import annotations

import numpy as np

from meanformer.attention import Model, Sphere, interaction_energy
from meanformer.attention.energy import ENERGETIC
from meanformer.attention.transforms import sphere as harmonics
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.solvers import MeasureSolver, WeightedPoints

HARMONICS = 8
_LARGEST_DIMENSION_OF_MOMENTS = 8
# Of the terms of a sum: smaller values are their round-off, and their digits would depend on the
# number of ranks.
_ROUND_OFF = 1e-14


def row(
    solver: MeasureSolver, model: Model, low: float, high: float, entropy: float
) -> dict[str, float]:
    """A row of diagnostics. Collective.

    Args:
        solver: A measure distributed over ranks.
        model: The attention as a function of time.
        low: Smallest value of the density; nan if there is none.
        high: Largest value of the density; nan if there is none.
        entropy: Its entropy; nan if there is none.

    Returns:
        ``t``, ``mass``, ``min``, ``max``, ``energy`` (see ``energy``), ``entropy``, then the
        columns of ``moments``.
    """
    numbers = {"t": solver.time, "mass": solver.mass(), "min": low, "max": high}
    return numbers | {"energy": energy(solver, model), "entropy": entropy} | moments(solver)


def energy(solver: MeasureSolver, model: Model) -> float:
    """The interaction energy of a solver's measure, for the attention at its time. Collective.

    Returns:
        ``interaction_energy``; nan for a law that has none. Where the attention changes at this
        very time, it is that of the layer that begins.
    """
    attention = model.during(solver.time).at(solver.time)
    if attention.law not in ENERGETIC:
        return float("nan")
    return interaction_energy(attention, solver.points, solver.weights, solver.space, solver.comm)


def moments(solver: WeightedPoints) -> dict[str, float]:
    """Mean, covariance and harmonics of a solver's measure. Collective.

    Returns:
        ``mean_i``; ``cov_ij``, the second moments about the mean, i <= j; on S^1 and S^2
        ``harmonic_k``, the norm of the degree-k coefficients in a basis orthonormal for the uniform
        probability, over the square root of their number, 2 or 2k + 1. All dimensionless.
    """
    points, weights, comm = solver.points, solver.weights, solver.comm
    dimension = solver.space.dimension
    columns: dict[str, float] = {}
    if dimension <= _LARGEST_DIMENSION_OF_MOMENTS:
        mass, mean = comm.allreduce(weights.sum()), comm.allreduce(weights @ points)
        centred = points - (mean / mass if mass > 0 else 0.0)
        covariance = comm.allreduce((weights[:, None] * centred).T @ centred)
        # Lengths on the sphere are of order one; in R^d any may be.
        width = np.trace(covariance)
        scale = 1.0 if isinstance(solver.space, Sphere) else np.sqrt(mean @ mean + width)
        columns |= {f"mean_{i + 1}": _rounded(mean[i], scale) for i in range(dimension)}
        scale = 1.0 if isinstance(solver.space, Sphere) else width
        columns |= {
            f"cov_{i + 1}{j + 1}": _rounded(covariance[i, j], scale)
            for i in range(dimension)
            for j in range(i, dimension)
        }
    if solver.space == Sphere(3):
        coefficients = harmonics.analyse(harmonics.angles(points), weights, HARMONICS, comm)
        power = harmonics.degree_power(coefficients, coefficients, HARMONICS)
        columns |= {
            f"harmonic_{k}": _rounded(np.sqrt(4 * np.pi * power[k] / (2 * k + 1)))
            for k in range(1, HARMONICS + 1)
        }
    if solver.space == Sphere(2):
        # sqrt(2) cos and sqrt(2) sin are orthonormal, and two.
        turns = np.multiply.outer(np.arange(1, HARMONICS + 1), np.arctan2(*points.T[::-1]))
        waves = comm.allreduce(np.exp(1j * turns) @ weights)
        columns |= {f"harmonic_{k}": _rounded(abs(waves[k - 1])) for k in range(1, HARMONICS + 1)}
    return columns


def _rounded(value: float, scale: float = 1.0) -> float:
    """0 for what is nothing but the round-off of a sum of terms of a size."""
    return 0.0 if abs(value) < _ROUND_OFF * scale else float(value)


class TokenDiagnostics(Observer):
    """Fill ``particles.csv``: one row a sample; point masses have no density or entropy."""

    def __init__(self, table: Table) -> None:
        """Rows go to ``table``."""
        self._table = table

    def sample(self, state: State) -> None:
        """Add a row."""
        assert state.tokens is not None
        nan = float("nan")
        self._table.append(row(state.tokens, state.attention, nan, nan, nan))
