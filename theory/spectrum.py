"""The eigenvalue of V that late times are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eig

from meanformer.arrays import Array

# Eigenvalues are told apart where their moduli differ by more than this share of the largest, and
# left and right eigenvectors are not orthogonal where their product exceeds it.
_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class Leading:
    """A real positive simple eigenvalue that is larger in modulus than all others.

    Attributes:
        eigenvalue: lambda_1.
        right: phi with V phi = lambda_1 phi and |phi| = 1, whose largest entry (the first of them)
            is positive, ``shape=(d,)``.
        left: psi with psi V = lambda_1 psi and <psi, phi> = 1, ``shape=(d,)``.
        gap: 1 - |lambda_2| / lambda_1, positive, at most 1.
    """

    eigenvalue: float
    right: Array
    left: Array
    gap: float


def leading(value: Array) -> Leading | None:
    """The leading eigenvalue of V as theorem 4.1 of arXiv 2305.05465 asks for.

    Args:
        value: V, ``shape=(d, d)``.

    Returns:
        None where the eigenvalue of the largest modulus is complex or not positive, where another's
        modulus is that large up to 1e-8 of it, or where <psi, phi> is zero up to 1e-8 |psi| |phi|.
    """
    eigenvalues, lefts, rights = eig(value, left=True, right=True)
    order = np.argsort(-np.abs(eigenvalues), kind="stable")
    first = eigenvalues[order[0]]
    second = abs(eigenvalues[order[1]]) if len(order) > 1 else 0.0
    if not (first.imag == 0 and first.real > 0):
        return None
    gap = float(1 - second / first.real)
    right, left = rights[:, order[0]].real, lefts[:, order[0]].real
    product = float(left @ right)  # both are unit vectors
    if gap <= _TOLERANCE or abs(product) <= _TOLERANCE:
        return None
    largest = right[np.argmax(np.abs(right) >= (1 - _TOLERANCE) * np.abs(right).max())]
    sign = float(np.sign(largest))
    return Leading(float(first.real), sign * right, sign * left / product, gap)
