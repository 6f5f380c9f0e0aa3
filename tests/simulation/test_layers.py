"""Runs of tokens in layers: from the case to the tables, on any ranks, and cut in two."""

import numpy as np
import pytest

from meanformer.attention import Attention, RandomLayers
from meanformer.simulation import Case, run
from meanformer.simulation.builders.model import build_model
from meanformer.simulation.predictions import predict

CAP = {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 4.0}
PLANE = {"kind": "euclidean", "dimension": 2}
BOX = {"kind": "box", "lower": [-5.0, -5.0], "upper": [5.0, 5.0]}
RANDOM = {"random_values": {"seed": 2, "duration": 0.1, "scale": 3.0}}


def case(attention=None, end=0.6, particles=None, **tables):
    data = {
        "attention": {"beta": 2.0} | (attention or {}),
        "initial": CAP,
        "particles": {"number": 30, "integrator": "layers"} | (particles or {}),
        "time": {"end": end, "step": 0.1, "sample_every": 0.2},
        "output": {"fields": ["none"]},
    }
    return Case.from_dict(data | tables)


def hardmax(**attention):
    attention = {"law": "hardmax", "beta": 1.0, "relative": True} | attention
    time = {"end": 10.0, "step": 0.5, "sample_every": 1.0}
    return case(attention, space=PLANE, initial=BOX, time=time)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


class TestCase:
    def test_post_is_the_default_on_spheres(self):
        assert case().particles.normalisation == "post"
        assert hardmax().particles.normalisation is None

    def test_it_is_read_again(self, tmp_path):
        (tmp_path / "case.toml").write_text(
            case(RANDOM, particles={"normalisation": "pre"}).to_toml()
        )
        again = Case.load(tmp_path / "case.toml")
        assert again.particles.normalisation == "pre" and again.attention.relative is False

    def test_multiples_up_to_round_off(self):
        time = {"end": 0.3, "step": 0.1, "sample_every": 0.30000000000000004}
        run_ = run(case({"layers": [{"duration": 0.1 + 0.2}, {"duration": 9.0}]}, time=time))
        assert run_.summary["steps"]["tokens"] == 3

    def test_relative_values_reach_the_model(self):
        model = build_model(case({"relative": True} | RANDOM))
        assert model.at(0.0).relative and model.at(0.15).relative
        assert not build_model(case()).relative


@pytest.mark.parametrize("normalisation", ["post", "pre"])
def test_random_values_are_a_random_transformer(normalisation):
    given = {
        "kind": "tokens",
        "points": unit(np.random.default_rng(1).normal(size=(5, 3))).tolist(),
    }
    particles = {"number": 5, "normalisation": normalisation}
    result = run(case(RANDOM, particles=particles, initial=given))
    y = np.array(given["points"])
    layers = RandomLayers(Attention(), 3, 2, 3.0)
    for layer in map(layers.layer, range(6)):
        x = unit(y)
        weights = np.exp(2.0 * x @ x.T)
        m = weights @ x / weights.sum(axis=1, keepdims=True) @ layer.all_heads[0].value.T
        y = (x if normalisation == "post" else y) + 0.1 * m
    mean = [result.particles[f"mean_{i}"][-1] for i in (1, 2, 3)]
    assert np.abs(mean - unit(y).mean(axis=0)).max() < 1e-13
    assert result.particles["t"].tolist() == [0.0, 0.2, 0.4, 0.6]


@pytest.mark.mpi
@pytest.mark.parametrize("cut", [0.2, 0.4])
@pytest.mark.parametrize("particles", [{"normalisation": "pre"}, {"normalisation": "ngpt"}])
def test_a_resumed_run_is_the_same_bit_for_bit(shared_tmp_path, particles, cut):
    whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
    run(case(RANDOM, particles=particles), whole)
    run(case(RANDOM, cut, particles=particles), parts)
    run(case(RANDOM, particles=particles), parts, resume=True)
    texts = [(folder / "particles.csv").read_bytes() for folder in (whole, parts)]
    assert texts[0] == texts[1]


@pytest.mark.mpi
def test_hardmax_ends_at_its_leaders():
    columns = run(hardmax()).particles
    assert np.all(np.diff(columns["leaders"]) >= 0) and columns["leaders"][-1] >= 2
    assert columns["clusters"][-1] == columns["leaders"][-1] == columns["vertices"][-1]


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_relative_values_grow_as_they_must(value):
    # One step of x' = V (mean - x): gaps grow or shrink by 1 -+ h V.
    still = {"law": "softmax", "query": 0.0, "relative": True, "value": value}
    columns = run(case(still, space=PLANE, initial=BOX)).particles
    assert columns["spread"][-1] / columns["spread"][0] == pytest.approx((1 - 0.1 * value) ** 6)


def test_relative_values_beside_a_density():
    tables = {"pde": {"refinement": 1, "degree": 1}, "time": {"end": 0.1, "sample_every": 0.1}}
    value = [[0.5, -0.6, 0.2], [0.2, -0.4, 0.1], [-0.3, 0.5, 0.1]]
    particles = {"integrator": "adaptive"}
    relative = run(case({"value": value, "relative": True}, particles=particles, **tables))
    drift = {"linear": [[-entry for entry in row] for row in value]}
    beside = run(case({"value": value}, particles=particles, drift=drift, **tables))
    for columns, expected in zip(
        (relative.pde, relative.particles), (beside.pde, beside.particles), strict=True
    ):
        for name in columns:
            assert np.allclose(columns[name], expected[name], rtol=0, atol=1e-8, equal_nan=True)


def test_no_step_of_a_layer_is_told_to_be_too_long():
    time = {"end": 9.0, "step": 3.0, "sample_every": 3.0}
    assert run(case(time=time)).summary["warnings"] == []


def test_theorems_abstain():
    assert not any(prediction.applies for prediction in predict(case()))
    hypotheses = predict(case())[0].hypotheses
    (failing,) = [each for each in hypotheses if not each.holds]
    assert "layers" in failing.statement
