"""The Wasserstein distance W1 on S^2 by exact optimal transport between subsamples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import ot

from meanformer.coupling.sampling import sample_density
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver

Array = npt.NDArray[np.float64]

#: Points on either side of the transport problem.
SUBSAMPLE = 500
_SEEDS = (0, 1)


class Wasserstein(NamedTuple):
    """A distance between subsamples and what sampling alone makes of it.

    Attributes:
        distance: W1 between tokens and a sample of the density, geodesic cost, in radians.
        noise: W1 between two independent samples of the density, of the same size.
        subsample: Points on either side.
    """

    distance: float
    noise: float
    subsample: int


def geodesic_w1(first: Array, second: Array) -> float:
    """Exact W1 between two point sets with equal weights, unit vectors, ``shape=(n, 3)``."""
    # 2 asin(|x - y|/2) is accurate at small angles, where acos <x, y> is not.
    chords = np.linalg.norm(first[:, None] - second[None], axis=-1)
    cost = 2 * np.arcsin(np.minimum(chords / 2, 1.0))
    return float(ot.emd2([], [], cost))


def wasserstein(density: DensitySolver, tokens: TokenSolver) -> Wasserstein:
    """W1 between the first tokens (500 at most) and as many samples of the density. Collective.

    Tokens are independent and identically distributed at the start, so the first ones stand for
    all. The same random stream is used at every time: curves are smooth in time.
    """
    comm = density.comm
    size = min(SUBSAMPLE, tokens.number)
    ahead = comm.exscan(len(tokens.points)) or 0
    gathered = comm.gather(tokens.points[: max(0, size - ahead)])
    samples = [sample_density(density, size, seed) for seed in _SEEDS]
    result = None
    if gathered is not None:
        result = (
            geodesic_w1(np.concatenate(gathered), samples[0]),
            geodesic_w1(samples[1], samples[0]),
        )
    distance, noise = comm.bcast(result)
    return Wasserstein(distance, noise, size)
