"""The kernels k(x, y) that backends sum, and what each backend needs to know of them.

A kernel is a function of the logit t = <A x, y>, or a product of features of x and of y.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit

from meanformer.arrays import Array
from meanformer.attention.backends.direct import tiles
from meanformer.attention.backends.harmonic import eigenvalues as harmonic

#: In place of minus infinity, of which differences would not be numbers.
NOTHING = -1e30
LOG2_E = float(np.log2(np.e))


class Kernel(ABC):
    """What backends ask of a kernel.

    Attributes:
        exponential: Whether it is e^t: then weights have logarithmic factors, and sums a scale.
        smooth: Whether it is, so that harmonics may serve.
        local: Whether it is negligible where t is far below its largest value.
        separable: Whether two moments of the measure give all sums.
        log_features: The logarithm of the features of which it is a product, ``shape=(n, r)`` to
            ``(n, s)``; None for a function of the logits.
        offset: What is added to the logits.
        tie_tolerance: Where only the largest logit and its ties count: how far ties may be below
            it, relative to |A x| max|y|; None elsewhere.
        unit: Logits of compiled loops are in units of 1 / ``unit``: bits for powers of two.
        add: The compiled loop of ``tiles`` that adds its terms to sums.
        turn: The compiled loop of ``tiles`` that turns logits into its terms.
        weigh: The compiled loop of ``tiles`` that turns logits of small systems into terms.
    """

    exponential = False
    smooth = True
    local = False
    separable = False
    log_features: Callable[[Array], Array] | None = None
    offset: float = 0.0
    tie_tolerance: float | None = None
    unit = LOG2_E
    add: Callable[..., None]
    turn: Callable[..., None]
    weigh: Callable[..., None]

    def term(self, library: Any, logits: Any) -> Any:
        """Its values at logits in units of 1 / ``unit``, as numpy, torch and the like have them.

        Of a kernel that is summed pair by pair.
        """
        raise NotImplementedError

    @property
    def reference(self) -> float:
        """From where loops count logits, before they have seen any; in their units."""
        return NOTHING if self.local else -self.unit * self.offset

    @abstractmethod
    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """The kernel of all pairs: k(x_i, y_j) e^{-c_i}, ``shape=(m, n)``, and c, ``shape=(m,)``.

        Args:
            queries: ``Problem.queries``, ``shape=(m, r)``.
            keys: ``Problem.keys``, ``shape=(n, r)``, n > 0.
            log_factors: Of the keys, ``shape=(n,)``, for an exponential kernel; None for zeros.
        """

    def degree(self, slope: float, dimension: int) -> int | None:
        """At which degree t -> k(slope t) is at round-off as a series of harmonics.

        The slope is A, a multiple of the identity, the dimension 2 for the circle, 3 for the
        sphere. None stands for a degree that is far too large.
        """
        raise NotImplementedError

    def log_largest(self, slope: float) -> float:
        """The logarithm of the largest k(slope t), -1 <= t <= 1."""
        raise NotImplementedError

    def eigenvalues(self, slope: float, degree: int, dimension: int) -> Array:
        """Funk-Hecke eigenvalues of k(slope t) over its largest value, ``shape=(degree+1,)``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Exponential(Kernel):
    """k = e^t."""

    exponential = True
    local = True
    add = staticmethod(tiles.add_exponentials)
    turn = staticmethod(tiles.turn_exponentials)
    weigh = staticmethod(tiles.weigh_exponentials)

    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """See ``Kernel``."""
        logits = queries @ keys.T
        if log_factors is not None:
            logits += log_factors
        largest = logits.max(axis=1, initial=NOTHING)
        return np.exp(logits - largest[:, None]), largest

    def term(self, library: Any, logits: Any) -> Any:
        """See ``Kernel``."""
        return library.exp2(logits)

    def degree(self, slope: float, dimension: int) -> int | None:
        """See ``Kernel``."""
        return harmonic.degree_of_exponential(slope, dimension)

    def log_largest(self, slope: float) -> float:
        """See ``Kernel``."""
        return abs(slope)

    def eigenvalues(self, slope: float, degree: int, dimension: int) -> Array:
        """See ``Kernel``."""
        return harmonic.of_exponential(slope, degree, dimension)


