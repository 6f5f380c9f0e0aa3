"""Normal random numbers: their law, and that they belong to rows whoever draws them."""

import numpy as np
import pytest

from meanformer.attention.measures.measure import uniform_numbers
from meanformer.normals import normal_numbers


def test_are_normal():
    numbers = normal_numbers(0, 200_000, 2, 0, (1, 0, 0))
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0)):
        values = numbers.ravel() ** power
        assert abs(values.mean() - moment) < 4 * values.std() / np.sqrt(values.size)
    assert abs((numbers[:, 0] * numbers[:, 1]).mean()) < 4 / np.sqrt(len(numbers))


def test_belong_to_tokens_whoever_draws_them():
    everything = normal_numbers(0, 100, 3, 5, (1, 0, 7))
    assert np.array_equal(normal_numbers(40, 25, 3, 5, (1, 0, 7)), everything[40:65])
    assert normal_numbers(40, 0, 3, 5, (1, 0, 7)).shape == (0, 3)


@pytest.mark.parametrize(
    "seed, key",
    [(6, (1, 0, 7)), (5, (1, 1, 7)), (5, (1, 0, 8)), (5 + 2**32, (1, 0, 7)), (5, (2, 7))],
)
def test_of_other_keys_are_independent(seed, key):
    keys = ((5, (1, 0, 7)), (seed, key))
    here, there = (normal_numbers(0, 100_000, 1, *each)[:, 0] for each in keys)
    assert abs(here @ there) < 4 * np.sqrt(len(here))


def test_are_independent_of_the_start():
    start = uniform_numbers(0, 100_000, 5)[:, 1] - 0.5
    noise = normal_numbers(0, 100_000, 1, 5, (1, 0, 0))[:, 0]
    assert abs(start @ noise) < 4 * np.sqrt(len(start) / 12)


def test_are_finite_at_the_ends(monkeypatch):
    class Ends:
        def __init__(self, _):
            pass

        def random(self, shape):
            return np.resize([0.0, 1 - 2.0**-53], shape)

    monkeypatch.setattr(np.random, "Generator", Ends)
    least, largest = normal_numbers(0, 1, 2, 0, (1, 0, 0))[0]
    assert -8.4 < least < -8.2 and 8.2 < largest < 8.4
