"""A perceptron: what a transformer does to each token between two layers of attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from meanformer.arrays import Array
from meanformer.attention.drift.base import Drift
from meanformer.attention.matrices import spectral_norm

# The hidden layer of more tokens at a time would not fit into the cache, nor that of all into
# memory.
_ENTRIES = 2**20


class Activation(NamedTuple):
    """A function s of one number.

    Attributes:
        values: Maps arrays entry by entry.
        slope: The largest |s'|.
    """

    values: Callable[[Array], Array]
    slope: float


def _gelu(numbers: Array) -> Array:
    """The function u Phi(u), Phi the normal distribution function itself (arXiv 1606.08415)."""
    values: Array = numbers * ndtr(numbers)
    return values


#: The activations by name. The slope Phi(u) + u Phi'(u) of gelu is largest at u = 2^{1/2}.
ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(lambda numbers: np.maximum(numbers, 0.0), 1.0),
    "gelu": Activation(_gelu, float(ndtr(np.sqrt(2)) + np.exp(-1) / np.sqrt(np.pi))),
    "tanh": Activation(np.tanh, 1.0),
}

if TYPE_CHECKING:
    ActivationName = str
else:
    ActivationName = Literal[tuple(ACTIVATIONS)]


#: The arguments of a perceptron that are arrays, with what formulas and files call them.
ARRAYS = {"inner": "U", "offset": "b", "outer": "W"}


@dataclass(frozen=True, eq=False)
class Perceptron(Drift):
    """The drift W s(U x + b), with s in each component (arXiv 2601.21366, 2605.07772).

    Args:
        inner: U, ``shape=(h, d)``.
        offset: b, ``shape=(h,)``.
        outer: W, ``shape=(d, h)``.
        activation: s: "relu", "gelu" or "tanh".

    Raises:
        ValueError: If an array is not of finite real numbers, shapes do not fit, or s is none of
            these.
    """

    inner: npt.ArrayLike
    offset: npt.ArrayLike
    outer: npt.ArrayLike
    activation: ActivationName = "relu"

    def __post_init__(self) -> None:
        """Check the arguments, and keep copies: the caller's own arrays may change."""
        if self.activation not in ACTIVATIONS:
            allowed = ", ".join(ACTIVATIONS)
            raise ValueError(f"activation is {self.activation!r}; allowed: {allowed}")
        for name, symbol in ARRAYS.items():
            array = np.array(getattr(self, name))
            if not np.can_cast(array.dtype, float, casting="same_kind"):
                raise ValueError(f"{symbol} must be of real numbers")
            if not np.all(np.isfinite(array)):
                raise ValueError(f"{symbol} must be finite")
            object.__setattr__(self, name, array.astype(float))
        inner, *_ = self.arrays
        if inner.ndim != 2 or not inner.size:
            raise ValueError(f"U has shape {inner.shape}; must be (h, d)")
        if problem := self.problem_in(inner.shape[1]):
            raise ValueError(problem)

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """U, b and W."""
        return np.asarray(self.inner), np.asarray(self.offset), np.asarray(self.outer)

    def velocity(self, points: Array) -> Array:
        """W s(U x + b), ``shape=(n, d)``."""
        inner, offset, outer = self.arrays
        act = ACTIVATIONS[self.activation].values
        velocity = np.empty(points.shape)
        length = max(1, _ENTRIES // len(inner))
        for first in range(0, len(points), length):
            block = slice(first, first + length)
            velocity[block] = act(points[block] @ inner.T + offset) @ outer.T
        return velocity

    @cached_property
    def slope(self) -> float:
        """|W| max|s'| |U|."""
        inner, _, outer = self.arrays
        return spectral_norm(outer) * ACTIVATIONS[self.activation].slope * spectral_norm(inner)

    def problem_in(self, dimension: int) -> str | None:
        """What is wrong with the arrays' shapes, if anything."""
        hidden = len(self.arrays[0])
        wanted = (hidden, dimension), (hidden,), (dimension, hidden)
        for symbol, array, shape in zip(ARRAYS.values(), self.arrays, wanted, strict=True):
            if array.shape != shape:
                return f"{symbol} has shape {array.shape}; must be {shape}"
        return None
