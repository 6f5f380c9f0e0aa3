"""The tables of docs/output.md are those of the registries."""

from pathlib import Path

import meanformer
from meanformer.coupling import METRICS

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