@dataclass(frozen=True)
class Logistic(Kernel):
    """k = s(t + offset), s(u) = 1 / (1 + e^{-u})."""

    offset: float = 0.0
    add = staticmethod(tiles.add_logistics)
    turn = staticmethod(tiles.turn_logistics)
    weigh = staticmethod(tiles.weigh_logistics)

    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """See ``Kernel``."""
        return expit(queries @ keys.T + self.offset), np.zeros(len(queries))

    def term(self, library: Any, logits: Any) -> Any:
        """See ``Kernel``."""
        return 1 / (1 + library.exp2(-logits))

    def degree(self, slope: float, dimension: int) -> int | None:
        """See ``Kernel``."""
        return harmonic.degree_of_logistic(slope, self.offset, self.log_largest(slope))

    def log_largest(self, slope: float) -> float:
        """See ``Kernel``."""
        top = abs(slope) + self.offset
        return float(min(top, 0.0) - np.log1p(np.exp(-abs(top))))

    def scaled(self, slope: float, cosines: Array) -> Array:
        """k(slope t) over its largest value, with its relative accuracy where it is tiny."""
        logits = slope * cosines + self.offset
        # s(u) = e^{min(u, 0)} / (1 + e^{-|u|}): nothing overflows, nothing cancels.
        numerator: Array = np.exp(np.minimum(logits, 0) - self.log_largest(slope))
        denominator: Array = 1 + np.exp(-np.abs(logits))
        return numerator / denominator

    def eigenvalues(self, slope: float, degree: int, dimension: int) -> Array:
        """See ``Kernel``; the degree must be one at which the series is at round-off."""
        return harmonic.of_function(lambda t: self.scaled(slope, t), degree, dimension)


@dataclass(frozen=True)
class Indicator(Kernel):
    """k = 1 where t is within tie_tolerance |Ax| max|y| of its maximum over y, 0 elsewhere."""

    tie_tolerance: float = field()
    smooth = False
    local = True
    unit = 1.0
    add = staticmethod(tiles.add_indicators)
    turn = staticmethod(tiles.turn_indicators)
    weigh = staticmethod(tiles.weigh_indicators)

    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """See ``Kernel``."""
        logits = queries @ keys.T
        of_queries, of_keys = (np.sqrt(np.einsum("ij,ij->i", a, a)) for a in (queries, keys))
        slack = self.tie_tolerance * of_keys.max() * of_queries[:, None]
        kept: Array = (logits >= logits.max(axis=1, keepdims=True) - slack).astype(float)
        return kept, np.zeros(len(queries))

    def term(self, library: Any, logits: Any) -> Any:
        """See ``Kernel``."""
        return (logits >= 0) * 1.0


@dataclass(frozen=True)
class Logit(Kernel):
    """k = t."""

    separable = True
    unit = 1.0
    weigh = staticmethod(tiles.weigh_logits)

    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """See ``Kernel``."""
        return queries @ keys.T, np.zeros(len(queries))


@dataclass(frozen=True)
class Features(Kernel):
    """k = <phi(Q x), phi(K y)> with positive phi, whose logarithm is given."""

    log_features: Callable[[Array], Array] | None
    separable = True
    unit = 1.0
    weigh = staticmethod(tiles.weigh_logits)

    def dense(self, queries: Array, keys: Array, log_factors: Array | None) -> tuple[Array, Array]:
        """See ``Kernel``."""
        of_queries, of_keys, largest = scaled_features(queries, keys)
        return of_queries @ of_keys.T, largest


def scaled_features(queries: Array, keys: Array) -> tuple[Array, Array, Array]:
    """Features whose products are those of e^queries and e^keys over e^c, and c.

    From ``shape=(..., m, r)`` and ``(..., n, r)`` to the same and ``(..., m)``; none exceeds 1.
    """
    tops = keys.max(axis=-2, keepdims=True)
    exponents = queries + tops
    largest = exponents.max(axis=-1)
    return np.exp(exponents - largest[..., None]), np.exp(keys - tops), largest
