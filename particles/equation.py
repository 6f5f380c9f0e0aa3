"""What moves tokens: a model with their own measure, in x or in rescaled variables."""

from __future__ import annotations

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
)
from meanformer.attention.rescaled import Rescaled, RescaledLayer
from meanformer.attention.variance import largest_variance

# A mean of one point is off from it by no more than this share of the largest coordinate.
_ROUND_OFF = 1e-14


class TokenEquation:
    """u' = F(u, t) for the tokens' positions x, u = x, or for the variables y of ``Rescaled``.

    On the sphere F is extended by v(u/|u|), which keeps |u|.

    Args:
        model: What x follows; or what y does.
        space: Where u lives.
        weights: Of this rank's tokens, ``shape=(n_local,)``.
        comm: The ranks that share the tokens.
        tolerance: Of attention.
        temperature: kappa, of the noise that moves tokens beside F.

    Attributes:
        seconds: Spent on attention.
    """

    def __init__(
        self,
        model: Model | Rescaled,
        space: Space,
        weights: Array,
        comm: MPI.Intracomm,
        tolerance: float = 1e-10,
        temperature: float = 0.0,
    ) -> None:
        self.temperature = temperature
        self.model, self.space, self.weights, self.comm = model, space, weights, comm
        self.seconds = 0.0
        self._tolerance = tolerance
        self._evaluator: Evaluator | None = None
        self._known: tuple[Array, float, Array, float] | None = None

    def forget(self) -> None:
        """Begin a step: Sinkhorn's iteration does not start from potentials of the one before."""
        self._evaluator = None

    def rate(self, state: Array, time: float, layer: Model | RescaledLayer) -> Array:
        """F, ``shape=(n_local, d)``, of the layer that holds in a step. Collective."""
        return self.field(state, layer.at(time)).velocity

    def rate_and_bound(self, state: Array, time: float) -> tuple[Array, float]:
        """F where a step starts, and how fast it changes on this rank; evaluated once. Collective.

        That is b(s) of ``Attention.rate_bound`` with s the largest variance. Noise turns tokens of
        a sphere at the rate (d - 1) kappa, of harmonics of degree one, and the larger of the two
        counts. In R^d it adds 2 kappa / b to s in the time 1 / b: the bound solves
        b = b(s + 2 kappa / b), with b(s) taken for linear.
        """
        if self._known is None or self._known[0] is not state or self._known[1] != time:
            self.forget()
            attention = self.model.during(time).at(time)
            field = self.field(state, attention)
            x = self.space.retract(state)
            central = attention.normalised
            spread = largest_variance(x, self.weights, self.space, self.comm, central)
            bound = attention.rate_bound(field, self.space, spread)
            if self.temperature > 0 and isinstance(self.space, Sphere):
                bound = max(bound, (self.space.dimension - 1) * self.temperature)
            elif self.temperature > 0:
                slope = attention.rate_bound(field, self.space, spread + 1) - bound
                bound = bound / 2 + float(np.sqrt(bound**2 / 4 + 2 * self.temperature * slope))
            self._known = state, time, field.velocity, bound
        return self._known[2:]

    def field(self, state: Array, attention: Attention) -> Field:
        """What attention says at the tokens brought to the space. Collective.

        Raises:
            AttentionDomainError: On every rank, if it is undefined at a token of any.
        """
        began = perf_counter()
        evaluator = self._prepared(state, attention)
        evaluator.warm(self._evaluator)
        field = evaluator(self.weights)
        self._evaluator = evaluator
        self.seconds += perf_counter() - began
        return field

    def matrix(self, state: Array, time: float) -> Array:
        """The attention matrix P of every head, ``shape=(h, n_local, n)``. Collective.

        It is the same in x and in y, whose logits are. Errors are those of ``field``.
        """
        return self._prepared(state, self.model.during(time).at(time)).matrix(self.weights)

    def leaders(self, state: Array, time: float) -> npt.NDArray[np.bool_]:
        """Tokens whose only maximiser is themselves, in every head: leaders (arXiv 2407.01602).

        Of the hardmax law, whose Z is the mass of the maximisers. Collective; errors as for
        ``field``.

        Returns:
            Whether each of this rank's tokens is one, ``shape=(n_local,)``.
        """
        evaluator = self._prepared(state, self.model.during(time).at(time))
        x = self.space.retract(state)
        largest = self.comm.allreduce(float(np.abs(x).max(initial=0.0)), op=MPI.MAX)
        leading = np.ones(len(x), dtype=bool)
        for sums in evaluator.sums(self.weights)[0]:
            mean = sums.moment / sums.partition[:, None]
            leading &= np.abs(mean - x).max(axis=1) <= _ROUND_OFF * largest
            leading &= sums.partition * np.exp(sums.log_scale) < 1.5 * self.weights
        return leading

    def _prepared(self, state: Array, attention: Attention) -> Evaluator:
        """Attention at the tokens brought to the space. Collective; errors as for ``field``."""
        x = self.space.retract(state)
        if not self.comm.allreduce(bool(np.isfinite(x).all()), op=MPI.LAND):
            raise AttentionDomainError("attention: tokens exceed double precision")
        return attention.prepare(x, x, self.space, self._tolerance, self.comm)
