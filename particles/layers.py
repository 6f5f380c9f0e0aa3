"""Layers of a transformer: steps of one length, with the normalisations of arXiv 2510.22026."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Sphere
from meanformer.errors import SolverError
from meanformer.integrators.steps import is_multiple
from meanformer.particles.equation import TokenEquation

#: How tokens of a sphere are normalised; see ``layer``.
Normalisation = Literal["post", "pre", "peri", "ngpt"]


class NormalisationError(SolverError):
    """A layer brings a token to the origin, or beyond double precision: it has no direction."""


class LayerSteps:
    """Layers one after another, each a step of exactly the same length; see ``layer``.

    Args:
        equation: What moves the tokens.
        length: h of a layer, positive.
        normalisation: Of tokens of a sphere; None in R^d.

    Attributes:
        steps: Layers so far: time is h times that, to twelve digits.
        refused: None ever is.
        length: h.
    """

    refused = 0

    def __init__(
        self, equation: TokenEquation, length: float, normalisation: Normalisation | None
    ) -> None:
        self.steps, self.length = 0, length
        self._equation, self._normalisation = equation, normalisation

    def go_on(self, state: Array, time: float, until: float) -> tuple[Array, float]:
        """The state after one more layer, and the time then. Collective.

        Args:
            state: y at ``time``, ``shape=(n_local, d)``: tokens are N(y), in R^d y itself.
            time: Where the last layer ended, or 0.
            until: A later time.

        Raises:
            ValueError: On every rank, if ``until``, or when the model changes next, is no whole
                multiple of h.
            AttentionDomainError: On every rank, if attention is undefined at a token.
            NormalisationError: On every rank, if a token loses its direction.
        """
        equation, h = self._equation, self.length
        for moment in (until, equation.model.next_change(time)):
            if np.isfinite(moment) and not is_multiple(moment, h):
                raise ValueError(f"layers: t = {moment} is no multiple of the step, {h}")
        # The middle is in the layer of a schedule that holds, whatever the round-off of its ends.
        middle = time + h / 2
        x = equation.space.retract(state)
        m = equation.output(x, equation.model.during(middle).at(middle))
        after = layer(state, x, m, h, self._normalisation)
        end = float(f"{(self.steps + 1) * h:.12g}")
        self._check(after, end)
        self.steps += 1
        return after, until if abs(until - end) < h / 2 else end

    def arrays(self, state: Array) -> dict[str, Array]:
        """Nothing: a layer depends on y alone."""
        return {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take over the number of layers."""
        self.steps = int(arrays["steps"])

    def _check(self, state: Array, time: float) -> None:
        """Raise on every rank if a token of any has no direction. Collective."""
        if not isinstance(self._equation.space, Sphere):
            return
        squares = np.einsum("ij,ij->i", state, state)
        good = bool(np.all((squares > 0) & np.isfinite(squares)))
        if not self._equation.comm.allreduce(good, op=MPI.LAND):
            raise NormalisationError(
                f"layers: a token cannot be normalised at t = {time:g}: the layer brings it to the "
                "origin or beyond double precision"
            )


def layer(
    state: Array, points: Array, output: Array, step: float, normalisation: Normalisation | None
) -> Array:
    """What a layer makes of y, where tokens are x = N(y) = y / |y| (arXiv 2510.22026).

    With m what attention gives to x, before projection,

    * post: y' = x + h m,
    * pre: y' = y + h m,
    * peri: y' = y + h N(m),
    * ngpt: y' = x + h (N(m) - x),

    and in R^d, without normalisation, x' = x + h m. As h tends to 0 tokens move with P_x m over 1
    (post), r (pre), r |m| (peri) and |m| (ngpt), r = |y| with r' = <x, m> (pre) and <x, m> / |m|
    (peri). Where m = 0, which has no direction, a token stays.

    Args:
        state: y, ``shape=(n, d)``.
        points: x, likewise.
        output: m, likewise.
        step: h.
        normalisation: Which of these; None in R^d.

    Returns:
        y', ``shape=(n, d)``.
    """
    match normalisation:
        case "post":
            return points + step * output
        case "peri":
            return state + step * _directions(output, np.zeros_like(points))
        case "ngpt":
            return points + step * (_directions(output, points) - points)
    return state + step * output


def _directions(vectors: Array, otherwise: Array) -> Array:
    """N of vectors, ``shape=(n, d)``; rows of another array where they are zero."""
    lengths = np.linalg.norm(vectors, axis=1)[:, None]
    return np.where(lengths > 0, vectors / np.where(lengths > 0, lengths, 1.0), otherwise)
