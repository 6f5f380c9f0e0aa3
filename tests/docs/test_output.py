"""The tables of docs/output.md are those of the registries."""

from pathlib import Path

import pytest

import meanformer
from meanformer.coupling import METRICS
from meanformer.simulation.observers.density_diagnostics import OF_DENSITY
from meanformer.simulation.observers.token_diagnostics import OF_TOKENS

DOCS = Path(meanformer.__file__).resolve().parent / "docs"
TEXT = (DOCS / "output.md").read_text()


def table(heading, place=0):
    """The rows of the table that comes after a heading, without its own head."""
    lines = TEXT[TEXT.index(f"\n## {heading}\n") :].splitlines()
    (start, *_) = [i for i, line in enumerate(lines) if line.startswith("|---")][place:]
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            return rows
        rows.append(line)
    return rows


def test_columns_of_comparisons():
    rows = [
        f"| `{column}` | {meaning} |"
        for metric in METRICS.values()
        for column, meaning in metric.columns.items()
    ]
    assert table("`compare.csv`") == rows


def test_metrics():
    rows = [f"| `{name}` | {metric.spaces} | {metric.cost} |" for name, metric in METRICS.items()]
    assert table("`compare.csv`", 1) == rows
    keys = (DOCS / "case-file.md").read_text()
    assert all(f'`"{name}"`' in keys for name in METRICS)


@pytest.mark.parametrize(
    "parts",
    [
        [part.meanings for part in OF_DENSITY],
        [part.meanings for part in OF_TOKENS],
        [{"t": "time"}, *(metric.columns for metric in METRICS.values())],
    ],
    ids=["pde", "particles", "compare"],
)
def test_no_column_overwrites_another(parts):
    names = [name for part in parts for named in part for name in named.split(", ")]
    assert len(set(names)) == len(names)


def rows_of(parts):
    """What the documentation should say of columns."""
    meanings = {name: text for part in parts for name, text in part.meanings.items()}
    return [f"| `{'`, `'.join(names.split(', '))}` | {text} |" for names, text in meanings.items()]


def test_columns_of_solvers():
    density, tokens = rows_of(OF_DENSITY), rows_of(OF_TOKENS)
    shared = [row for row in density if row in tokens]
    assert table("`pde.csv` and `particles.csv`") == shared
    assert table("`pde.csv` and `particles.csv`", 1) == [
        row for row in density if row not in shared
    ]
    besides = [row for row in tokens if row not in shared]
    assert table("`pde.csv` and `particles.csv`", 2) == besides
