"""Spectra of value matrices: the leading eigenvalue and its space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meanformer.arrays import Array

# Eigenvalues of one multiple eigenvalue differ by round-off, and by its root where it is defective.
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class LeadingSpace:
    """The eigenvalue of a matrix with the largest modulus, and what belongs to it.

    Attributes:
        eigenvalue: lambda_1; of a pair of complex ones that with positive imaginary part.
        right: A basis phi_1, ..., phi_k of its eigenvectors, orthonormal, ``shape=(d, k)``.
        left: The basis psi_1, ..., psi_k of left eigenvectors with <psi_i, phi_j> = delta_ij, so
            that <psi, x> are the coordinates of x in that space along the others, likewise. Empty
            where there is no such basis: eigenvectors are complex, or do not span (a defective
            eigenvalue).
        gap: 1 - |lambda| / |lambda_1|, lambda the largest of the other eigenvalues; 1 if there is
            none.
    """

    eigenvalue: complex
    right: Array
    left: Array
    gap: float

    @property
    def multiplicity(self) -> int:
        """k; 0 where eigenvectors are complex or do not span."""
        return self.left.shape[1]


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
    """The leading eigenvalue of V as section 4 of arXiv 2305.05465 asks for.

    Args:
        value: V, ``shape=(d, d)``.

    Returns:
        None where the eigenvalue of the largest modulus is complex, not positive, not simple, or
        has another within 1e-6 of its modulus.
    """
    space = leading_space(value)
    if space.multiplicity != 1 or space.gap <= _SAME or space.eigenvalue.real <= 0:
        return None
    return Leading(space.eigenvalue.real, space.right[:, 0], space.left[:, 0], space.gap)


def leading_space(value: Array) -> LeadingSpace:
    """The leading eigenvalue of a matrix, ``shape=(d, d)``, with its eigenvectors.

    Of several of the same modulus, the one with the largest real part leads, and the gap is 0.
    """
    eigenvalues = np.linalg.eigvals(value)
    sizes = np.abs(eigenvalues)
    largest = float(sizes.max(initial=0.0))
    nothing = np.zeros((len(value), 0))
    if largest == 0:
        return LeadingSpace(0.0, nothing, nothing, 0.0)
    near = np.flatnonzero(sizes >= largest * (1 - _SAME))
    ordered = sorted(near, key=lambda i: (-eigenvalues[i].real, -eigenvalues[i].imag))
    first = complex(eigenvalues[ordered[0]])
    same = np.abs(eigenvalues - first) <= _SAME * largest
    gap = 1 - float(sizes[~same].max(initial=0.0)) / largest
    if abs(first.imag) > _SAME * largest:
        return LeadingSpace(first, nothing, nothing, gap)
    centre = float(eigenvalues[same].real.mean())
    left, singular, right = np.linalg.svd(value - centre * np.eye(len(value)))
    count = int(np.count_nonzero(same))
    scale = max(largest, singular[0])
    if singular[-count] > _SAME * scale:
        return LeadingSpace(centre, nothing, nothing, gap)
    phi, psi = right[-count:].T, left[:, -count:]
    if count == 1:  # a sign that depends on neither the library nor round-off
        sizes = np.abs(phi[:, 0])
        phi = phi * np.sign(phi[np.argmax(sizes >= (1 - _SAME) * sizes.max()), 0])
    overlap = phi.T @ psi
    if np.linalg.cond(overlap) > 1 / _SAME:
        return LeadingSpace(centre, nothing, nothing, gap)
    return LeadingSpace(centre, phi, psi @ np.linalg.inv(overlap), gap)


def symmetric_part(matrix: Array) -> Array:
    """(M + M^T) / 2."""
    return (matrix + matrix.T) / 2
