"""The wrong cases of wrong_cases.toml, each made from the base there."""

import tomllib
from pathlib import Path

import tomli_w

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_BASE = _TABLES.pop("base")


def _merged(data, changes):
    """``data`` with ``changes``: tables are merged, anything else is replaced."""
    if not (isinstance(data, dict) and isinstance(changes, dict)):
        return changes
    return data | {key: _merged(data.get(key), value) for key, value in changes.items()}


def _text(wrong):
    """The case file."""
    if "text" in wrong:
        return wrong["text"]
    kept = {name: table for name, table in _BASE.items() if name not in wrong.get("without", ())}
    return tomli_w.dumps(_merged(kept, wrong.get("with", {})))


WRONG = {name: {**wrong, "case": _text(wrong)} for name, wrong in _TABLES.items()}
"""By what is wrong: the key to name, the nearest one to suggest if any, and the case's text."""
