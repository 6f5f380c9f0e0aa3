"""What a measure to start from is, and the uniform numbers that its samples are made of."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.spaces import Space, Sphere


class Measure(Protocol):
    """A probability measure with a density on a space.

    Densities are per unit of area, length or volume, with mass one. Samples are made by inverse
    transforms of a fixed number of uniform numbers, so that token i can be drawn from its own
    stretch of a random stream whichever rank holds it.
    """

    @property
    def space(self) -> Space:
        """Where the measure lives; ``space.dimension`` is the number of coordinates."""

    def density(self, points: Array) -> Array:
        """Density at points of the space, ``shape=(n, d)`` to ``shape=(n,)``."""

    def sample(self, uniforms: Array) -> Array:
        """Points made from uniform numbers in [0, 1), ``shape=(n, k)`` to ``shape=(n, d)``.

        k is `uniforms_per_sample` of the space.
        """


@runtime_checkable
class Spread(Measure, Protocol):
    """A measure in R^d that knows its mean and covariance."""

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``."""


def uniforms_per_sample(space: Space) -> int:
    """Uniform numbers that one sample takes: one for each dimension of the space as a manifold.

    One more comes first, and chooses the component of a mixture. On spheres of d > 3 the direction
    across an axis takes one more as well.
    """
    is_small_sphere = isinstance(space, Sphere) and space.dimension <= 3
    return space.dimension + (0 if is_small_sphere else 1)


_SPHERE = Sphere(3)

#: Uniform numbers of a sample on S^2: a component, a colatitude, a longitude.
UNIFORMS = uniforms_per_sample(_SPHERE)


def uniform_numbers(first: int, count: int, seed: int, space: Space = _SPHERE) -> Array:
    """The uniform numbers of tokens first, first+1, ..., which depend on nothing but the seed.

    Args:
        first: Global number of the first token.
        count: Number of tokens.
        seed: Seed of the stream.
        space: Where the tokens live.

    Returns:
        ``shape=(count, uniforms_per_sample(space))``, in [0, 1).
    """
    columns = uniforms_per_sample(space)
    stream = np.random.PCG64(seed)
    stream.advance(columns * first)  # one draw a double
    return np.random.Generator(stream).random((count, columns))


def check_points(points: Array, space: Space) -> None:
    """Raise ValueError unless ``points`` has a column for each coordinate of the space."""
    _check_columns("points", points, space.dimension, space)


def check_uniforms(uniforms: Array, space: Space) -> None:
    """Raise ValueError unless ``uniforms`` has as many columns as a sample takes."""
    _check_columns("uniforms", uniforms, uniforms_per_sample(space), space)


def _check_columns(name: str, rows: Array, columns: int, space: Space) -> None:
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{name} has shape {rows.shape}; it must be (n, {columns}) on {space}")
