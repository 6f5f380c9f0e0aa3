"""Attention in variables that stay bounded in R^d: late times (arXiv 2305.05465, section 1).

For x' = V xbar, xbar_i = sum_j P_ij x_j, the rescaled variables z = e^{-tV} x follow
z' = V (zbar - z). Where V contracts, e^{-tV} expands, and x is the bounded one. With V = V_+ + V_-,
its parts on eigenspaces of positive and of other real parts, what is integrated is

    y = e^{-t V_+} x,    y' = V ybar - V_+ y,    z = e^{-t V_-} y.

Of layers one after another, z = Phi(t)^{-1} x with Phi' = V(t) Phi, and y = Psi(t)^{-1} x with
Psi' = V_+(t) Psi; in y, the layer's V and V_+ are Psi^{-1} V Psi and Psi^{-1} V_+ Psi.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import expm, schur, solve_sylvester

from meanformer.arrays import Array
from meanformer.attention.attention import Attention
from meanformer.attention.heads import Head
from meanformer.attention.laws import LAWS
from meanformer.attention.matrices import full, sum_of
from meanformer.attention.schedule import Model
from meanformer.errors import SolverError

# V is cut into its parts where real parts leave the widest gap within this share of the largest.
_NEAR_ZERO = 0.1
#: Logits are squares of what e^{tV} makes, and must be finite: t times the largest real part of an
#: eigenvalue of V may be as large.
LARGEST_EXPONENT = 300.0


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
    cut = _cut(parts)
    count = int(np.count_nonzero(parts > cut))
    if count in (0, len(parts)):
        return value * (count > 0)
    # V - cut has its right half plane where V has parts above the cut.
    shifted, basis, found = schur(value - cut * np.eye(len(value)), sort="rhp")
    triangular = shifted + cut * np.eye(len(value))
    upper, lower = triangular[:found, :found], triangular[found:, found:]
    # The projection on the first space along the other is [[1, X], [0, 0]] in this basis.
    coupling = solve_sylvester(upper, -lower, triangular[:found, found:])
    projection = basis[:, :found] @ np.hstack([np.eye(found), coupling]) @ basis.T
    return value @ projection


def _cut(parts: Array) -> float:
    """Where to cut real parts in two: in the widest gap near zero."""
    near = _NEAR_ZERO * np.abs(parts).max(initial=0.0)
    inner = np.sort(parts[np.abs(parts) < near])
    edges = np.concatenate([[-near], inner, [near]])
    widest = int(np.argmax(np.diff(edges)))
    return float(edges[widest : widest + 2].mean())


@dataclass(frozen=True, eq=False)
class RescaledLayer:
    """One model in the variables y, from the time at which it begins.

    Attributes:
        attention: The model that x follows, of a normalised law.
        start: When it begins.
        psi: Psi then, ``shape=(d, d)``.
        phi: Phi then, likewise.
    """

    attention: Attention
    start: float
    psi: Array
    phi: Array

    @cached_property
    def value(self) -> Array:
        """V of x, the sum of the heads', ``shape=(d, d)``."""
        total = sum_of([head.matrices[2] for head in self.attention.all_heads])
        return full(total, len(self.psi))

    @property
    def rate_of_growth(self) -> float:
        """The largest real part of an eigenvalue of V, or 0: x grows like e to that times t."""
        return max(0.0, float(np.linalg.eigvals(self.value).real.max()))

    @cached_property
    def expanding(self) -> Array:
        """V_+ of x, ``shape=(d, d)``."""
        return positive_part(self.value)

    @cached_property
    def drift(self) -> Array:
        """The matrix -V_+ in y, ``shape=(d, d)``."""
        return -_moved(self.expanding, self.psi)

    @cached_property
    def _single_value(self) -> Array:
        """V in y, which commutes with e^{tV_+}, ``shape=(d, d)``."""
        return _moved(self.value, self.psi)

    def psi_at(self, time: float) -> Array:
        """Psi, ``shape=(d, d)``."""
        return _exponential((time - self.start) * self.expanding) @ self.psi

    def phi_at(self, time: float) -> Array:
        """Phi, ``shape=(d, d)``."""
        return _exponential((time - self.start) * self.value) @ self.phi

    def at(self, time: float) -> Attention:
        """The attention that gives V ybar to y: to be added to the drift."""
        psi = self.psi_at(time)
        single, heads = len(self.attention.all_heads) == 1, []
        for head in self.attention.all_heads:
            query, key, value = (full(matrix, len(psi)) for matrix in head.matrices)
            moved = self._single_value if single else _moved(value, psi)
            heads.append(Head(query @ psi, key @ psi, moved))
        return replace(self.attention, query=None, key=None, value=None, heads=tuple(heads))

    def rescaled(self, points: Array, time: float) -> Array:
        """Z of points y, ``shape=(n, d)``."""
        return points @ np.linalg.solve(self.phi_at(time), self.psi_at(time)).T

    def velocity(self, points: Array, rate: Array, time: float) -> Array:
        """The velocity z' of points y that have the rate y', ``shape=(n, d)`` each."""
        psi = self.psi_at(time)
        moved = rate @ psi.T + points @ (psi.T @ (self.expanding - self.value).T)
        return moved @ np.linalg.inv(self.phi_at(time)).T


class Rescaled:
    """A model in the variables y, layer by layer.

    Args:
        model: What x follows, of a normalised law.
        dimension: d.

    Raises:
        ValueError: If the law is not normalised, or values are relative.
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
            attention = self._model.during(end).at(end)
            self._layers.append(RescaledLayer(attention, end, last.psi_at(end), last.phi_at(end)))
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
    with np.errstate(over="ignore", invalid="ignore"):
        exponential = np.asarray(expm(matrix))
    if not np.abs(exponential).max() < np.exp(LARGEST_EXPONENT):  # also where it is not a number
        raise RescalingError("value: e^{tV} exceeds double precision at this time")
    return exponential
