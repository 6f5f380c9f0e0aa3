"""Numbers that describe a measure at one time: mass, energy, moments, harmonics."""

from __future__ import annotations

import numpy as np

from meanformer.attention import Sphere
from meanformer.attention.transforms import circle, sphere
from meanformer.simulation.observers.columns import Observed, Part, Row, alone
from meanformer.solvers import MeasureSolver, WeightedPoints

HARMONICS = 8
_LARGEST_DIMENSION_OF_MOMENTS = 8
# Values below this share of a sum's terms are round-off, whose digits would depend on the number of
# ranks.
_ROUND_OFF = 1e-14


def moments(solver: WeightedPoints) -> Row:
    """Mean and covariance of a solver's measure, ``mean_i`` and ``cov_ij``, i <= j. Collective.

    Returns:
        ``cov_ij`` are second moments about the mean; nothing in more than 8 dimensions.
    """
    points, weights, comm = solver.points, solver.weights, solver.comm
    dimension = solver.space.dimension
    if dimension > _LARGEST_DIMENSION_OF_MOMENTS:
        return {}
    mass, mean = comm.allreduce(weights.sum()), comm.allreduce(weights @ points)
    centred = points - (mean / mass if mass > 0 else 0.0)
    covariance = comm.allreduce((weights[:, None] * centred).T @ centred)
    # Lengths on the sphere are of order one; in R^d any may be.
    width = np.trace(covariance)
    scale = 1.0 if isinstance(solver.space, Sphere) else np.sqrt(mean @ mean + width)
    columns = {f"mean_{i + 1}": rounded(mean[i], scale) for i in range(dimension)}
    scale = 1.0 if isinstance(solver.space, Sphere) else width
    return columns | {
        f"cov_{i + 1}{j + 1}": rounded(covariance[i, j], scale)
        for i in range(dimension)
        for j in range(i, dimension)
    }


def harmonics(solver: WeightedPoints) -> Row:
    """``harmonic_k`` of a solver's measure on S^1 and S^2; nothing elsewhere. Collective.

    Returns:
        The norm of the degree-k coefficients in a basis orthonormal for the uniform probability,
        over the square root of their number, 2 or 2k + 1.
    """
    points, weights, comm = solver.points, solver.weights, solver.comm
    if solver.space == Sphere(2):
        # sqrt(2) cos and sqrt(2) sin are orthonormal, and two.
        sizes = abs(circle.analyse(circle.angles(points), weights, HARMONICS, comm))
    elif solver.space == Sphere(3):
        coefficients = sphere.analyse(sphere.angles(points), weights, HARMONICS, comm)
        power = sphere.degree_power(coefficients, coefficients, HARMONICS)
        sizes = np.sqrt(4 * np.pi * power / (2 * np.arange(HARMONICS + 1) + 1))
    else:
        return {}
    return {f"harmonic_{k}": rounded(sizes[k]) for k in range(1, HARMONICS + 1)}


def rounded(value: float, scale: float = 1.0) -> float:
    """0 for what is nothing but the round-off of a sum of terms of a size."""
    return 0.0 if abs(value) < _ROUND_OFF * scale else float(value)


def _energy(observed: Observed, row: Row) -> Row:
    energy = observed.energy()
    return {"energy": float("nan") if energy is None else energy.value()}


TIME = Part[Observed[MeasureSolver]]({"t": "time"}, alone(lambda solver: {"t": solver.time}))
MASS = Part[Observed[MeasureSolver]](
    {"mass": r"$\int d\mu$, which stays 1 but for what leaves through a boundary"},
    alone(lambda solver: {"mass": solver.mass()}),
)
RANGE = {
    "min, max": "smallest and largest nodal value of the density, per unit length, area or volume; "
    "empty for tokens"
}
ENERGY = Part[Observed[MeasureSolver]](
    {
        "energy": "the interaction energy of the law, see below; empty for a law that has none, "
        "for causal attention, beside a prompt, and in rescaled variables"
    },
    _energy,
)
ENTROPY = {"entropy": r"$\int \rho\log\rho$; empty for tokens"}
MOMENTS = Part[Observed[MeasureSolver]](
    {
        "mean_i": r"$\int x_i\,d\mu$",
        "cov_ij": r"second moments about the mean, $i \le j$",
    },
    alone(moments),
)
HARMONIC = Part[Observed[MeasureSolver]](
    {
        "harmonic_k": r"on $S^1$ and $S^2$, k = 1..8: $(\iint P_k(\langle x,y\rangle)\,"
        r"\mu(dx)\mu(dy))^{1/2}$ ($\cos k\theta$ in place of $P_k$ on the circle): the norm of "
        "the degree-k coefficients in a basis orthonormal for the uniform probability, over the "
        "square root of their number, $2k+1$ or 2"
    },
    alone(harmonics),
)
