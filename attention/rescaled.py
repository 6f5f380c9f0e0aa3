"""Attention in variables that stay bounded in R^d: late times (arXiv 2305.05465, section 1).

For x' = V xbar, xbar_i = sum_j P_ij x_j, the rescaled variables z = e^{-tV} x follow
z' = V (zbar - z). Where V contracts, e^{-tV} expands, and x is the bounded one. With V = V_+ + V_-,
its parts on eigenspaces of positive and of other real parts, what is integrated is

    y = e^{-t V_+} x,    y' = V ybar - V_+ y,    z = e^{-t V_-} y.

Of layers one after another, z = Phi(t)^{-1} x with Phi' = V(t) Phi, and y = Psi(t)^{-1} x with
Psi' = V_+(t) Psi. In y, a layer's matrices M are Psi^{-1} M Psi, with Psi of its start; and z = R y
with R' = -R V_-, of these: Phi, whose condition grows with the gaps of the spectrum, is not formed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import expm, schur, solve_sylvester

from meanformer.arrays import Array
from meanformer.attention.attention import Attention
from meanformer.attention.drift import LinearDrift
from meanformer.attention.heads import Head
from meanformer.attention.laws import LAWS
from meanformer.attention.matrices import full, spectral_norm
from meanformer.attention.schedule import Model
from meanformer.errors import SolverError
from meanformer.threads import blas_for

# V is cut into its parts where real parts leave the widest gap within this share of the largest, or
# of |V|: those of a defective zero are off by more than round-off.
_NEAR_ZERO, _NEAR_ZERO_OF_NORM = 0.1, 1e-2
#: Logits are squares of what e^{tV} makes, and must be finite: t times the largest real part of an
#: eigenvalue of V may be as large.
LARGEST_EXPONENT = 300.0
# The norm of e^{tV} exceeds e to that by what V is off from a normal matrix, and steps end later.
_CEILING = np.exp(LARGEST_EXPONENT + 40)
# Layers with other eigenvectors thin y out in directions in which former ones expanded less.
_LARGEST_CONDITION = 1e10


class RescalingError(SolverError):
    """The matrix e^{tV} of the rescaled variables exceeds double precision."""


def positive_part(value: Array) -> Array:
    """V_+: V on the sum of its eigenspaces of positive real parts, 0 on that of the others.

    Real parts near zero count as either: the cut is where they leave the widest gap.

    Args:
        value: V, ``shape=(d, d)``.

    Returns:
        A matrix that commutes with V, ``shape=(d, d)``.
    """
    parts = np.linalg.eigvals(value).real
    cut = _cut(parts, spectral_norm(value))
    count = int(np.count_nonzero(parts > cut))
    if count in (0, len(parts)):
        return value * (count > 0)
    try:
        # V - cut has its right half plane where V has parts above the cut.
        shifted, basis, found = schur(value - cut * np.eye(len(value)), sort="rhp")
    except np.linalg.LinAlgError:  # they cannot be told apart
        return value
    triangular = shifted + cut * np.eye(len(value))
    upper, lower = triangular[:found, :found], triangular[found:, found:]
    # The projection on the first space along the other is [[1, X], [0, 0]] in this basis.
    coupling = solve_sylvester(upper, -lower, triangular[:found, found:])
    projection = basis[:, :found] @ np.hstack([np.eye(found), coupling]) @ basis.T
    return value @ projection


def _cut(parts: Array, norm: float) -> float:
    """Where to cut real parts of a matrix of that norm in two: in the widest gap near zero."""
    near = max(_NEAR_ZERO * np.abs(parts).max(initial=0.0), _NEAR_ZERO_OF_NORM * norm)
    inner = np.sort(parts[np.abs(parts) < near])
    edges = np.concatenate([[-near], inner, [near]])
    widest = int(np.argmax(np.diff(edges)))
    return float(edges[widest : widest + 2].mean())


@dataclass(frozen=True, eq=False)
class RescaledLayer:
    """One model in the variables y, from the time at which it begins.

    Attributes:
        attention: The model that x follows, of a normalised law, without a drift.
        start: When it begins.
        psi: Psi then, ``shape=(d, d)``.
        ratio: R then, likewise.

    Raises:
        ValueError: If there is a drift.
    """

    attention: Attention
    start: float
    psi: Array
    ratio: Array

    def __post_init__(self) -> None:
        """Check the model."""
        if self.attention.drift is not None:
            raise ValueError("drift is not None; rescaled variables are for attention alone")

    @cached_property
    def value(self) -> Array:
        """V of x, the sum of the heads', ``shape=(d, d)``."""
        return self.attention.value_in(len(self.psi))

    @property
    def rate_of_growth(self) -> float:
        """The largest real part of an eigenvalue of V, or 0: x grows like e to that times t."""
        return max(0.0, float(np.linalg.eigvals(self.value).real.max()))

    @property
    def rate_of_contraction(self) -> float:
        """The same of -V: z grows like e to that times t."""
        return max(0.0, -float(np.linalg.eigvals(self.value).real.min()))

    @cached_property
    def expanding(self) -> Array:
        """V_+ of x, ``shape=(d, d)``."""
        return positive_part(self.value)

    @cached_property
    def _drift(self) -> LinearDrift:
        """The drift -V_+ y."""
        return LinearDrift(-_moved(self.expanding, self.psi))

    @cached_property
    def _rest(self) -> Array:
        """V_- in y, ``shape=(d, d)``."""
        return _moved(self.value - self.expanding, self.psi)

    @cached_property
    def _single_value(self) -> Array:
        """V in y, which commutes with e^{tV_+}, ``shape=(d, d)``."""
        return _moved(self.value, self.psi)

    def psi_at(self, time: float) -> Array:
        """Psi, ``shape=(d, d)``."""
        return _exponential((time - self.start) * self.expanding) @ self.psi

    def ratio_at(self, time: float) -> Array:
        """R, ``shape=(d, d)``."""
        return self.ratio @ _exponential((self.start - time) * self._rest)

    def at(self, time: float) -> Attention:
        """The model of y at a time: attention that gives V ybar, and beside it the drift -V_+ y."""
        psi = self.psi_at(time)
        single, heads = len(self.attention.all_heads) == 1, []
        for head in self.attention.all_heads:
            query, key, value = (full(matrix, len(psi)) for matrix in head.matrices)
            moved = self._single_value if single else _moved(value, psi)
            heads.append(Head(query @ psi, key @ psi, moved))
        return replace(
            self.attention, query=None, key=None, value=None, heads=tuple(heads), drift=self._drift
        )

    def rescaled(self, points: Array, time: float) -> Array:
        """Z of points y, ``shape=(n, d)``."""
        return points @ self.ratio_at(time).T

    def velocity(self, points: Array, rate: Array, time: float) -> Array:
        """The velocity z' of points y that have the rate y', ``shape=(n, d)`` each."""
        return (rate - points @ self._rest.T) @ self.ratio_at(time).T


