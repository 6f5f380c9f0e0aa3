"""Attention that changes with time: layers one after another, given or drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from meanformer.attention.attention import Attention
from meanformer.normals import normal_numbers

# Which of the streams of a seed: the first belongs to the noise of tokens.
_STREAM = 2


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

    def for_systems(self, systems: range) -> Model:
        """The model of several systems of tokens by their numbers, whose values may differ."""


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

    def for_systems(self, systems: range) -> Schedule:
        """The model of several systems of tokens: this one for all."""
        return self


class RandomLayers:
    r"""Layers whose V are drawn afresh: common noise for all tokens (arXiv 2601.21942).

    Each head of each layer has independent entries V_ij of N(0, scale^2 / d), so that |V x| is
    ``scale`` in the root mean square for a unit vector x. They depend on the seed, the layer, the
    head and the system alone, and are drawn when they are asked for: there is no last layer.

    Args:
        attention: Law, beta, queries, keys and drift of all layers.
        dimension: d.
        seed: Of the random numbers, not negative.
        scale: Standard deviation of V's entries times sqrt(d), positive, dimensionless.
        duration: How long each layer lasts, dimensionless.
        systems: Numbers of systems of tokens: each has a V of its own, and values are stacks,
            ``shape=(len(systems), d, d)``. None is system 0 alone, ``shape=(d, d)``.

    Raises:
        ValueError: If ``seed`` is negative, or the scale or the duration is not positive.
    """

    def __init__(
        self,
        attention: Attention,
        dimension: int,
        seed: int,
        scale: float = 1.0,
        duration: float = 1.0,
        systems: range | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"random layers: seed is {seed}; it must not be negative")
        for name, number in (("scale", scale), ("duration", duration)):
            if not (np.isfinite(number) and number > 0):
                raise ValueError(f"random layers: {name} is {number}; it must be positive")
        self._attention, self._dimension, self._seed = attention, dimension, seed
        self._scale, self._duration, self._systems = scale, duration, systems
        self._drawn: tuple[int, Attention] | None = None

    def for_systems(self, systems: range) -> RandomLayers:
        """The same layers, with a V for each of these systems."""
        return RandomLayers(
            self._attention, self._dimension, self._seed, self._scale, self._duration, systems
        )

    def layer(self, number: int) -> Attention:
        """The layer of a number, from 0 on; the last one asked for is kept."""
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, self._draw(number)
        return self._drawn[1]

    def during(self, time: float) -> Attention:
        """The layer at a time; at the moment of a change, the one that begins."""
        return self.layer(self._number(time))

    at = during

    def next_change(self, time: float) -> float:
        """When the next layer begins."""
        return self._start(self._number(time) + 1)

    def _number(self, time: float) -> int:
        """Which layer there is at a time."""
        number = max(0, int(time / self._duration) - 1)
        while self._start(number + 1) <= time:
            number += 1
        return number

    def _start(self, number: int) -> float:
        """When a layer begins, to twelve digits: 0.3, not 0.30000000000000004."""
        return float(f"{number * self._duration:.12g}")

    def _draw(self, number: int) -> Attention:
        heads, d = self._attention.all_heads, self._dimension
        systems = range(1) if self._systems is None else self._systems
        columns = len(heads) * d * d
        key = _STREAM, number
        entries = normal_numbers(systems.start, len(systems), columns, self._seed, key)
        entries = self._scale / np.sqrt(d) * entries.reshape(len(systems), len(heads), d, d)
        values = entries[0] if self._systems is None else entries.swapaxes(0, 1)
        drawn = tuple(replace(head, value=value) for head, value in zip(heads, values, strict=True))
        return replace(self._attention, query=None, key=None, value=None, heads=drawn)
