"""The positivity limiter."""

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

from meanformer.meshes import icosphere
from meanformer.pde.dg.limiter import PositivityLimiter
from meanformer.pde.quadrature import CellQuadrature, tabulate


@pytest.fixture(params=[0, 1, 2, 3])
def pieces(request):
    degree = request.param
    domain = icosphere(MPI.COMM_SELF, level=1, geometry_degree=2, perturbation=0.2)
    space = fem.functionspace(domain, ("Discontinuous Lagrange", degree))
    quadrature = CellQuadrature(domain, 2 * degree + 1)
    basis = tabulate(space, quadrature.reference)
    integrals = quadrature.weights @ basis
    element = space.element.basix_element
    limiter = PositivityLimiter(element, quadrature.reference, 2 * degree + 1, integrals)
    return limiter, integrals, basis


def test_makes_polynomials_non_negative_and_keeps_cell_means(pieces):
    limiter, integrals, basis = pieces
    values = np.random.default_rng(0).normal(0.5, 1.0, size=integrals.shape)
    means = (integrals * values).sum(axis=1)
    values[means < 0] *= -1
    means = np.abs(means)
    assert limiter(values) == 0
    assert values.min() >= 0
    assert (values @ basis.T).min() >= 0
    assert np.allclose((integrals * values).sum(axis=1), means, rtol=1e-13)


def test_leaves_positive_polynomials_alone(pieces):
    limiter, integrals, _ = pieces
    values = np.random.default_rng(0).uniform(1.0, 1.1, size=integrals.shape)
    before = values.copy()
    assert limiter(values) == 0
    assert np.array_equal(values, before)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_counts_cells_without_a_positive_mean_and_empties_them(pieces, bad):
    limiter, integrals, _ = pieces
    values = np.ones(integrals.shape)
    values[3] = bad
    assert limiter(values) == 1
    assert np.all(values[3] == 0.0)
    assert np.all(values[4] == 1.0)


@pytest.mark.parametrize("pieces", [1, 2, 3], indirect=True)
def test_round_off_below_zero_becomes_zero(pieces):
    limiter, integrals, _ = pieces
    values = np.ones(integrals.shape)
    # A first cell whose mean is -3e-15 against values of order one.
    heavy = np.argmax(integrals[0])
    values[0, heavy] -= (1 + 3e-15) * integrals[0].sum() / integrals[0, heavy]
    assert limiter(values) == 0
    assert np.all(values[0] == 0.0)
    assert np.all(values[1:] == 1.0)
