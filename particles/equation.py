"""What moves tokens: a model with their own measure, in x or in rescaled variables."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.attention import (
    Attention,
    AttentionDomainError,
    Evaluator,
    Field,
    Model,
    Space,
    Sphere,
    UnitVectors,
)
from meanformer.attention.rescaled import Rescaled, RescaledLayer
from meanformer.attention.variance import largest_variances
from meanformer.systems import Systems

# A mean of one point is off from it by no more than this share of the largest coordinate.
_ROUND_OFF = 1e-14
# Squares of larger coordinates are beyond double precision, and so are logits.
_LARGEST = 1e130


class TokenEquation:
    """u' = F(u, t) for the tokens' positions x, u = x, or for the variables y of ``Rescaled``.

    On the sphere F is extended by v(u/|u|), which keeps |u|. Fixed points, the prompt, may act
    beside the tokens: F = v[mu + mu_0]. In the order that causal attention knows they come first.

    Args:
        model: What x follows; or what y does.
        space: Where u lives.
        weights: Of this rank's tokens, ``shape=(n_local,)``.
        systems: To which systems these belong: each is moved by its own measure.
        tolerance: Of attention.
        temperature: kappa, of the noise that moves tokens beside F.
        prompt: Points of the space, ``shape=(p, d)``, the same on every rank, each of the weight of
            a token; None for none.

    Attributes:
        seconds: Spent on attention.
    """

    def __init__(
        self,
        model: Model | Rescaled,
        space: Space,
        weights: Array,
        systems: Systems,
        tolerance: float = 1e-10,
        temperature: float = 0.0,
        prompt: Array | None = None,
    ) -> None:
        self.temperature = temperature
        self.model, self.space, self.weights, self.systems = model, space, weights, systems
        self.comm = systems.comm
        self.seconds = 0.0
        self._tolerance = tolerance
        self._evaluator: Evaluator | None = None
        self._known: tuple[Array, float, Array, float] | None = None
        # The first rank has all that is before the first token.
        self._prompt = prompt if systems.within.rank == 0 else None
        before = None if self._prompt is None else np.full(len(self._prompt), 1 / systems.number)
        #: Of what acts, ``shape=(p + n_local,)`` on rank 0.
        self._acting_weights = self._acting(weights, before)

    def forget(self) -> None:
        """Begin a step: Sinkhorn's iteration does not start from potentials of the one before."""
        self._evaluator = None

    def rate(self, state: Array, time: float, layer: Model | RescaledLayer) -> Array:
        """F, ``shape=(n_local, d)``, of the layer that holds in a step. Collective."""
        return self.field(state, layer.at(time)).velocity

    def rate_and_bound(self, state: Array, time: float) -> tuple[Array, float]:
        """F where a step starts, and how fast it changes on this rank; evaluated once. Collective.

        That is the largest b(s) of ``Attention.rate_bounds``, with s each system's largest
        variance. Noise turns tokens of a sphere at the rate (d - 1) kappa, of harmonics of degree
        one, and the larger of the two counts. In R^d it adds 2 kappa / b to s in the time 1 / b:
        the bound solves b = b(s + 2 kappa / b), with b(s) taken for linear.
        """
        if self._known is None or self._known[0] is not state or self._known[1] != time:
            self.forget()
            attention = self.model.during(time).at(time)
            field = self.field(state, attention)
            x = self.space.retract(state)
            spreads = self._spreads(x, attention)
            bounds = attention.rate_bounds(field, self.space, spreads)
            if self.temperature > 0 and isinstance(self.space, Sphere):
                bounds = np.maximum(bounds, (self.space.dimension - 1) * self.temperature)
            elif self.temperature > 0:
                slopes = attention.rate_bounds(field, self.space, spreads + 1) - bounds
                bounds = bounds / 2 + np.sqrt(bounds**2 / 4 + 2 * self.temperature * slopes)
            bound = float(bounds.max(initial=0.0))
            self._known = state, time, field.velocity, bound
        return self._known[2:]

    def output(self, state: Array, attention: Attention) -> Array:
        """The velocity before projection on tangent spaces, ``shape=(n_local, d)``. Collective.

        It is that of one step: see ``forget``. Errors are those of ``field``.
        """
        self.forget()
        on_sphere = isinstance(self.space, Sphere)
        space = UnitVectors(self.space.dimension) if on_sphere else self.space
        return self.field(state, attention, space).velocity

    def field(self, state: Array, attention: Attention, space: Space | None = None) -> Field:
        """What attention says at the tokens brought to the space. Collective.

        Args:
            state: u, ``shape=(n_local, d)``.
            attention: The present model.
            space: To whose tangent spaces the velocity is projected; None for that of the tokens.

        Raises:
            AttentionDomainError: On every rank, if it is undefined at a token of any, or a
                coordinate exceeds 1e130.
        """
        began = perf_counter()
        evaluator = self._prepared(state, attention, space)
        evaluator.warm(self._evaluator)
        field = evaluator(self._acting_weights)
        self._evaluator = evaluator
        self.seconds += perf_counter() - began
        return field

    def matrix(self, state: Array, time: float) -> Array:
        """The attention matrix P of every head, ``shape=(h, n_local, p + n)``. Collective.

        Columns are the tokens of the row's own system, after those of the prompt. It is the same in
        x and in y, whose logits are. Errors are those of ``field``.
        """
        evaluator = self._prepared(state, self.model.during(time).at(time))
        matrix = evaluator.matrix(self._acting_weights)
        if self.systems.here:
            return matrix
        # A rank without systems has no points that would say how many columns there are.
        columns = self.systems.number + (0 if self._prompt is None else len(self._prompt))
        return matrix.reshape(len(matrix), 0, columns)

    def leaders(self, state: Array, time: float) -> npt.NDArray[np.bool_]:
        """Tokens whose only maximiser is themselves, in every head: leaders (arXiv 2407.01602).

        Of the hardmax law, whose Z is the mass of the maximisers; these do not depend on weights
        that decay. A causal token that does not see itself is none. Collective; errors as for
        ``field``.

        Returns:
            Whether each of this rank's tokens is one, ``shape=(n_local,)``.
        """
        attention = replace(self.model.during(time).at(time), decay=0.0)
        evaluator = self._prepared(state, attention)
        x = self.space.retract(state)
        lengths = np.abs(self.systems.apart(x)).max(axis=(1, 2), initial=0.0)
        lengths = self.systems.within.allreduce(lengths, op=MPI.MAX)
        largest = np.repeat(lengths, len(x) // max(len(lengths), 1))
        leading = np.full(len(x), attention.sees_itself)
        for sums in evaluator.sums(self._acting_weights)[0]:
            mean = sums.moment / sums.partition[:, None]
            leading &= np.abs(mean - x).max(axis=1) <= _ROUND_OFF * largest
            leading &= sums.partition * np.exp(sums.log_scale) < 1.5 * self.weights
        return leading

    def _prepared(
        self, state: Array, attention: Attention, space: Space | None = None
    ) -> Evaluator:
        """Attention at the tokens brought to the space. Collective; errors as for ``field``."""
        x = self.space.retract(state)
        largest = np.maximum(x.max(initial=0.0), -x.min(initial=0.0))
        if not self.comm.allreduce(bool(largest < _LARGEST), op=MPI.LAND):
            raise AttentionDomainError("attention: tokens exceed double precision")
        several = len(self.systems.here) if self.systems.count > 1 else None
        space = space or self.space
        given = x, self._acting(x, self._prompt), space, self._tolerance, self.comm
        return attention.prepare(*given, systems=several)

    def _acting(self, rows: Array, before: Array | None) -> Array:
        """Rows of the tokens, with those of the prompt before each system's on its first rank."""
        if before is None:
            return rows
        own = self.systems.apart(rows)
        first = np.broadcast_to(before, (len(own), *before.shape))
        return np.concatenate([first, own], axis=1).reshape(-1, *rows.shape[1:])

    def _spreads(self, x: Array, attention: Attention) -> Array:
        """The largest variance that matters to any token of each system, of all that acts there.

        In R^d, where causal tokens see the first points alone, that of all points, of the first
        half, of the first quarter, ...: in between, it is at most twice as large. Collective.
        """
        points, systems = self._acting(x, self._prompt), len(self.systems.here)
        within = self.systems.within

        def of(weights: Array) -> Array:
            given = points, weights, self.space, within, attention.normalised, systems
            return largest_variances(*given)

        count = len(points) // max(systems, 1)
        counts = within.allgather(count)
        total = sum(counts)
        if isinstance(self.space, Sphere) or not attention.causal or total == 0:
            return of(self._acting_weights)
        numbers = np.tile(sum(counts[: within.rank]) + np.arange(count), systems)
        firsts = (total >> half for half in range(total.bit_length()))
        weights = (np.where(numbers < first, self._acting_weights, 0.0) for first in firsts)
        return np.stack([of(some) for some in weights]).max(axis=0)
