"""What the nonuniform transforms of the ducc0 library share: their accuracy and their threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import ducc0
import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention.backends.workers import share_out
from meanformer.threads import threads

Moments = npt.NDArray[np.complex128]
Job = TypeVar("Job")

#: Errors of transforms: close to the least in double precision, and for a tenth less time.
LEAST_ERROR, MODERATE_ERROR = 2e-14, 1e-12
#: The oversampling is fixed: the transforms would otherwise choose their kernel by the number of
#: points, which differs from rank to rank, and results would depend on the partition.
OVERSAMPLING = {"sigma_min": 2.0, "sigma_max": 2.2}

# A transform of fewer points takes less time than it takes to start threads.
_POINTS_WORTH_THREADS = 10_000
# The sum of n equal terms is off by up to 1e-17 n: fewer do no harm.
_CROWD = 4096


def transform_threads() -> int:
    """The threads of a transform; ducc0's own pool is made to have as many.

    ducc0 would take all cores, or what OMP_NUM_THREADS was when the process began.
    """
    count = threads()
    if ducc0.misc.thread_pool_size() != count:
        ducc0.misc.resize_thread_pool(count)
    return count


def shares(count: int) -> list[slice]:
    """Points to be analysed apart, a thread each; none of no points."""
    if count == 0:
        return []
    parts = transform_threads() if count > _POINTS_WORTH_THREADS else 1
    ends = np.linspace(0, count, parts + 1).astype(int)
    return [slice(first, last) for first, last in pairwise(ends)]


def sum_of_transforms(
    transform: Callable[[Job], Moments], jobs: Sequence[Job], size: int
) -> Moments:
    """The sum of transforms of one thread each.

    Threads of one transform would add points to its grid in an order that changes from run to run;
    several transforms, added in order, give the same result every time. Each of the ``shares`` is
    a job, or several, which is taken to its moments, ``shape=(size,)``.
    """
    nothing = np.zeros(size, dtype=np.complex128)
    return sum(share_out(transform, jobs, len(jobs) > 1), nothing)


def crowded(points: Array) -> bool:
    """Whether thousands of unit vectors, ``shape=(n, d)``, coincide up to rounding.

    Those of a collapsed cluster do.
    """
    if len(points) <= _CROWD:
        return False
    height = np.sort(points @ (1 / np.sqrt(2 + np.arange(points.shape[1]))))
    return bool(np.any(height[_CROWD:] - height[:-_CROWD] < 1e-13))


def random_parts(weights: Array) -> tuple[Array, Array]:
    """Two sets of random weights that add up to given ones, ``shape=(n,)`` each.

    A transform adds the weights of points that coincide one by one. Where they are equal the
    rounding errors are equal too and grow like their number; where they are random they cancel.
    """
    part = np.random.default_rng(0).random(len(weights)) * weights
    return part, weights - part
