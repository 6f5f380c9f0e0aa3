"""``meanformer predict``."""

import json

import pytest

from meanformer.scripts.main import main

HYPERPLANES = """
[space]
kind = "euclidean"
dimension = 2
rescaled = true
[attention]
beta = 1.0
value = [[0.64709742, 0.81911926], [0.61210449, 0.63263484]]
[initial]
kind = "box"
lower = [-5.0, -5.0]
upper = [5.0, 5.0]
[particles]
number = 20
[time]
end = 8.0
sample_every = 4.0
"""


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "case.toml").write_text(HYPERPLANES)
    return "case.toml"


def test_text_gives_every_hypothesis_with_its_number(case, capsys):
    assert main(["predict", case]) == 0
    text = capsys.readouterr().out
    assert "hyperplanes (arXiv 2305.05465, section 4): applies" in text
    assert "at most three parallel hyperplanes" in text
    assert "1 - |lambda_2| / lambda_1: 0.949364 (margin 0.949, asked for 0.05)" in text
    assert "polytope (arXiv 2305.05465, section 3): does not apply" in text
    assert "fails: V is a multiple of the identity: 1" in text


@pytest.mark.parametrize(("end", "code", "word"), [("8.0", 0, "agrees"), ("0.5", 3, "not agree")])
def test_verify(case, end, code, word, capsys, tmp_path):
    assert main(["predict", case, "--verify", "--set", f"time.end={end}"]) == code
    assert word in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["case.toml"]


def test_json(case, capsys):
    assert main(["predict", case, "--verify", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {one["theorem"]: one for one in told["theorems"]}
    assert by_name["hyperplanes"]["applies"] and by_name["hyperplanes"]["deviation"]["agrees"]
    assert by_name["hyperplanes"]["deviation"]["number"] < 1e-2
    assert not by_name["boolean"]["applies"] and by_name["boolean"]["limit"] is None
    assert [one["verdict"] for one in by_name["boolean"]["hypotheses"]][-1] == "fails"


def test_no_theorem(case, capsys):
    assert main(["predict", case, "--set", "attention.law='l2'"]) == 0
    assert "no theorem applies" in capsys.readouterr().out


def test_a_wrong_case(case, capsys):
    assert main(["predict", case, "--set", "attention.bet=1"]) == 2
    assert "attention.bet" in capsys.readouterr().err


def test_json_of_the_energy_on_a_sphere(case, capsys):
    sphere = ["space={kind='sphere',dimension=3}", "attention={beta=1.0}"]
    start = ["initial={kind='uniform'}", "time={end=1.0,sample_every=0.5}"]
    sets = [word for each in sphere + start for word in ("--set", each)]
    assert main(["predict", case, "--verify", "--json", *sets]) == 3
    told = {one["theorem"]: one for one in json.loads(capsys.readouterr().out)["theorems"]}
    assert told["energy"]["deviation"]["agrees"] is True
    assert told["consensus"]["deviation"]["agrees"] is False
