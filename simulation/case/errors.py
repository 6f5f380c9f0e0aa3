"""Problems of a case, told in the user's own keys, from what pydantic found and the schema."""

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from meanformer.simulation.case.schema import Schema, choices, requirement

_MISSING = object()
_LONGEST_VALUE = 60

Problems = list[tuple[str, str]]
"""Pairs of a key, relative to the value validated (``""`` for the value itself,
``"components[1].mean"`` below it), and the message after the colon."""


class CaseError(ValueError):
    """A case that cannot be run, with every problem found in it.

    Attributes:
        problems: One line each, starting with the full path of the key.
        source: Where the case came from, usually the path of its file; None if unknown.
    """

    def __init__(self, problems: Iterable[str], source: str | None = None) -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        """The source, then one indented line for each problem."""
        count = len(self.problems)
        head = f"{self.source or 'case'}: {count} problem{'' if count == 1 else 's'}"
        return "\n".join([head, *(f"  {line}" for line in self.problems)])


def refusal(message: str, key: str = "") -> PydanticCustomError:
    """The error a validator raises to say itself what is wrong with its value, or a key below."""
    return PydanticCustomError("refused", "{problems}", {"problems": [(key, message)]})


def refuse(problems: Problems) -> None:
    """Raise the error of a validator that says itself what is wrong, if anything is."""
    if problems:
        raise PydanticCustomError("refused", "{problems}", {"problems": problems})


def explain(error: ValidationError, data: object, schema: Schema) -> list[str]:
    """One line for each problem that validation of ``data`` found, at most one for each key."""
    messages: dict[str, str] = {}
    short = set()
    for item in error.errors(include_url=False):
        for path, message in _problems(item, data, schema):
            messages.setdefault(path, message)
            if item["type"] == "too_short":
                short.add(path)
    # A list is also called too short when its entries are wrong: then only they are told.
    return [
        f"{path}: {message}"
        for path, message in messages.items()
        if not (path in short and any(other.startswith(f"{path}[") for other in messages))
    ]


def suggestion(value: object, options: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest of ``options``, or nothing."""
    if not isinstance(value, str):
        return ""
    names = {option.lower(): option for option in options}
    nearest = difflib.get_close_matches(value.lower(), names, n=1)
    return f"; did you mean {names[nearest[0]]!r}?" if nearest else ""


def _problems(item: ErrorDetails, data: object, schema: Schema) -> Problems:
    """Pairs (key path, message) for one pydantic error."""
    kind, loc = item["type"], item["loc"]
    if kind in ("extra_forbidden", "invalid_key"):
        path, parent, _ = _locate(loc[:-1], data, schema)
        key, allowed = str(loc[-1]), sorted(parent["properties"])
        spelt = key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)  # as in TOML
        message = f"unknown key; allowed: {', '.join(allowed)}{suggestion(key, allowed)}"
        return [(join(path, spelt), message)]
    path, node, value = _locate(loc, data, schema)
    if kind == "refused":
        return [(join(path, key), message) for key, message in item["ctx"]["problems"]]
    if kind in ("union_tag_invalid", "union_tag_not_found") and isinstance(value, Mapping):
        path, node, value = _locate((*loc, node["tag"]), data, schema)
    if value is _MISSING:
        return [(join(path, key), f"missing; {need}") for key, need in _required(node)]
    need = requirement(node)
    if isinstance(value, float) and not math.isfinite(value):
        need = need.replace("a number", "a finite number")
    return [(path, f"{show(value)} is not allowed; {need}{suggestion(value, choices(node))}")]


def _required(node: Schema) -> Problems:
    """The keys to give where a value is missing: a table's own required keys, or the value."""
    if needed := node.get("required"):
        parts = node["properties"]
        return [(join(key, below), need) for key in needed for below, need in _required(parts[key])]
    return [("", requirement(node))]


def _locate(loc: Sequence[int | str], data: object, schema: Schema) -> tuple[str, Schema, Any]:
    """Follow a pydantic location; tags of unions, which are no keys of the user, drop out.

    Returns:
        The user's key path, the schema there, and the value there (or ``_MISSING``).
    """
    path, node, value = "", schema, data
    for step in loc:
        if isinstance(step, int) and "items" in node:
            path, node = f"{path}[{step}]", node["items"]
            value = value[step] if isinstance(value, Sequence) else _MISSING
        elif step in node.get("properties", {}):
            path, node = join(path, str(step)), node["properties"][step]
            value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
        elif "tag" in node:
            node = node["members"][step]
        else:
            break  # the members of a plain union are told together, at the union
    return path, node, value


def join(path: str, key: str) -> str:
    """``path.key``, where either may be empty and ``key`` may start with an index."""
    return f"{path}.{key}" if path and key and not key.startswith("[") else path + key


def show(value: object) -> str:
    """A value as the user wrote it, or nearly, and not longer than a line."""
    match value:
        case bool():
            text = str(value).lower()
        case Mapping():
            text = f"a table with keys {', '.join(map(str, value))}" if value else "an empty table"
        case list() | tuple():
            entries = value[:_LONGEST_VALUE]
            shown = ["{...}" if isinstance(entry, Mapping) else show(entry) for entry in entries]
            text = f"[{', '.join(shown)}{']' if len(shown) == len(value) else ''}"
        case int() if value.bit_length() > 4 * _LONGEST_VALUE:
            text = f"an integer of {value.bit_length()} bits"
        case int() | float() | str():
            text = repr(value)
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
