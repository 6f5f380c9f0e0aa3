"""From the table ``[initial]`` to the measure it describes."""

from __future__ import annotations

from meanformer.attention import measures as m
from meanformer.simulation.case import measures as c
from meanformer.simulation.case.types import Table


def initial_measure(table: Table, dimension: int) -> m.Measure:
    """The measure that a table ``[initial]`` with a density describes.

    Args:
        table: One that fits the space, with its default axis.
        dimension: The ambient dimension d.

    Raises:
        TypeError: The table lists tokens, which have no density.
    """
    match table:
        case c.Uniform():
            return m.Uniform(dimension)
        case c.VonMisesFisher():
            return m.VonMisesFisher(table.mean, table.concentration)
        case c.PoissonKernel():
            return m.PoissonKernel(table.a)
        case c.Harmonic():
            return m.ZonalHarmonic(table.degree, table.amplitude, table.axis)
        case c.Gaussian():
            return m.Gaussian(table.mean, table.covariance)
        case c.Box():
            return m.Box(table.lower, table.upper)
        case c.Mixture():
            parts = tuple(initial_measure(part, dimension) for part in table.components)
            return m.Mixture(parts, tuple(part.weight for part in table.components))
    raise TypeError(f"{type(table).__name__} has no density")
