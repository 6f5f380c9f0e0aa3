"""From densities to tokens: samples that do not depend on the number of ranks."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.measures import Measure, uniform_numbers
from meanformer.solvers import Density


def share_of(number: int, comm: MPI.Comm, systems: int = 1) -> slice:
    """The contiguous stretch of global token numbers that this rank holds.

    Args:
        number: Of tokens in each system.
        comm: The ranks that share them.
        systems: How many there are, one after another; of several, each rank holds whole ones.
    """
    whole, least = (number, 1) if systems == 1 else (systems, number)
    edges = [whole * rank // comm.size * least for rank in (comm.rank, comm.rank + 1)]
    return slice(*edges)


def sample_tokens(
    measure: Measure, number: int, seed: int, comm: MPI.Comm, systems: int = 1
) -> Array:
    """Draw independent tokens from a measure; each rank draws its own share.

    Args:
        measure: Where from.
        number: Tokens of each system, on all ranks.
        seed: Token i, counted through all systems, depends on the seed and on i alone.
        comm: The ranks that share the tokens.
        systems: How many; see ``share_of``.

    Returns:
        This rank's tokens, ``shape=(n_local, d)``.
    """
    mine = share_of(number, comm, systems)
    return measure.sample(uniform_numbers(mine.start, mine.stop - mine.start, seed, measure.space))


def sample_density(solver: Density, levels: Array) -> Array | None:
    """Points at given levels of the density's distribution function along the mesh.

    The density is read as its quadrature measure: weighted points, a distance O(h) apart, in the
    order of the mesh's own cell numbers. Uniform random levels give independent samples; on an
    icosphere, where near numbers are near cells, equidistant levels give well-spread points of
    equal mass. Collective.

    Args:
        solver: Holds the density.
        levels: Numbers in [0, 1), ``shape=(n,)``.

    Returns:
        ``shape=(n, d)`` on rank 0, None elsewhere.
    """
    gathered = solver.comm.gather((solver.point_numbers, solver.points, solver.weights))
    if gathered is None:
        return None
    numbers, points, weights = (np.concatenate(part) for part in zip(*gathered, strict=True))
    order = np.argsort(numbers)
    # The limiter leaves round-off below zero at quadrature points.
    cumulative = np.cumsum(np.maximum(weights[order], 0.0))
    chosen = np.searchsorted(cumulative, levels * cumulative[-1], side="right")
    chosen = np.minimum(chosen, len(cumulative) - 1)  # a level may round up to one
    sample: Array = points[order[chosen]]
    return sample
