"""The page on theorems speaks of all of them, and its program runs."""

import re
from pathlib import Path

import meanformer
from meanformer.theory import THEOREMS

ROOT = Path(meanformer.__file__).resolve().parent
PAGE = (ROOT / "docs" / "predict.md").read_text()


def test_every_theorem_is_in_a_table():
    rows = re.findall(r"^\| ([a-z ]+) \(", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(theorem.name for theorem in THEOREMS)


def test_the_python_of_the_page(monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "predict.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert "shrinks to a polytope" in lines[0] and lines[1].startswith("Deviation(")
