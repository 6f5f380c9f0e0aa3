"""What the README shows works as shown."""

import re
import tomllib
from pathlib import Path

import pytest

import meanformer

ROOT = Path(meanformer.__file__).resolve().parent
README = (ROOT / "README.md").read_text()
PAGES = [path.name for path in (ROOT / "docs").glob("*.md")]
RUN, NOISE, ATTENTION = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_attention_alone(capsys):
    code, replaced = re.subn("100_000", "5_000", ATTENTION)
    assert replaced == 1
    exec(compile(code, "README.md", "exec"), {})
    assert "laplace: " in capsys.readouterr().out


def test_steady_state(capsys):
    code, replaced = re.subn(r"level=3", "level=2", NOISE)
    code, fewer = re.subn("20_000", "2_000", code)
    assert replaced == fewer == 1
    exec(compile(code, "README.md", "exec"), {})
    _, values, mean, of_tokens = capsys.readouterr().out.splitlines()
    north, south = map(float, values.strip("[]").split())
    assert north > 4 * south > 0
    assert abs(float(mean) - 0.5241690) < 1e-4
    assert abs(float(of_tokens) - 0.5241690) < 4 / 2000**0.5


def test_the_python_of_the_readme(monkeypatch, capsys):
    small = '["time.end=0.2", "pde.refinement=2", "particles.number=400"]'
    code, replaced = re.subn(r'(?<=two-caps.toml")', f", overrides={small}", RUN)
    assert replaced == 1
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("t = 0.0: density and tokens are")
    assert len(lines) == 4


def test_what_pip_installs_has_a_name():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text()):
        named = re.findall(r"pip install [^`\n]*\[([a-z,-]+)\]", text)
        assert named
        assert {name for group in named for name in group.split(",")} <= set(extras)


def test_files_named_in_the_readme_exist():
    linked = re.findall(r"\]\(((?:docs|cases)/[^)]+)\)", README)
    assert linked
    assert all((ROOT / path).exists() for path in linked)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", *(f"docs/{page}" for page in PAGES)])
def test_modules_named_in_the_docs_exist(page):
    named = re.findall(r"`([\w/]+\.py)(?:::\w+)?`", (ROOT / page).read_text())
    for name in named:
        assert "NAME" in name or any(ROOT.glob(f"**/{name}")), name
