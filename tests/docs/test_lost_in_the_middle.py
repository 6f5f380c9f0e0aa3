"""What causal tokens keep of earlier ones: simulations of many systems against theory."""

import numpy as np
import pytest

from meanformer.docs.lost_in_the_middle import MIDDLES, PICTURE, SYSTEMS, predicted, simulated


@pytest.mark.parametrize("decay", [0.0, 2.0])
@pytest.mark.parametrize(
    ("systems", "allowed"), [(4000, 0.15), pytest.param(SYSTEMS, 0.05, marks=pytest.mark.slow)]
)
def test_correlations_are_those_of_theory(decay, systems, allowed):
    """Means over all later groups, up to corrections of order 1/n, and to sampling noise."""
    later = np.tri(len(MIDDLES), k=-1)[:, :-1]

    def mean(blocks):
        return (blocks[..., :-1] * later).sum(axis=-2) / later.sum(axis=0)

    found, wanted = mean(simulated(decay, systems)), mean(predicted(decay))
    errors = found.std(axis=0) / np.sqrt(len(found))
    off = found.mean(axis=0) / wanted - 1
    print(f"decay {decay:g}: off by", np.round(off, 3), "+-", np.round(errors / wanted, 3))
    assert np.abs(off)[MIDDLES[:-1] > 0.3].max() < allowed


def test_the_picture_is_small():
    assert 0 < PICTURE.stat().st_size < 150_000
