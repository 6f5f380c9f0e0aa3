"""Equally spaced tokens on the circle: perturbations grow at the Jacobian's eigenvalues."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.special import iv

from meanformer.attention import Attention, Sphere
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

# Of a perturbation that grows by no more than about e, whose square is below what is claimed.
AMPLITUDE = 1e-5


def eigenvalue(law, beta, number, mode):
    """(1/beta) [sum_j (p+jn)^2 I_{p+jn} - sum_j (jn)^2 I_{jn}], over Z_0 / n for softmax."""
    orders = number * np.arange(-60, 61)
    rate = sum((mode + orders) ** 2 * iv(abs(mode + orders), beta) - orders**2 * iv(orders, beta))
    angles = 2 * np.pi * np.arange(number) / number
    return rate / beta * (number / np.exp(beta * np.cos(angles)).sum() if law == "softmax" else 1)


def perturbed(law, beta, number, mode, sign, time):
    """Angles at a time, less those of the lattice, ``shape=(number,)``."""
    lattice = 2 * np.pi * np.arange(number) / number
    start = lattice + sign * AMPLITUDE * np.cos(mode * lattice)
    tokens = TokenSolver(
        np.column_stack([np.cos(start), np.sin(start)]),
        Attention(law, beta),
        Sphere(2),
        MPI.COMM_SELF,
        integrator="adaptive",
        tolerance=1e-13,
    )
    x, y = advance(tokens, time).points.T
    cosine, sine = np.cos(lattice), np.sin(lattice)
    return np.arctan2(cosine * y - sine * x, cosine * x + sine * y)


@pytest.mark.verification
@pytest.mark.parametrize("law", ["softmax", "unnormalised"])
@pytest.mark.parametrize("number", [2, 3, 4, 6, 8])
def test_perturbations_grow_at_the_eigenvalues(law, number, verify):
    largest = 0.0
    for beta in (1.5, 5.0):
        for mode in range(1, number // 2 + 1):
            wanted = eigenvalue(law, beta, number, mode)
            time = 1 / max(abs(wanted), 1.0)
            # Opposite perturbations: what is even in the amplitude cancels.
            after = perturbed(law, beta, number, mode, 1, time)
            after -= perturbed(law, beta, number, mode, -1, time)
            profile = np.cos(2 * np.pi * mode * np.arange(number) / number)
            amplitude = after @ profile / (2 * profile @ profile)
            growth = np.log(amplitude / AMPLITUDE) / time
            largest = max(largest, abs(growth - wanted) / max(abs(wanted), 1.0))
    verify(
        f"Growth rates of {number} equally spaced tokens on $S^1$, {law}, β = 1.5 and 5",
        "eigenvalues of the Jacobian by Bessel functions",
        f"off by {largest:.1e}",
    )
    assert largest < 1e-7


def test_two_formulas_of_the_eigenvalue_agree():
    assert eigenvalue("softmax", 3.0, 4, 2) == pytest.approx(3.0 / np.cosh(1.5) ** 2, rel=1e-12)
