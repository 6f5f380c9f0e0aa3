"""Tokens given one by one: written out, or in files of several formats."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from meanformer.simulation import Case, CaseError
from meanformer.simulation.case.tokens import Tokens


def minimal(**tables):
    return {"attention": {"beta": 4.0}, "time": {"end": 1.0}, "particles": {}} | tables


def reload(case):
    return Case.from_dict(tomllib.loads(case.to_toml()))


@pytest.fixture
def tokens():
    x = np.random.default_rng(1).normal(size=(5, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def load(folder, particles="", file="tokens.npy"):
    path = folder / "case.toml"
    path.write_text(
        f"attention.beta = 1\ntime.end = 1\ninitial.kind = 'tokens'\ninitial.file = '{file}'\n"
        f"[particles]\n{particles}"
    )
    return Case.load(path)


def test_points(tokens):
    data = minimal(initial={"kind": "tokens", "points": tokens})
    case = Case.from_dict(data)
    assert isinstance(case.initial, Tokens)
    assert case.particles.number == case.initial.number == 5
    np.testing.assert_allclose(case.initial.load(), tokens, rtol=1e-15)
    assert reload(case) == case


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_file(tmp_path, monkeypatch, tokens, dtype):
    np.save(tmp_path / "tokens.npy", tokens.astype(dtype))
    case = load(tmp_path)
    assert case.particles.number == 5
    assert case.initial.file == str(tmp_path / "tokens.npy")
    loaded = case.initial.load()
    assert loaded.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(loaded, axis=1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(loaded, tokens, atol=1e-6)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert reload(case) == case


def test_file_relative_to_a_relative_case(tmp_path, monkeypatch, tokens):
    np.save(tmp_path / "tokens.npy", tokens)
    monkeypatch.chdir(tmp_path)
    assert load(Path(".")).initial.file == str(tmp_path / "tokens.npy")


def test_number_may_be_repeated(tmp_path, tokens):
    np.save(tmp_path / "tokens.npy", tokens)
    assert load(tmp_path, "number = 5").particles.number == 5
    with pytest.raises(CaseError, match=r"particles\.number: 6 .* must be 5"):
        load(tmp_path, "number = 6")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (np.array([{}, None], dtype=object), "no array"),
        (np.eye(3) > 0, "type bool"),
        (np.eye(3).astype(complex), "type complex"),
        (np.eye(4), "shape"),
        (np.ones(3), "shape"),
        (np.array(1.0), "shape"),
        (np.zeros((0, 3)), "(n >= 1|at least one)"),
        (np.array([[1.0, 0, 0], [np.nan, 0, 0]]), "row 1"),
        (np.array([[1.0, 0, 0], [0, 0, 0]]), "row 1 has norm 0;"),
        (np.array([[1.0 + 2e-6, 0, 0]]), "row 0"),
        (b"", "no array"),
        (b"x y z\n1 0 0\n", "no array"),
        (b"PK\x03\x04broken", "no array"),
        (b"\x93NUMPY\x01\x00\xff\xffgarbage", "no array"),
    ],
    ids=[
        "objects",
        "booleans",
        "complex",
        "four columns",
        "a vector",
        "a number",
        "no rows",
        "nan",
        "zero",
        "off the sphere",
        "empty file",
        "text",
        "broken zip",
        "broken header",
    ],
)
def test_wrong_file(tmp_path, content, word):
    if isinstance(content, bytes):
        (tmp_path / "tokens.npy").write_bytes(content)
    else:
        np.save(tmp_path / "tokens.npy", content, allow_pickle=True)
    with pytest.raises(CaseError, match=f"initial.file: .*{word}") as caught:
        load(tmp_path)
    assert len(caught.value.problems) == 1


def test_archive(tmp_path, tokens):
    np.savez(tmp_path / "tokens.npz", a=tokens, b=2 * tokens)
    case = load(tmp_path, file="tokens.npz:a")
    assert np.allclose(case.initial.load(), tokens, rtol=0, atol=1e-15)
    assert reload(case) == case
    with pytest.raises(CaseError, match=r"initial\.file: .*names no array of .*npz:NAME"):
        load(tmp_path, file="tokens.npz")
    with pytest.raises(CaseError, match=r"initial\.file: .*has no array 'c'; it has: a, b"):
        load(tmp_path, file="tokens.npz:c")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(CaseError, match=r"initial\.file: .*holds no array"):
        load(tmp_path, file="broken.npz:a")


def test_table(tmp_path, tokens):
    np.savetxt(tmp_path / "tokens.csv", tokens, delimiter=",", header="x, y, z")
    case = load(tmp_path, file="tokens.csv")
    assert np.allclose(case.initial.load(), tokens, rtol=0, atol=1e-15)
    np.savetxt(tmp_path / "tokens.csv", tokens, delimiter=",", header="x,y,z", comments="")
    assert np.allclose(load(tmp_path, file="tokens.csv").initial.load(), tokens, rtol=0, atol=1e-15)
    (tmp_path / "empty.csv").write_text("one, two\n")
    with pytest.raises(CaseError, match=r"initial\.file: has shape \(0,\)"):
        load(tmp_path, file="empty.csv")
    (tmp_path / "words.csv").write_text("1, 2\n3, many\n")
    with pytest.raises(CaseError, match=r"initial\.file: .*holds no array"):
        load(tmp_path, file="words.csv")


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_tensors(tmp_path, tokens, kind):
    rows = (7 * tokens).astype({"F64": "<f8", "F16": "<f2"}.get(kind, "<f4"))
    data = rows.tobytes()
    if kind == "BF16":
        data = (rows.view("<u4") >> 16).astype("<u2").tobytes()
    entry = {"dtype": kind, "shape": [5, 3], "data_offsets": [8, 8 + len(data)]}
    other = {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"a": "b"}, "wte": entry, "step": other}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8) + data)
    wanted = {"kind": "tokens", "file": str(path) + ":wte", "normalise": True}
    case = Case.from_dict(minimal(initial=wanted))
    accuracy = {"F64": 1e-15, "F32": 1e-6, "F16": 1e-3, "BF16": 2e-2}[kind]
    assert np.allclose(case.initial.load(), tokens, rtol=0, atol=accuracy)
    assert reload(case) == case
    with pytest.raises(CaseError, match=r"row 0 has norm .* or 'normalise' be true"):
        Case.from_dict(minimal(initial=wanted | {"normalise": False}))
    with pytest.raises(CaseError, match="has no array 'wpe'; it has: step, wte"):
        Case.from_dict(minimal(initial=wanted | {"file": str(path) + ":wpe"}))


def test_tensors_of_garbage(tmp_path):
    for content in (
        b"",
        b"garbage that is long enough",
        bytes(8) + b"{}",
        b"\x02" + bytes(7) + b"[]",
    ):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(CaseError, match=r"initial\.file: .*no array"):
            load(tmp_path, file="model.safetensors:wte")


def test_zero_cannot_be_normalised():
    points = {"kind": "tokens", "points": [[0, 0, 3], [0, 0, 0]], "normalise": True}
    with pytest.raises(CaseError, match=r"points\[1\]: has norm 0; must be .*not zero"):
        Case.from_dict(minimal(initial=points))


def test_nothing_is_normalised_in_flat_space():
    points = {"kind": "tokens", "points": [[0, 0, 3]], "normalise": True}
    flat = {"kind": "euclidean", "dimension": 3}
    with pytest.raises(CaseError, match=r"initial\.normalise: true is for spheres"):
        Case.from_dict(minimal(space=flat, initial=points))


def test_folder(tmp_path):
    with pytest.raises(CaseError, match=r"initial\.file: cannot read"):
        load(tmp_path, file=".")
