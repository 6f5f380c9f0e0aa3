"""Orders of convergence, fitted to errors at several resolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from meanformer.arrays import Array

# Between these the exponent is searched for, where it has no closed form.
_LEAST, _MOST = 1e-3, 40.0


@dataclass(frozen=True)
class Order:
    """A law error = C x^p, or one relative to the run at ``finest``; see ``fit_order``.

    Attributes:
        order: p.
        constant: C.
        finest: x of the run that errors are relative to; 0 where they are relative to a limit.
        power: k of the law.
    """

    order: float
    constant: float
    finest: float = 0.0
    power: int = 1

    def law(self, sizes: npt.ArrayLike) -> Array:
        """The errors that the law gives at some x, ``shape=(n,)``; nan below ``finest``."""
        x = np.atleast_1d(np.asarray(sizes, dtype=float))
        exponent = self.power * self.order
        return self.constant * np.exp(_logarithm(x, exponent, self.finest) / self.power)


def fit_order(
    sizes: npt.ArrayLike, errors: npt.ArrayLike, finest: float = 0.0, power: int = 1
) -> Order | None:
    """Fit errors by error^k = C^k (x^{kp} - x_f^{kp}), by least squares in their logarithms.

    With x_f = 0 that is C x^p. Else errors are relative to the run at x_f, which is not exact: a
    straight line through them would be too steep. k is 1 where the errors of two runs subtract, and
    2 where their variances do, as of the first n and the first n_f > n samples of a sequence.

    Args:
        sizes: x of each run, such as the mesh size, ``shape=(n,)``.
        errors: Its error, ``shape=(n,)``. Runs without a positive error are left out.
        finest: x_f, below all sizes.
        power: k.

    Returns:
        The law, or None where fewer than two runs at different x are left, or no p > 0 fits.
    """
    x, logarithm = _used(sizes, errors, finest, power)
    exponent = _fit(x, logarithm, finest)
    if np.isnan(exponent) or (finest > 0 and exponent == 0):
        return None
    constant = np.exp(np.mean(logarithm - _logarithm(x, exponent, finest)) / power)
    return Order(exponent / power, float(constant), finest, power)


def order_between(
    sizes: npt.ArrayLike, errors: npt.ArrayLike, finest: float = 0.0, power: int = 1
) -> float:
    """The p of the law of ``fit_order`` through two runs.

    Returns:
        0 where errors relative to a run grow towards it, or fall more slowly than by any power; nan
        where one is missing.
    """
    return _fit(*_used(sizes, errors, finest, power), finest) / power


def _used(
    sizes: npt.ArrayLike, errors: npt.ArrayLike, finest: float, power: int
) -> tuple[Array, Array]:
    """Sizes x, and log(error^k), of the runs that the law holds for."""
    x, error = (np.asarray(part, dtype=float) for part in (sizes, errors))
    used = np.isfinite(x) & (x > finest) & np.isfinite(error) & (error > 0)
    return x[used], power * np.log(error[used])


def _logarithm(x: Array, exponent: float, finest: float) -> Array:
    """log(x^q - x_f^q), without overflow."""
    with np.errstate(divide="ignore", invalid="ignore"):
        behind = np.log(-np.expm1(exponent * np.log(finest / x))) if finest > 0 else 0.0
        return exponent * np.log(x) + behind


def _fit(x: Array, logarithm: Array, finest: float) -> float:
    """The q of least squares, not negative if relative to a run; nan for fewer than two x."""
    if len(np.unique(x)) < 2:
        return np.nan
    if finest == 0:
        return float(np.polyfit(np.log(x), logarithm, 1)[0])

    def scatter(exponent: float) -> float:
        return float(np.var(logarithm - _logarithm(x, exponent, finest)))

    found = minimize_scalar(scatter, bounds=(_LEAST, _MOST), options={"xatol": 1e-10})
    return float(found.x) if found.x > 2 * _LEAST else 0.0
