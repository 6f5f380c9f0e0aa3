"""Random streams of tokens in every space: token i depends on the seed and on i alone."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kstest

from meanformer.attention import Euclidean, Sphere
from meanformer.attention.measures import (
    UNIFORMS,
    Ball,
    Box,
    Gaussian,
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    ZonalHarmonic,
    uniform_numbers,
    uniforms_per_sample,
)

SPACES = {Sphere(2): 2, Sphere(3): 3, Euclidean(1): 2, Euclidean(2): 3, Euclidean(3): 4}
AXIS = (2 / 3, -1 / 3, 2 / 3)


@pytest.mark.parametrize("space", SPACES, ids=str)
class TestEverySpace:
    def test_numbers_of_a_sample(self, space):
        assert uniforms_per_sample(space) == SPACES[space]

    def test_stretches_are_parts_of_one_stream(self, space):
        whole = uniform_numbers(0, 100, 9, space)
        assert whole.shape == (100, SPACES[space])
        for first, count in ((0, 1), (0, 100), (33, 34), (99, 1), (50, 0)):
            part = uniform_numbers(first, count, 9, space)
            assert np.array_equal(part, whole[first : first + count])

    def test_tokens_share_no_numbers(self, space):
        numbers = uniform_numbers(10**12, 5000, 9, space)
        assert len(np.unique(numbers)) == numbers.size
        for column in numbers.T:
            assert kstest(column, "uniform").pvalue > 1e-6


def test_numbers_are_those_of_the_sphere_by_default():
    assert UNIFORMS == 3
    assert np.array_equal(uniform_numbers(5, 7, 1), uniform_numbers(5, 7, 1, Sphere(3)))


def test_tokens_on_the_sphere_are_those_of_earlier_versions():
    parts = VonMisesFisher(AXIS, 5.0), Uniform(), PoissonKernel((0.0, 0.5, 0.0))
    mixture = Mixture((*parts, ZonalHarmonic(3, 0.5, AXIS)), (1.0,) * 4)
    known = [
        [-0.08039699475507528, 0.9832154197001811, -0.16377961319452783],
        [0.08371527697988794, 0.14572214979761855, 0.9857772605708355],
        [0.4569359853910082, -0.1750344902458153, 0.8721080394533329],
        [-0.07434088532038725, -0.23703871913947194, 0.9686516806357688],
        [-0.4529542521112521, 0.7145443044284154, -0.5331593406320929],
        [0.9954068735758951, -0.006883430505737614, -0.09548703798073727],
        [-0.17487149804912805, 0.9723738458563632, -0.1546255576046831],
        [0.9043508036073555, 0.21376922341674892, 0.3693945629466277],
    ]
    assert np.abs(mixture.sample(uniform_numbers(0, 8, 0)) - known).max() < 1e-15


PLANE = Gaussian((0.1, -3.0), ((2.0, 0.7), (0.7, 0.4)))
MEASURES = [
    VonMisesFisher((0.6, 0.8), 50.0),
    Mixture((VonMisesFisher((0.6, 0.8), 50.0), Uniform(2)), (1.0, 3.0)),
    Gaussian((0.1,), 2.0),
    PLANE,
    Mixture((PLANE, Box((-1.0, 0.0), (1.0, 4.0))), (1.0, 3.0)),
    Gaussian((0.0, 1.0, 2.0), ((2.0, 0.7, 0.1), (0.7, 0.4, 0.2), (0.1, 0.2, 3.0))),
    Ball((0.5,), 2.0),
    Mixture((PLANE, Ball((-1.0, 0.0), 3.0)), (1.0, 3.0)),
    Ball((0.0, 1.0, 2.0), 0.1),
    Ball((0.0,) * 40, 5.0),
]


@pytest.mark.parametrize("measure", MEASURES, ids=range(len(MEASURES)))
def test_tokens_do_not_depend_on_who_draws_them(measure):
    def draw(first, count):
        return measure.sample(uniform_numbers(first, count, 4, measure.space))

    whole = draw(0, 200)
    for ranks in (2, 3, 7, 200):
        edges = [200 * rank // ranks for rank in range(ranks + 1)]
        parts = [draw(a, b - a) for a, b in pairwise(edges)]
        assert np.array_equal(whole, np.concatenate(parts))
    assert len(np.unique(whole, axis=0)) == 200
