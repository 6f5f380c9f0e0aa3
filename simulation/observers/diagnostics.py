"""Numbers that describe measures at one time: mass, energy, moments, harmonics."""

from __future__ import annotations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Sphere
from meanformer.attention.transforms import circle, sphere
from meanformer.attention.transforms.several import of_circle, of_sphere
from meanformer.simulation.observers.columns import Measures, Observed, Part, Row, alone
from meanformer.solvers import MeasureSolver

HARMONICS = 8
_LARGEST_DIMENSION_OF_MOMENTS = 8
# Values below this share of a sum's terms are round-off, whose digits would depend on the number of
# ranks.
_ROUND_OFF = 1e-14


def moments(measures: Measures) -> Row:
    """Means and covariances of measures, ``mean_i`` and ``cov_ij``, i <= j. Collective.

    Returns:
        ``cov_ij`` are second moments about the mean; nothing in more than 8 dimensions.
    """
    points, weights, space, comm = measures
    if space.dimension > _LARGEST_DIMENSION_OF_MOMENTS:
        return {}
    masses = comm.allreduce(weights.sum(axis=1))[:, None]
    means = comm.allreduce((weights[:, None] @ points)[:, 0])
    centres = np.divide(means, masses, out=np.zeros_like(means), where=masses > 0)
    centred = points - centres[:, None]
    covariances = comm.allreduce((weights[..., None] * centred).swapaxes(1, 2) @ centred)
    # Lengths on the sphere are of order one; in R^d any may be.
    widths = np.trace(covariances, axis1=1, axis2=2)
    lengths = np.sqrt((means**2).sum(axis=1) + widths)
    if isinstance(space, Sphere):
        widths = lengths = np.ones_like(widths)
    axes = range(space.dimension)
    columns: Row = {f"mean_{i + 1}": rounded(means[:, i], lengths) for i in axes}
    return columns | {
        f"cov_{i + 1}{j + 1}": rounded(covariances[:, i, j], widths) for i in axes for j in axes[i:]
    }


def harmonics(measures: Measures) -> Row:
    """``harmonic_k`` of measures on S^1 and S^2; nothing elsewhere. Collective.

    Returns:
        The norm of the degree-k coefficients in a basis orthonormal for the uniform probability,
        over the square root of their number, 2 or 2k + 1.
    """
    points, weights, space, comm = measures
    several = len(points) != 1
    if space == Sphere(2):
        # sqrt(2) cos and sqrt(2) sin are orthonormal, and two.
        if several:
            sizes = of_circle(points, weights, HARMONICS)
        else:
            own = circle.analyse(circle.angles(points[0]), weights[0], HARMONICS, comm)
            sizes = np.abs(own)[None]
    elif space == Sphere(3):
        if several:
            powers = of_sphere(points, weights, HARMONICS)
        else:
            own = sphere.analyse(sphere.angles(points[0]), weights[0], HARMONICS, comm)
            powers = sphere.degree_power(own, own, HARMONICS)[None]
        sizes = np.sqrt(4 * np.pi * powers / (2 * np.arange(HARMONICS + 1) + 1))
    else:
        return {}
    return {f"harmonic_{k}": rounded(sizes[:, k]) for k in range(1, HARMONICS + 1)}


def rounded(values: Array, scale: Array | float = 1.0) -> Array:
    """0 for what is nothing but the round-off of a sum of terms of a size."""
    return np.where(np.abs(values) < _ROUND_OFF * scale, 0.0, values)


def _energy(observed: Observed, row: Row) -> Row:
    energy = observed.energy()
    return {"energy": float("nan") if energy is None else energy.values()}


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
    lambda observed, row: moments(observed.measures),
)
HARMONIC = Part[Observed[MeasureSolver]](
    {
        "harmonic_k": r"on $S^1$ and $S^2$, k = 1..8: $(\iint P_k(\langle x,y\rangle)\,"
        r"\mu(dx)\mu(dy))^{1/2}$ ($\cos k\theta$ in place of $P_k$ on the circle): the norm of "
        "the degree-k coefficients in a basis orthonormal for the uniform probability, over the "
        "square root of their number, $2k+1$ or 2"
    },
    lambda observed, row: harmonics(observed.measures),
)
