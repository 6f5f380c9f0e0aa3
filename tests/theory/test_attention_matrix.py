"""Boolean rows and ranks of matrices that are made to have them."""

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean
from meanformer.theory import boolean_rows, numerical_rank


def test_rows_within_the_tolerance_of_unit_vectors():
    rows = np.array(
        [
            [0.0, 1.0, 0.0],
            [1.0 - 9e-7, 9e-7, 0.0],
            [1.0 - 2e-6, 1e-6, 1e-6],
            [0.5, 0.5, 0.0],
            [1.0, 2e-6, -2e-6],
        ]
    )
    assert boolean_rows(rows).tolist() == [True, True, False, False, False]
    # Of several heads, a row counts where it is one in all of them.
    both = boolean_rows(np.stack([rows, rows[[0, 3, 1, 1, 1]]]))
    assert both.tolist() == [True, False, False, False, False]
    assert boolean_rows(np.empty((2, 0, 5))).tolist() == []


def with_singular_values(values, count, seed=0):
    numbers = np.random.default_rng(seed)
    left, right = (np.linalg.qr(numbers.normal(size=(count, len(values))))[0] for _ in range(2))
    return 7.0 * (left * values) @ right.T


@pytest.mark.parametrize("count", [20, 400, 700])
@pytest.mark.parametrize("rank", [1, 2, 17])
def test_singular_values_above_the_tolerance_count(count, rank):
    above = np.geomspace(1.0, 1.01e-6, rank) if rank > 1 else np.ones(1)
    below = np.geomspace(0.99e-6, 1e-9, 3)
    assert numerical_rank(with_singular_values([*above, *below], count)) == rank


@pytest.mark.parametrize("rank", [63, 64, 65, 200, 256, 300, 700])
def test_ranks_about_the_sizes_of_sketches(rank):
    assert numerical_rank(with_singular_values(np.geomspace(1.0, 1e-3, rank), 700)) == rank


def test_what_a_sketch_leaves_is_not_forgotten():
    # Far more singular values than a sketch has columns, most of them just above the tolerance.
    matrix = with_singular_values(np.append(np.ones(3), np.full(500, 1.1e-6)), 700)
    assert numerical_rank(matrix) == 503


def test_of_heads_the_largest_rank_counts():
    heads = np.stack([with_singular_values(np.ones(rank), 30) for rank in (2, 5, 3)])
    assert numerical_rank(heads) == 5
    assert numerical_rank(np.eye(300)) == 300


def test_tokens_at_late_times_in_one_dimension():
    # Section 2 of arXiv 2305.05465: all rows but one choose the leftmost or rightmost token.
    tokens = 400.0 * np.sort(np.random.default_rng(2).uniform(-5, 5, size=(50, 1)), axis=0)
    evaluator = Attention().prepare(tokens, tokens, Euclidean(1))
    matrix = evaluator.matrix(np.full(50, 1 / 50))
    assert boolean_rows(matrix).sum() >= 49
    assert numerical_rank(matrix) in (1, 2)
