"""From the ``[attention]`` of a case to the model it describes."""

from __future__ import annotations

import math

import numpy as np

from meanformer.attention import Attention, Head, Model, Schedule, random_values
from meanformer.simulation import case as c


def build_model(table: c.AttentionTable, dimension: int, end: float) -> Model:
    """The attention as a function of time.

    Args:
        table: As resolved by a case.
        dimension: The ambient dimension d.
        end: The final time, which layers with random values must reach.
    """
    random = table.random_values
    if table.layers is not None:
        layers = [_attention(table, layer, dimension) for layer in table.layers]
        return _meeting_samples(Schedule(layers, [layer.duration for layer in table.layers]))
    attention = _attention(table, table, dimension)
    if random is None:
        return attention
    count = max(1, math.ceil(end / random.duration - 1e-9))
    return _meeting_samples(
        random_values(attention, dimension, count, random.seed, random.scale, random.duration)
    )


def _attention(table: c.AttentionTable, layer: c.HeadsTable, dimension: int) -> Attention:
    """The attention of one layer."""
    heads = tuple(
        Head(*(c.as_matrix(entry, dimension) for entry in (head.query, head.key, head.value)))
        for head in layer.all_heads
    )
    # What a law does not have, it does not read.
    offset, tie_tolerance = table.offset or 0.0, table.tie_tolerance or 0.0
    return Attention(table.law, table.beta, heads=heads, offset=offset, tie_tolerance=tie_tolerance)


def _meeting_samples(schedule: Schedule) -> Schedule:
    """The schedule with changes to twelve digits, as sample times are.

    Sums of durations are off by round-off: between a sample at 0.3 and a change at
    0.30000000000000004 the solvers would take a step.
    """
    schedule.ends = np.array([float(f"{time:.12g}") for time in schedule.ends])
    return schedule
