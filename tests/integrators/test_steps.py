"""Intervals of time as whole numbers of steps."""

import pytest

from meanformer.integrators.steps import is_multiple


@pytest.mark.parametrize(
    ("length", "step", "whole"),
    [
        (0.3, 0.1, True),
        (0.1 + 0.2, 0.1, True),
        (1.0, 0.333333333333, True),
        (1.0, 0.3333, False),
        (0.1, 0.1, True),
        (0.05, 0.1, False),
        (1e-12, 0.1, False),
        (1e5 + 0.05, 0.1, False),
    ],
)
def test_multiples_are_whole_up_to_round_off(length, step, whole):
    assert is_multiple(length, step) is whole
