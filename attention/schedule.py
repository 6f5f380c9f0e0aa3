"""Attention that changes with time: layers one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from meanformer.attention.attention import Attention


class Model(Protocol):
    """What solvers integrate: attention, and what drifts beside it, as a function of time.

    ``Attention`` is one, constant.
    """

    def during(self, time: float) -> Model:
        """The model from a time until its ``next_change``, smooth in time."""

    def at(self, time: float) -> Attention:
        """The attention at a time."""

    def next_change(self, time: float) -> float:
        """The first time after this one at which the model jumps; infinite when there is none."""


class Schedule:
    """Layers of attention, each for a time of its own; the last one goes on for ever.

    Args:
        layers: One model a layer, at least one.
        durations: How long each layer lasts, positive, dimensionless: one number for all, or
            ``shape=(len(layers),)``.

    Raises:
        ValueError: If there is no layer, or a duration is not positive and finite.
    """

    def __init__(self, layers: Sequence[Attention], durations: npt.ArrayLike = 1.0) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("schedule: there must be at least one layer")
        lengths = np.asarray(durations, dtype=float)
        if lengths.shape not in {(), (len(self.layers),)}:
            raise ValueError(
                f"schedule: durations have shape {lengths.shape}; must be one number or one for "
                f"each of the {len(self.layers)} layers"
            )
        if not np.all((lengths > 0) & np.isfinite(lengths)):
            raise ValueError("schedule: durations must be positive and finite")
        ends = np.cumsum(np.broadcast_to(lengths, len(self.layers)))
        #: Times at which layers end, ``shape=(len(layers),)``. To twelve digits: sums of durations
        #: are off by round-off, and nobody wants a step from 0.3 to 0.30000000000000004.
        self.ends = np.array([float(f"{time:.12g}") for time in ends])
        if np.any(np.diff(self.ends) <= 0):
            raise ValueError("schedule: durations must not vanish beside their sum")

    def during(self, time: float) -> Attention:
        """The layer at a time; at the moment of a change, the one that begins."""
        number = int(np.searchsorted(self.ends, time, side="right"))
        return self.layers[min(number, len(self.layers) - 1)]

    at = during

    def next_change(self, time: float) -> float:
        """The first change of layers after a time; infinite when there is none."""
        changes = self.ends[:-1]
        later = changes[np.searchsorted(changes, time, side="right") :]
        return float(later[0]) if len(later) else np.inf


def random_values(
    attention: Attention,
    dimension: int,
    layers: int,
    seed: int,
    scale: float = 1.0,
    duration: float = 1.0,
) -> Schedule:
    r"""Layers whose V are drawn afresh: common noise for all tokens (arXiv 2601.21942).

    Each head of each layer has independent entries V_ij of N(0, scale^2 / d), so that |V x| is
    ``scale`` in the root mean square for a unit vector x. Layer l draws from a stream of its own:
    more layers do not change the first ones.

    Args:
        attention: Law, beta, queries, keys and drift of all layers.
        dimension: d.
        layers: How many.
        seed: Of the random numbers, not negative.
        scale: Standard deviation of V's entries times sqrt(d), dimensionless.
        duration: How long each layer lasts.

    Raises:
        ValueError: If ``seed`` is negative or there is no layer.
    """
    if seed < 0 or layers < 1:
        raise ValueError(f"seed is {seed}, layers {layers}; must be at least 0 and 1")
    heads = attention.all_heads

    def layer(number: int) -> Attention:
        numbers = np.random.default_rng([seed, number])
        entries = numbers.normal(size=(len(heads), dimension, dimension))
        drawn = tuple(
            replace(head, value=scale / np.sqrt(dimension) * value)
            for head, value in zip(heads, entries, strict=True)
        )
        return replace(attention, query=None, key=None, value=None, heads=drawn)

    return Schedule([layer(number) for number in range(layers)], duration)