class Rescaled:
    """A model in the variables y, layer by layer.

    Args:
        model: What x follows, of a normalised law.
        dimension: d.

    Raises:
        ValueError: If the law is not normalised, values are relative, or there is a drift.
    """

    def __init__(self, model: Model, dimension: int) -> None:
        first = model.during(0.0).at(0.0)
        if first.relative:
            raise ValueError("relative is True; rescaled variables are for values V y")
        if not first.normalised:
            allowed = ", ".join(sorted(name for name, law in LAWS.items() if law.normalised))
            raise ValueError(f"law is {first.law!r}; rescaled variables need one of {allowed}")
        self._model = model
        identity = np.eye(dimension)
        self._layers = [RescaledLayer(first, 0.0, identity, identity)]

    def during(self, time: float) -> RescaledLayer:
        """The layer at a time; at the moment of a change, the one that begins."""
        while (end := self.next_change(self._layers[-1].start)) <= time:
            last = self._layers[-1]
            attention, psi = self._model.during(end).at(end), last.psi_at(end)
            if not np.linalg.cond(psi) < _LARGEST_CONDITION:
                raise RescalingError(
                    f"value: layers until t = {end:g} expand some directions "
                    f"{_LARGEST_CONDITION:g} times as much as others, too much to rescale the next"
                )
            self._layers.append(RescaledLayer(attention, end, psi, last.ratio_at(end)))
        return next(layer for layer in reversed(self._layers) if layer.start <= time)

    def next_change(self, time: float) -> float:
        """The next time at which the model jumps; infinite when there is none."""
        return self._model.next_change(time)


def _moved(matrix: Array, basis: Array) -> Array:
    """B^{-1} M B, ``shape=(d, d)``."""
    moved: Array = np.linalg.solve(basis, matrix @ basis)
    return moved


def _exponential(matrix: Array) -> Array:
    """The exponential of a matrix.

    Raises:
        RescalingError: If squares of it overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"), blas_for(len(matrix) ** 3):
        exponential = np.asarray(expm(matrix))
    if not np.abs(exponential).max() < _CEILING:  # also where it is not a number
        raise RescalingError("value: e^{tV} exceeds double precision at this time")
    return exponential
