"""Runs of tokens with noise: beside the density, on any ranks, and cut in two."""

import numpy as np
import pytest

from meanformer.coupling.distances.harmonic import independent_noise
from meanformer.simulation import Case, run

CAP = {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 4.0}
ARC = {"kind": "von-mises-fisher", "mean": [0.6, 0.8], "concentration": 4.0}
GAUSSIAN = {"kind": "gaussian", "mean": [0.5, -0.3], "covariance": [[0.4, 0.1], [0.1, 0.3]]}


def case(kind, dimension, initial, number, end=1.0, attention=None, **tables):
    return Case.from_dict(
        {
            "space": {"kind": kind, "dimension": dimension},
            "attention": {"beta": 2.0} | (attention or {}),
            "noise": {"temperature": 0.2},
            "initial": initial,
            "particles": {"number": number},
            "time": {"end": end, "sample_every": end / 4},
            "output": {"fields": ["none"]},
        }
        | tables
    )


def sphere(number=500, end=1.0, **tables):
    pde = {"refinement": 2, "degree": 2}
    return case("sphere", 3, CAP, number, end, **({"pde": pde} | tables))


def circle(number, **tables):
    return case("sphere", 2, ARC, number, pde={"refinement": 3, "degree": 2}, **tables)


def plane(number, **tables):
    pde = {"refinement": 4, "degree": 2, "half_width": 5.0}
    attention = {"beta": 1.0, "value": -1.0}
    return case("euclidean", 2, GAUSSIAN, number, attention=attention, pde=pde, **tables)


def check_distances(result, name, factor):
    """No distance is far beyond its sampling noise."""
    distance, noise = result.compare[name], result.compare[f"{name}_noise"]
    print(name, np.round(distance / noise, 2))
    assert np.all(distance < factor * noise)


@pytest.mark.mpi
def test_tokens_and_density_on_the_circle():
    result = run(circle(4000))
    check_distances(result, "w1_all", 2.5)
    gap = result.particles["harmonic_1"] - result.pde["harmonic_1"]
    assert np.abs(gap).max() < 4 / np.sqrt(4000)


@pytest.mark.slow
def test_many_tokens_and_densities():
    number = 100_000
    for one, names in ((circle(number), ("w1_all",)), (sphere(number), ("harmonic",))):
        result = run(one)
        for name in names:
            check_distances(result, name, 2.5)
        for degree in (1, 2, 3):
            key = f"harmonic_{degree}"
            gap = np.abs(result.particles[key] - result.pde[key]).max() * np.sqrt(number)
            print(one.space.dimension, key, f"{gap:.2f} n^(-1/2)")
            assert gap < 4
    result = run(plane(number))
    for key in ("mean_1", "mean_2", "cov_11", "cov_12", "cov_22"):
        gap = np.abs(result.particles[key] - result.pde[key]).max() * np.sqrt(number)
        print(key, f"{gap:.2f} n^(-1/2)")
        assert gap < 4


@pytest.mark.mpi
def test_a_run_goes_on_bit_for_bit(shared_tmp_path):
    """With replicas, whose noise is their own, and in the midst of a run."""
    options = {"pde": {"refinement": 1, "degree": 1}, "compare": {"metrics": ["harmonic"]}}
    times = ({"end": end, "sample_every": 0.1} for end in (0.4, 0.2))
    whole, half = (sphere(200, time=time, **options) for time in times)
    uncut = run(whole, shared_tmp_path / "whole")
    run(half, shared_tmp_path / "parts")
    resumed = run(whole, shared_tmp_path / "parts", resume=True)
    found, wanted = (shared_tmp_path / name / "particles.csv" for name in ("parts", "whole"))
    assert found.read_bytes() == wanted.read_bytes()
    for one, other in zip(
        resumed.state.ensemble.systems, uncut.state.ensemble.systems, strict=True
    ):
        assert np.array_equal(one.points, other.points)


def test_replicas_have_noise_of_their_own():
    # Tokens that do not see each other stay independent: the scatter of systems tells how far off.
    narrow = CAP | {"concentration": 20.0}
    tables = {"pde": {"refinement": 2, "degree": 3}, "compare": {"metrics": ["harmonic"]}}
    one = case("sphere", 3, narrow, 4000, attention={"beta": 0.0, "value": 0.0}, **tables)
    result = run(one)
    expected = independent_noise(result.state.density, 4000)
    assert result.compare["harmonic_noise"][-1] == pytest.approx(expected, rel=0.25)
