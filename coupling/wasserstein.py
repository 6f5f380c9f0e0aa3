"""The Wasserstein distance W1 by exact optimal transport between subsamples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import ot

from meanformer.arrays import Array
from meanformer.attention.spaces import Space, Sphere
from meanformer.coupling.sampling import sample_density
from meanformer.solvers import Density, Tokens

#: Points on either side of the transport problem.
SUBSAMPLE = 500
_SEED = 0
_OFFSET = (np.sqrt(5) - 1) / 2


class Wasserstein(NamedTuple):
    """A distance between subsamples and what sampling alone makes of it.

    Attributes:
        distance: W1 between tokens and points that represent the density, on spheres in radians.
        noise: The same for an independent sample of the density in place of the tokens.
        subsample: Points on either side.
    """

    distance: float
    noise: float
    subsample: int


def w1(first: Array, second: Array, space: Space) -> float:
    """Exact W1 between two point sets with equal weights.

    Args:
        first: Points of the space, ``shape=(n, d)``.
        second: As many.
        space: Its distances are those along great circles on a sphere, and |x - y| in R^d.
    """
    cost = np.linalg.norm(first[:, None] - second[None], axis=-1)
    if isinstance(space, Sphere):
        # 2 asin(|x - y|/2) is accurate at small angles, where acos <x, y> is not.
        cost = 2 * np.arcsin(np.minimum(cost / 2, 1.0))
    return float(ot.emd2([], [], cost))


def wasserstein(density: Density, tokens: Tokens) -> Wasserstein:
    """W1 between the first 500 tokens (or all) and the density. Collective.

    Tokens are independent and identically distributed at the start, so the first ones stand for
    all. As many points of equal mass, spread over the mesh, stand for the density.
    """
    comm = density.comm
    size = min(SUBSAMPLE, tokens.number)
    first_tokens = comm.gather(tokens.points[tokens.numbers < size])
    # Off the middle of their intervals: levels on cell boundaries would be decided by round-off.
    even = (np.arange(size) + _OFFSET) / size
    random = np.random.default_rng(_SEED).random(size)
    samples = sample_density(density, np.concatenate([even, random]))
    result = None
    if first_tokens is not None and samples is not None:
        spread, independent = np.split(samples, 2)
        result = (
            w1(np.concatenate(first_tokens), spread, density.space),
            w1(independent, spread, density.space),
        )
    distance, noise = comm.bcast(result)
    return Wasserstein(distance, noise, size)
