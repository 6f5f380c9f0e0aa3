"""What late tokens keep of earlier ones: simulations of many systems against theory."""

import numpy as np
import pytest

from meanformer.docs.lost_in_the_middle import PICTURE, SYSTEMS, predicted, simulated


@pytest.mark.parametrize("decay", [0.0, 2.0])
@pytest.mark.parametrize(
    ("systems", "allowed"), [(4000, 0.25), pytest.param(SYSTEMS, 0.05, marks=pytest.mark.slow)]
)
def test_correlations_are_those_of_theory(decay, systems, allowed):
    """Up to corrections of order 1/n, large for the first tokens, and sampling noise."""
    labels, wanted = predicted(decay)
    found, errors = simulated(decay, systems)
    print(f"decay {decay:g}:", np.round(found, 3), "+-", np.round(errors, 3), np.round(wanted, 3))
    assert np.abs(found / wanted - 1)[labels > 0.3].max() < allowed


def test_the_picture_is_small():
    assert 0 < PICTURE.stat().st_size < 150_000
