"""From densities to tokens: samples that do not depend on the number of ranks."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from meanformer.attention.measures import Measure, uniform_numbers
from meanformer.pde import DensitySolver

Array = npt.NDArray[np.float64]


def share_of(number: int, comm: MPI.Comm) -> slice:
    """The contiguous stretch of ``number`` global token numbers that this rank holds."""
    edges = [number * rank // comm.size for rank in (comm.rank, comm.rank + 1)]
    return slice(*edges)


def sample_tokens(measure: Measure, number: int, seed: int, comm: MPI.Comm) -> Array:
    """Draw independent tokens from a measure; each rank draws its own share.

    Args:
        measure: Where from.
        number: Tokens on all ranks.
        seed: Token i depends on the seed and on i alone.
        comm: The ranks that share the tokens.

    Returns:
        This rank's tokens, ``shape=(n_local, 3)``.
    """
    mine = share_of(number, comm)
    return measure.sample(uniform_numbers(mine.start, mine.stop - mine.start, seed))


def sample_density(solver: DensitySolver, number: int, seed: int) -> Array | None:
    """Draw independent points from the present density.

    The density is read as its quadrature measure: weighted points, a distance O(h) apart, in the
    order of the mesh's own cell numbers. Collective.

    Args:
        solver: Holds the density.
        number: Points to draw.
        seed: Seed of the sample.

    Returns:
        ``shape=(number, 3)`` on rank 0, None elsewhere.
    """
    weights = solver.weights.reshape(len(solver.cell_numbers), -1)
    points = solver.points.reshape(*weights.shape, 3)
    gathered = solver.comm.gather((solver.cell_numbers, points, weights))
    if gathered is None:
        return None
    numbers, all_points, all_weights = (np.concatenate(parts) for parts in zip(*gathered))
    order = np.argsort(numbers)
    # The limiter leaves round-off below zero at quadrature points.
    cumulative = np.cumsum(np.maximum(all_weights[order], 0.0))
    uniforms = np.random.default_rng(seed).random(number)
    chosen = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
    return all_points[order].reshape(-1, 3)[chosen]
