"""Numbers that describe a measure at one time: mass, energy, entropy, moments, harmonics."""

from __future__ import annotations

import numpy as np

from meanformer.attention import Attention, Sphere, harmonics, interaction_energy
from meanformer.simulation.controller import Observer
from meanformer.simulation.state import MeasureSolver, State
from meanformer.simulation.tables import Table

HARMONICS = 8
_LARGEST_DIMENSION_OF_MOMENTS = 8
# Moments are sums of terms of order one: smaller values are their round-off, and their digits
# would depend on the number of ranks.
_ROUND_OFF = 1e-14


def describe(solver: MeasureSolver, attention: Attention) -> dict[str, float]:
    """Energy, mean, covariance and harmonics of a solver's measure. Collective.

    Args:
        solver: A measure distributed over ranks.
        attention: The model.

    Returns:
        ``energy`` (see ``interaction_energy``); ``mean_i``; ``cov_ij``, the second moments about
        the mean, i <= j; on S^2 ``harmonic_k``, the norm of the degree-k coefficients in a basis
        orthonormal for the uniform probability, over sqrt(2k + 1). All dimensionless.
    """
    points, weights, comm = solver.points, solver.weights, solver.comm
    dimension = solver.space.dimension
    row = {"energy": interaction_energy(attention, points, weights, solver.space, comm)}
    if dimension <= _LARGEST_DIMENSION_OF_MOMENTS:
        mean = comm.allreduce(weights @ points)
        centred = points - mean
        covariance = comm.allreduce((weights[:, None] * centred).T @ centred)
        row |= {f"mean_{i + 1}": _clean(mean[i]) for i in range(dimension)}
        row |= {
            f"cov_{i + 1}{j + 1}": _clean(covariance[i, j])
            for i in range(dimension)
            for j in range(i, dimension)
        }
    if solver.space == Sphere(3):
        moments = harmonics.analyse(harmonics.angles(points), weights, HARMONICS, comm)
        power = harmonics.degree_power(moments, moments, HARMONICS)
        for k in range(1, HARMONICS + 1):
            row[f"harmonic_{k}"] = _clean(np.sqrt(4 * np.pi * power[k] / (2 * k + 1)))
    return row


def _clean(value: float) -> float:
    return 0.0 if abs(value) < _ROUND_OFF else float(value)


class DensityDiagnostics(Observer):
    """Fill ``pde.csv``: one row a sample."""

    def __init__(self, table: Table) -> None:
        """Rows go to ``table``."""
        self._table = table

    def sample(self, state: State) -> None:
        """Add a row."""
        solver = state.density
        assert solver is not None
        low, high = solver.range()
        row = {"t": solver.time, "mass": solver.mass(), "min": low, "max": high}
        measured = describe(solver, state.attention)
        row["energy"] = measured.pop("energy")
        self._table.append(row | {"entropy": solver.entropy()} | measured)


class TokenDiagnostics(Observer):
    """Fill ``particles.csv``: one row a sample; point masses have no density or entropy."""

    def __init__(self, table: Table) -> None:
        """Rows go to ``table``."""
        self._table = table

    def sample(self, state: State) -> None:
        """Add a row."""
        solver = state.tokens
        assert solver is not None
        nan = float("nan")
        row = {"t": solver.time, "mass": solver.mass(), "min": nan, "max": nan}
        measured = describe(solver, state.attention)
        row["energy"] = measured.pop("energy")
        self._table.append(row | {"entropy": nan} | measured)
