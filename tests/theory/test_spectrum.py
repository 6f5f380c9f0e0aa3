"""The leading eigenvalue of matrices that are made of their eigenvalues."""

import numpy as np
import pytest

from meanformer.theory.spectrum import leading, leading_space

BASIS = np.array([[2.0, 1.0, 0.0], [-1.0, 1.0, 0.5], [0.3, 0.0, 1.0]])


def with_eigenvalues(*values, basis=BASIS):
    return basis @ np.diag(values) @ np.linalg.inv(basis)


def test_the_matrix_of_the_hyperplanes():
    value = np.array([[0.64709742, 0.81911926], [0.61210449, 0.63263484]])
    found = leading(value)
    assert np.abs(value @ found.right - found.eigenvalue * found.right).max() < 1e-14
    assert np.abs(found.left @ value - found.eigenvalue * found.left).max() < 1e-14
    # Trace and determinant of two by two.
    trace, determinant = np.trace(value), np.linalg.det(value)
    root = np.sqrt(trace**2 / 4 - determinant)
    assert found.eigenvalue == pytest.approx(trace / 2 + root, rel=1e-14)
    assert found.gap == pytest.approx(1 - (root - trace / 2) / found.eigenvalue, rel=1e-13)


@pytest.mark.parametrize("sign", [1, -1])
def test_eigenvectors_and_their_normalisation(sign):
    basis = sign * BASIS
    found = leading(with_eigenvalues(3.0, -2.0, 0.5, basis=basis))
    assert found.eigenvalue == pytest.approx(3.0) and found.gap == pytest.approx(1 / 3)
    assert np.allclose(found.right, BASIS[:, 0] / np.linalg.norm(BASIS[:, 0]), atol=1e-14)
    assert np.linalg.norm(found.right) == pytest.approx(1.0)
    assert found.left @ found.right == pytest.approx(1.0)
    assert np.abs(found.left @ BASIS[:, 1:]).max() < 1e-14


def test_one_dimension():
    found = leading(np.array([[2.0]]))
    assert (found.eigenvalue, found.gap) == (2.0, 1.0)
    assert found.right.tolist() == found.left.tolist() == [1.0]
    assert leading(np.array([[-2.0]])) is None


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((3, 3)),
        np.eye(3),
        -np.eye(3),
        with_eigenvalues(2.0, 2.0, 1.0),
        with_eigenvalues(2.0, -2.0, 1.0),
        with_eigenvalues(-3.0, 2.0, 1.0),
        np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[0.0, -3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
    ids=["0", "I", "-I", "double", "opposite", "negative", "Jordan block", "rotation"],
)
def test_none_where_it_is_not_simple_and_positive(value):
    assert leading(value) is None


def test_the_space_of_a_simple_one():
    space = leading_space(with_eigenvalues(2.0, -1.5, 0.5))
    assert space.eigenvalue == pytest.approx(2.0) and space.gap == pytest.approx(0.25)
    assert space.right[:, 0] == pytest.approx(BASIS[:, 0] / np.linalg.norm(BASIS[:, 0]))
    left = np.linalg.inv(BASIS)[0] * np.linalg.norm(BASIS[:, 0])
    assert space.left[:, 0] == pytest.approx(left)


def test_the_space_of_a_double_one():
    value = with_eigenvalues(2.0, 2.0, -0.5)
    space = leading_space(value)
    assert space.multiplicity == 2 and space.gap == pytest.approx(0.75)
    assert space.left.T @ space.right == pytest.approx(np.eye(2), abs=1e-12)
    assert value @ space.right == pytest.approx(2 * space.right)
    assert space.left.T @ value == pytest.approx(2 * space.left.T)


def test_the_space_of_the_identity():
    space = leading_space(3 * np.eye(3))
    assert space.multiplicity == 3 and space.gap == 1 and space.eigenvalue == 3


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.0, -1.0], [1.0, 1.0]]),  # complex
        np.array([[1.0, 1.0], [0.0, 1.0]]),  # defective
        np.zeros((2, 2)),
    ],
)
def test_no_space(value):
    assert leading_space(value).multiplicity == 0


def test_one_of_the_same_modulus_leaves_no_gap():
    assert leading_space(with_eigenvalues(2.0, -2.0, 0.5)).gap == 0
    assert leading_space(with_eigenvalues(2.0, -2.0, 0.5)).eigenvalue == pytest.approx(2.0)
    assert leading_space(with_eigenvalues(-2.0, 1.0, 0.5)).eigenvalue == pytest.approx(-2.0)
