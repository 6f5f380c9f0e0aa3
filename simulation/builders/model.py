"""From the ``[attention]`` of a case to the model it describes."""

from __future__ import annotations

import math

from meanformer.attention import Attention, Head, Model, Schedule, random_values
from meanformer.attention.laws import PARAMETERS
from meanformer.simulation.case.attention import AttentionTable, HeadsTable
from meanformer.simulation.case.types import as_matrix


def build_model(table: AttentionTable, dimension: int, end: float) -> Model:
    """The attention as a function of time.

    Args:
        table: As resolved by a case.
        dimension: The ambient dimension d.
        end: The final time, which layers with random values must reach.
    """
    random = table.random_values
    if table.layers is not None:
        layers = [_attention(table, layer, dimension) for layer in table.layers]
        return Schedule(layers, [layer.duration for layer in table.layers])
    attention = _attention(table, table, dimension)
    if random is None:
        return attention
    count = max(1, math.ceil(end / random.duration - 1e-9))
    return random_values(attention, dimension, count, random.seed, random.scale, random.duration)


def _attention(table: AttentionTable, layer: HeadsTable, dimension: int) -> Attention:
    """The attention of one layer."""
    heads = tuple(
        Head(*(as_matrix(entry, dimension) for entry in (head.query, head.key, head.value)))
        for head in layer.all_heads
    )
    given = {name: getattr(table, name) for name in PARAMETERS}
    own = {name: number for name, number in given.items() if number is not None}
    return Attention(table.law, table.beta, heads=heads, **own)
