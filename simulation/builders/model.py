"""From a case to the model, and to the measure it starts from."""

from __future__ import annotations

from meanformer.attention import (
    Attention,
    Drift,
    Head,
    LinearDrift,
    Model,
    RandomLayers,
    Schedule,
)
from meanformer.attention import measures as m
from meanformer.attention.laws import PARAMETERS
from meanformer.attention.matrices import full, matrix_of
from meanformer.simulation.case import initial as c
from meanformer.simulation.case.attention import AttentionTable, HeadsTable
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.drift import DriftTable, read_perceptron
from meanformer.simulation.case.types import Table


def build_model(case: Case) -> Model:
    """The model of a case as a function of time."""
    table, dimension = case.attention, case.space.dimension
    random, drift = table.random_values, _drift(case.drift, dimension)
    if table.layers is not None:
        layers = [_attention(table, layer, drift) for layer in table.layers]
        return Schedule(layers, [layer.duration for layer in table.layers])
    attention = _attention(table, table, drift)
    if random is None:
        return attention
    return RandomLayers(attention, dimension, random.seed, random.scale, random.duration)


def _attention(table: AttentionTable, layer: HeadsTable, drift: Drift | None) -> Attention:
    """The attention of one layer, with the drift of all."""
    heads = tuple(
        Head(*(None if m == "identity" else m for m in (head.query, head.key, head.value)))
        for head in layer.all_heads
    )
    own = {
        name: getattr(table, name) for name in table.given((*PARAMETERS, "sees_itself", "decay"))
    }
    return Attention(
        table.law, table.beta, heads=heads, relative=table.relative, drift=drift,
        causal=table.causal, device=table.device, **own,
    )  # fmt: skip


def _drift(table: DriftTable | None, dimension: int) -> Drift | None:
    """What a table ``[drift]`` describes in R^d; None without one."""
    if table is None:
        return None
    if table.perceptron is not None:
        assert table.activation is not None
        return read_perceptron(table.perceptron, table.activation)
    matrix = matrix_of(None if table.linear == "identity" else table.linear)
    return LinearDrift(full(matrix, dimension))


def initial_measure(table: Table, dimension: int) -> m.Measure:
    """The measure in R^d, or on its sphere, that a table ``[initial]`` of a case describes.

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
            assert table.axis is not None
            return m.ZonalHarmonic(table.degree, table.amplitude, table.axis)
        case c.Gaussian():
            return m.Gaussian(table.mean, table.covariance)
        case c.Box():
            return m.Box(table.lower, table.upper)
        case c.Ball():
            return m.Ball(table.centre, table.radius)
        case c.Mixture():
            parts = tuple(initial_measure(part, dimension) for part in table.components)
            return m.Mixture(parts, tuple(part.weight for part in table.components))
    raise TypeError(f"{type(table).__name__} has no density")
