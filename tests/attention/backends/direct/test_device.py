"""Sums on a device of torch, here the processor, against those of the blocked backend."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere
from meanformer.attention.backends.direct import device
from meanformer.attention.backends.direct.blocked import BlockedSums
from meanformer.attention.backends.direct.device import DeviceSums
from meanformer.attention.backends.kernels import Exponential, Indicator, Logistic
from meanformer.simulation import Case, CaseError, run

ALONE = MPI.COMM_SELF


@pytest.mark.parametrize("kernel", [Exponential(), Logistic(-1.5), Indicator(0.05)])
@pytest.mark.parametrize("moment", [True, False])
def test_sums_are_those_of_the_processor(kernel, moment, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(device, "_POINTS", 100)
    rng = np.random.default_rng(1)
    queries, keys = 3 * rng.normal(size=(70, 12)), rng.normal(size=(230, 12))
    values, weights = rng.normal(size=(230, 9)), rng.dirichlet(np.ones(230))
    weights[5] = 0.0
    factors = 300 * np.cos(np.arange(230.0)) if kernel.exponential else None
    given = queries, keys, values, ALONE, kernel
    got = DeviceSums(*given, "cpu").sums(weights, factors, moment)
    wanted = BlockedSums(*given).sums(weights, factors, moment)
    shift = np.exp(got.log_scale - wanted.log_scale)
    assert np.allclose(got.partition * shift, wanted.partition, rtol=1e-11)
    error = np.abs(got.moment * shift[:, None] - wanted.moment).max(initial=0.0)
    assert error < 1e-11 * np.abs(wanted.partition).max()
    assert got.moment.shape[1] == (9 if moment else 0)


def no_gpu(monkeypatch, why="needs a GPU"):
    monkeypatch.setattr(device, "why_no_gpu", lambda: why)
    monkeypatch.setattr("meanformer.attention.backends.plan.why_no_gpu", lambda: why)
    monkeypatch.setattr("meanformer.simulation.requirements.why_no_gpu", lambda: why)


def test_velocities_are_asked_of_the_device_from_eight_dimensions_on(monkeypatch):
    asked = []

    def sums(*given):
        asked.append(given)
        return BlockedSums(*given)

    no_gpu(monkeypatch, "")
    monkeypatch.setattr("meanformer.attention.backends.plan.DeviceSums", sums)
    rng = np.random.default_rng(2)
    for dimension in (8, 3):
        space = Sphere(dimension)
        x = space.retract(rng.normal(size=(40, dimension)))
        weights = np.full(40, 1 / 40)
        wanted = Attention(beta=2.0).velocity(x, x, weights, space)
        if dimension < 8:
            with pytest.raises(ValueError, match="it serves 8 dimensions or more"):
                Attention(beta=2.0, device="cuda").velocity(x, x, weights, space)
            continue
        got = Attention(beta=2.0, device="cuda").velocity(x, x, weights, space)
        assert np.abs(got - wanted).max() < 1e-12
    assert len(asked) == 1


def test_a_device_that_is_not_there_is_refused(monkeypatch, tmp_path):
    no_gpu(monkeypatch)
    x = np.eye(8)
    with pytest.raises(ValueError, match="backend 'cuda' cannot serve: needs a GPU"):
        Attention(device="cuda").velocity(x, x, np.full(8, 1 / 8), Sphere(8))
    with pytest.raises(ValueError, match="device is 'gpu'; allowed: cpu, cuda"):
        Attention(device="gpu")
    case = {
        "space": {"dimension": 8},
        "attention": {"beta": 1.0, "device": "cuda"},
        "initial": {"kind": "uniform"},
        "particles": {"number": 10},
        "time": {"end": 0.1},
    }
    with pytest.raises(CaseError, match=r"attention\.device: 'cuda' needs a GPU; must be 'cpu'"):
        run(Case.from_dict(case), tmp_path / "run")
    assert not list(tmp_path.iterdir())
