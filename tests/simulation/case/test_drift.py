"""The table of a drift: what it becomes, and which files of perceptrons are refused."""

import json
import struct
import tomllib

import numpy as np
import pytest

from meanformer.scripts.main import main
from meanformer.simulation import Case, CaseError
from meanformer.simulation.builders.model import build_model

RNG = np.random.default_rng(1)
ARRAYS = {"U": RNG.normal(size=(5, 3)), "b": RNG.normal(size=5), "W": RNG.normal(size=(3, 5))}
TEXT = """
attention.beta = 1.0
initial.kind = "uniform"
particles.number = 10
time.end = 0.1
[drift]
"""


def load(folder, drift):
    path = folder / "case.toml"
    path.write_text(TEXT + drift)
    return Case.load(path)


def problem(folder, drift):
    with pytest.raises(CaseError) as caught:
        load(folder, drift)
    (told,) = caught.value.problems
    return told


@pytest.mark.parametrize(
    ("written", "matrix"),
    [
        ("0.5", 0.5 * np.eye(3)),
        ("'identity'", np.eye(3)),
        ("[[1, 2, 3], [4, 5, 6], [7, 8, 9]]", np.arange(1, 10).reshape(3, 3)),
    ],
)
def test_linear(tmp_path, written, matrix):
    case = load(tmp_path, f"linear = {written}")
    assert np.array_equal(build_model(case).drift.linear(), matrix)
    assert case.drift.activation is None
    assert Case.from_dict(tomllib.loads(case.to_toml())) == case


def test_none():
    case = Case.from_dict(tomllib.loads(TEXT.replace("[drift]", "")))
    assert case.drift is None and build_model(case).drift is None
    assert "drift" not in case.to_toml()


@pytest.mark.parametrize("activation", ["", "activation = 'gelu'"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_perceptron(tmp_path, monkeypatch, activation, dtype):
    arrays = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    np.savez(tmp_path / "mlp.npz", **arrays)
    case = load(tmp_path, f"perceptron = 'mlp.npz'\n{activation}")
    drift = build_model(case).drift
    assert drift.activation == case.drift.activation == ("gelu" if activation else "relu")
    for found, wanted in zip(drift.arrays, arrays.values(), strict=True):
        assert found.dtype == np.float64 and np.array_equal(found, wanted)
    # What is written says where the file is, from wherever it is read.
    assert case.drift.perceptron == str(tmp_path / "mlp.npz")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Case.from_dict(tomllib.loads(case.to_toml())) == case


def test_perceptron_of_safetensors(tmp_path):
    header, data = {}, b""
    for name, array in ARRAYS.items():
        ends = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F64", "shape": array.shape, "data_offsets": ends}
        data += array.tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "mlp.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    drift = build_model(load(tmp_path, "perceptron = 'mlp.safetensors'")).drift
    assert all(np.array_equal(*pair) for pair in zip(drift.arrays, ARRAYS.values(), strict=True))


def test_layers_share_it():
    layers = "[[attention.layers]]\nduration = 0.1\n[[attention.layers]]\nduration = 1.0\n"
    model = build_model(Case.from_dict(tomllib.loads(TEXT + "linear = 0.5\n" + layers)))
    assert [np.trace(layer.drift.linear()) for layer in model.layers] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"U": np.ones((5, 2))}, "W has shape (3, 5); must be (2, 5)"),
        ({"U": np.ones(5)}, "U has shape (5,); must be (h, d)"),
        ({"b": np.ones(4)}, "b has shape (4,); must be (5,)"),
        ({"W": np.ones((5, 3))}, "W has shape (5, 3); must be (3, 5)"),
        ({"b": np.array([0, 0, np.inf, 0, 0])}, "b must be finite"),
        ({"W": np.ones((3, 5)) > 0}, "values of type bool"),
        ({"W": None}, "has no array 'W'; it has: U, b"),
        (
            {"U": np.ones((4, 2)), "b": np.ones(4), "W": np.ones((2, 4))},
            "U has shape (4, 2); must be (4, 3)",
        ),
    ],
)
def test_perceptrons_that_do_not_fit(tmp_path, changed, words):
    arrays = {name: array for name, array in (ARRAYS | changed).items() if array is not None}
    np.savez(tmp_path / "mlp.npz", **arrays)
    told = problem(tmp_path, "perceptron = 'mlp.npz'")
    assert told.startswith("drift.perceptron: ") and words in told
    assert told.endswith("must be an archive of U, b, W of shapes (h, 3), (h,), (3, h)")


def test_no_archive(tmp_path):
    np.save(tmp_path / "mlp.npy", ARRAYS["U"])
    assert "mlp.npy is not .npz or .safetensors" in problem(tmp_path, "perceptron = 'mlp.npy'")
    (tmp_path / "mlp.npz").write_bytes(b"PK no archive")
    assert "holds no array of numbers" in problem(tmp_path, "perceptron = 'mlp.npz'")


def test_one_of_both(tmp_path):
    np.savez(tmp_path / "mlp.npz", **ARRAYS)
    told = problem(tmp_path, "perceptron = 'mlp.npz'\nlinear = 1")
    assert told.startswith("drift.linear: given beside 'perceptron'; must be exactly one of")


def test_the_command_refuses_it_before_anything_is_written(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "mlp.npz", **(ARRAYS | {"b": np.ones(4)}))
    (tmp_path / "case.toml").write_text(TEXT + "perceptron = 'mlp.npz'")
    monkeypatch.chdir(tmp_path)
    assert main(["solve", "case.toml"]) == 2
    assert "drift.perceptron: b has shape (4,); must be (5,)" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.toml", "mlp.npz"]
