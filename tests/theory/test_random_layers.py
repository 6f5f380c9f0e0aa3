"""Two tokens under random layers: the formula against another quadrature, and against layers."""

import numpy as np
import pytest
from scipy.integrate import quad

from meanformer.simulation import Case, run
from meanformer.theory.random_layers import antipodal_probability, antipodal_threshold


@pytest.mark.parametrize(("dimension", "expected"), [(3, 0.2224), (4, 0.0844)])
def test_pairs_that_start_orthogonal(dimension, expected):
    assert antipodal_probability(0.0, 1.0, dimension) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("height", "beta", "dimension"), [(-0.7, 0.5, 2), (0.0, 1.0, 3), (0.4, 2.0, 9)]
)
def test_the_scale_function_by_another_quadrature(height, beta, dimension):
    def drift_over_noise(c):
        p = 1 / (1 + np.exp(-beta * (1 - c)))
        q = p * (1 - p)
        drift = 2 * (dimension - 1) * q - (c + 2 * q * (1 - c))
        return drift / ((1 - c**2) * (1 - 2 * q))

    def density(c):
        return np.exp(-quad(drift_over_noise, 0.0, c, epsabs=1e-9, epsrel=1e-9)[0])

    below, _ = quad(density, -1, height, epsabs=1e-7)
    above, _ = quad(density, height, 1, epsabs=1e-7)
    found = antipodal_probability(height, beta, dimension)
    assert found == pytest.approx(above / (below + above), abs=2e-5)


@pytest.mark.parametrize("beta", [0.0, 0.7, 1.5])
def test_it_is_positive_below_the_threshold_alone(beta):
    threshold = antipodal_threshold(beta)
    assert np.cosh(beta) ** 2 == pytest.approx((threshold - 1) / 2)
    below, above = int(np.ceil(threshold)) - 1, int(np.ceil(threshold))
    assert antipodal_probability(0.0, beta, below) > 1e-4
    assert antipodal_probability(0.0, beta, above) == 0.0
    heights = [antipodal_probability(c, beta, 2) for c in (-0.999999, -0.5, 0.0, 0.999999)]
    assert np.all(np.diff(heights) < 0) and heights[0] > 0.99 and heights[-1] < 0.01


@pytest.mark.parametrize(("height", "dimension"), [(1.0, 3), (-1.0, 3), (0.0, 1)])
def test_refuses(height, dimension):
    with pytest.raises(ValueError, match="antipodal_probability"):
        antipodal_probability(height, 1.0, dimension)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [3, 4])
def test_random_transformers_end_as_often_antipodal(dimension):
    layer, systems = 0.01, 4000
    case = {
        "space": {"dimension": dimension},
        "attention": {
            "beta": 1.0,
            "random_values": {
                "seed": 1,
                "duration": layer,
                "scale": float(np.sqrt(dimension / layer)),
            },
        },
        "initial": {"kind": "tokens", "points": np.eye(dimension)[:2]},
        "particles": {"systems": systems, "integrator": "layers"},
        "time": {"end": 14.0, "step": layer, "sample_every": 14.0},
        "output": {"fields": ["none"]},
    }
    spread = run(Case.from_dict(case)).systems["spread"]
    assert np.mean((spread > 0.2) & (spread < 0.95)) < 0.01  # the others have come to an end
    share, expected = np.mean(spread > np.sqrt(0.5)), antipodal_probability(0.0, 1.0, dimension)
    error = np.sqrt(expected * (1 - expected) / systems)
    off = abs(share - expected) / error
    print(f"d = {dimension}: {share:.4f} against {expected:.4f}, {off:.1f} standard errors")
    assert off < 3
