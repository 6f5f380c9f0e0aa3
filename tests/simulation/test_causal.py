"""Runs of causal tokens and prompts: what is written, and going on with it."""

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere
from meanformer.particles import TokenSolver
from meanformer.scripts.main import main
from meanformer.simulation import Case, run
from meanformer.simulation.builders.model import build_model
from meanformer.simulation.observers import token_diagnostics
from meanformer.simulation.studies.exact_values import exact_end
from meanformer.solvers import advance

PROMPT = [[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]


def case(**tables):
    return Case.from_dict(
        {
            "attention": {"beta": 2.0, "causal": True, "decay": 1.0, "sees_itself": False},
            "initial": {"kind": "uniform"},
            "particles": {"number": 12, "tolerance": 1e-8},
            "prompt": {"points": PROMPT},
            "time": {"end": 1.0, "sample_every": 0.5},
            "output": {"fields": ["none"]},
        }
        | tables
    )


def test_keys_become_arguments():
    model = build_model(case())
    assert (model.causal, model.sees_itself, model.decay) == (True, False, 1.0)
    given = {"beta": 2.0, "causal": True, "layers": [{"duration": 0.5}, {"duration": 1.0}]}
    layers = build_model(case(attention=given)).layers
    assert [(each.causal, each.sees_itself, each.decay) for each in layers] == 2 * [(True, True, 0)]
    assert not build_model(case(attention={"beta": 2.0})).causal


@pytest.mark.parametrize("causal", [True, False])
def test_the_prompt_acts(causal):
    attention = {"beta": 2.0, "causal": causal}
    result = run(case(attention=attention), None)
    start = TokenSolver(
        run(case(attention=attention, time={"end": 1e-9}), None).state.tokens.points,
        Attention("softmax", 2.0, causal=causal),
        Sphere(3),
        result.state.tokens.comm,
        tolerance=1e-10,
        prompt=np.array(PROMPT),
    )
    tokens = advance(start, 1.0).points
    assert np.abs(result.state.tokens.points - tokens).max() < 1e-6


@pytest.mark.parametrize(
    "tables",
    [{}, {"attention": {"beta": 2.0}}, {"prompt": None}],
    ids=["both", "a prompt alone", "a mask alone"],
)
def test_there_is_no_energy(tables):
    given = case().model_dump(exclude_none=True) | tables
    given = {key: table for key, table in given.items() if table is not None}
    columns = run(Case.from_dict(given), None).tables["particles"]
    assert np.isnan(columns["energy"]).all()
    assert np.isfinite(columns["rank"]).all()


def test_matrices_that_a_prompt_makes_large_are_not_made(monkeypatch):
    monkeypatch.setattr(token_diagnostics, "_MOST_TOKENS_OF_MATRICES", 12)
    assert "rank" in run(case(prompt=None)).particles  # of 12 times 12 pairs
    assert "rank" not in run(case()).particles  # of 12 times 14


def test_no_exact_solution_knows_a_prompt_or_a_mask():
    alone = {"attention": {"beta": 0.0}, "initial": {"kind": "poisson-kernel", "a": [0, 0, 0.3]}}
    given = case(**alone).model_dump(exclude_none=True)
    assert exact_end(Case.from_dict(given)) is None
    del given["prompt"]
    assert exact_end(Case.from_dict(given)) is not None
    given["attention"] = {"beta": 0.0, "causal": True}
    assert exact_end(Case.from_dict(given)) is None


def test_a_run_goes_on_bit_by_bit(tmp_path, capsys):
    path = tmp_path / "causal.toml"
    for name, rest in (("whole", []), ("half", ["--set", "time.end=0.5"])):
        path.write_text(case(output={"directory": str(tmp_path / name)}).to_toml())
        assert main(["solve", str(path), *rest]) == 0
    assert main(["solve", str(path), "--resume"]) == 0
    one, other = ((tmp_path / name / "particles.csv").read_bytes() for name in ("whole", "half"))
    assert one == other
