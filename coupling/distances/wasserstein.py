"""The Wasserstein distance W1 by exact optimal transport between subsamples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.spaces import Space, Sphere
from meanformer.coupling.distances.base import Metric
from meanformer.coupling.sampling import sample_density
from meanformer.solvers import Density, Tokens

#: Points on either side of the transport problem.
SUBSAMPLE = 500
_SEED = 0
_OFFSET = (np.sqrt(5) - 1) / 2


def w1(first: Array, second: Array, space: Space) -> float:
    """Exact W1 between two point sets with equal weights.

    Args:
        first: Points of the space, ``shape=(n, d)``.
        second: As many.
        space: Its distances are those along great circles on a sphere, and |x - y| in R^d.
    """
    import ot  # it is slow to import, and case files are checked without it

    cost = np.linalg.norm(first[:, None] - second[None], axis=-1)
    if isinstance(space, Sphere):
        # 2 asin(|x - y|/2) is accurate at small angles, where acos <x, y> is not.
        cost = 2 * np.arcsin(np.minimum(cost / 2, 1.0))
    return float(ot.emd2([], [], cost))


def wasserstein(density: Density, tokens: Tokens) -> tuple[float, float, int]:
    """W1 between the first 500 tokens (or all) and the density. Collective.

    Tokens are independent and identically distributed at the start, so the first ones stand for
    all. As many points of equal mass, spread over the mesh, stand for the density.

    Returns:
        W1, on spheres in radians; the same for an independent sample of the density in place of
        the tokens; and the number of points on either side.
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
    return distance, noise, size


class Wasserstein(Metric):
    """W1 between subsamples, with that of an independent sample of the present density."""

    name = "w1"
    spaces = "every space"
    cost = "two transport problems of 500 points a sample, solved on rank 0: about 0.1 s"
    columns: ClassVar[Mapping[str, str]] = {
        "w1": "Wasserstein-1 distance (on spheres along great circles, in radians) of the first "
        f"{SUBSAMPLE} tokens from {SUBSAMPLE} points of equal mass that represent the density, by "
        "exact optimal transport",
        "w1_noise": f"the same with {SUBSAMPLE} independent draws from the density in place of "
        "the tokens",
        "w1_subsample": "that number, or the number of tokens if it is smaller",
    }

    def measure(self) -> tuple[float, ...]:
        """The distance, its noise, and the number of points. Collective."""
        return wasserstein(self._density, self._tokens)
