"""Problems of a case file, told in the user's own keys.

Pydantic validates; this module turns what it found into one readable message. Paths, allowed
values and suggestions all come from the JSON schema of the model and the constraints in it, so a
new key or bound needs no entry here. Fields may add to their schema:

* ``phrase``: what the value must be, where the generated wording would not do;
* ``planned``: regular expressions of values that are known but not supported yet.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

__all__ = ["CaseError", "explain", "refusal", "suggestion"]

Schema = Mapping[str, Any]

_MISSING = object()
_LONGEST_VALUE = 60


class CaseError(ValueError):
    """A case that cannot be run, with every problem found in it.

    Args:
        problems: One line each, starting with the full path of the key.
        source: Where the case came from, usually the path of its file; None if unknown.

    Attributes:
        problems: The same lines.
        source: The same source.
    """

    def __init__(self, problems: Iterable[str], source: str | None = None) -> None:
        """Keep the problems and the source."""
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        """The source, then one indented line for each problem."""
        if len(self.problems) == 1:
            count = "1 problem"
        else:
            count = f"{len(self.problems)} problems"
        return "\n".join(
            [f"{self.source or 'case'}: {count}", *(f"  {line}" for line in self.problems)]
        )


def refusal(*problems: tuple[str, str]) -> PydanticCustomError:
    """The error a validator raises to say itself what is wrong.

    Args:
        problems: Pairs of a key, relative to the value validated (``""`` for the value itself,
            ``"components[1].mean"`` below it), and the message after the colon.
    """
    return PydanticCustomError("refused", "{problems}", {"problems": problems})


def explain(error: ValidationError, data: object, schema: Schema) -> list[str]:
    """One line for each problem in ``error``, at most one for each key.

    Args:
        error: What validation of ``data`` raised.
        data: The mapping that was validated.
        schema: JSON schema of the model.
    """
    messages: dict[str, str] = {}
    short = set()
    for item in error.errors(include_url=False):
        for path, message in _problems(item["type"], item["loc"], item.get("ctx"), data, schema):
            messages.setdefault(path, message)
            if item["type"] == "too_short":
                short.add(path)
    # A list is also called too short when its entries are wrong: then only they are told.
    told = [
        path
        for path in messages
        if not (path in short and any(other.startswith(f"{path}[") for other in messages))
    ]
    return [f"{path}: {messages[path]}" for path in told]


def suggestion(value: object, options: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest of ``options``, or nothing."""
    if not isinstance(value, str):
        return ""
    names = {option.lower(): option for option in options}
    nearest = difflib.get_close_matches(value.lower(), names, n=1)
    return f"; did you mean {names[nearest[0]]!r}?" if nearest else ""


def _problems(
    kind: str,
    loc: Sequence[int | str],
    context: Mapping[str, Any] | None,
    data: object,
    schema: Schema,
) -> list[tuple[str, str]]:
    """Pairs (key path, message) for one pydantic error."""
    if kind in ("extra_forbidden", "invalid_key"):
        path, parent, _ = _locate(loc[:-1], data, schema)
        key = str(loc[-1])
        return [(_join(path, _quoted(key)), _unknown_key(key, parent))]
    path, node, value = _locate(loc, data, schema)
    if kind == "refused" and context is not None and "problems" in context:
        return [(_join(path, key), message) for key, message in context["problems"]]
    if kind in ("union_tag_invalid", "union_tag_not_found") and isinstance(value, Mapping):
        key, node = _tag(node)
        path, value = _join(path, key), value.get(key, _MISSING)
    if kind == "missing" or value is _MISSING:
        return [(_join(path, key), f"missing; {need}") for key, need in _required(node, schema)]
    return [(path, _wrong_value(value, node, schema))]


def _required(node: Schema, schema: Schema) -> list[tuple[str, str]]:
    """The keys to give where a value is missing: a table's own required keys, or the value."""
    properties: Mapping[str, Schema] = node.get("properties", {})
    if properties and node.get("required"):
        return [
            (_join(key, below), need)
            for key in node["required"]
            for below, need in _required(_resolve(properties[key], schema), schema)
        ]
    key, node = _tag(node) if "discriminator" in node else ("", node)
    return [(key, _requirement(node, schema))]


def _tag(union: Schema) -> tuple[str, Schema]:
    """The key that tells the members of a union apart, and the schema of its value."""
    tag = union["discriminator"]
    beside = {key: entry for key, entry in union.items() if key not in ("discriminator", "oneOf")}
    return tag["propertyName"], {**beside, "enum": list(tag["mapping"])}


def _unknown_key(key: str, table: Schema) -> str:
    allowed = sorted(table.get("properties", {}))
    listed = f"allowed: {', '.join(allowed)}"
    return f"unknown key; {listed}{suggestion(key, allowed)}"


def _wrong_value(value: object, node: Schema, schema: Schema) -> str:
    text = value if isinstance(value, str) else _show(value)
    planned = any(re.fullmatch(pattern, text) for pattern in node.get("planned", ()))
    verdict = "not supported in this version" if planned else "not allowed"
    if isinstance(value, float) and not math.isfinite(value):
        need = _requirement(node, schema, finite=True)
    else:
        need = _requirement(node, schema)
    near = "" if planned else suggestion(value, _choices(node))
    return f"{_show(value)} is {verdict}; {need}{near}"


def _requirement(node: Schema, schema: Schema, finite: bool = False) -> str:
    """``allowed: a, b`` where the values can be listed, else ``must be ...``."""
    if "anyOf" not in node and "phrase" not in node and (choices := _choices(node)):
        return f"allowed: {', '.join(choices)}"
    return f"must be {_phrase(node, schema, finite)}"


def _phrase(node: Schema, schema: Schema, finite: bool = False) -> str:
    """What the schema asks for, in words."""
    node = _resolve(node, schema)
    if "phrase" in node:
        return str(node["phrase"])
    if "anyOf" in node:
        return " or ".join(_phrase(member, schema, finite) for member in node["anyOf"])
    if "discriminator" in node:
        return f"a table with the key '{_tag(node)[0]}'"
    if choices := _choices(node):
        return " or ".join(f"'{choice}'" for choice in choices)
    match node.get("type"):
        case "number" | "integer":
            return _number_phrase(node, finite)
        case "string":
            return "a non-empty string" if node.get("minLength") else "a string"
        case "boolean":
            return "true or false"
        case "array":
            length = "a non-empty list" if node.get("minItems") else "a list"
            if "maxItems" in node:
                length += f" of at most {node['maxItems']} entries"
            return f"{length}, each entry {_phrase(node['items'], schema)}"
        case "object":
            return f"a table with keys from: {', '.join(sorted(node.get('properties', {})))}"
    return "of another type"


def _number_phrase(node: Schema, finite: bool) -> str:
    noun = (
        "an integer" if node["type"] == "integer" else "a finite number" if finite else "a number"
    )
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and low == high:
        return f"{low:g}"
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}"
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {node[name]:g}" for name, sign in bounds.items() if name in node]
    if not limits and node["type"] == "number":
        noun = "a finite number"
    return " ".join([noun, " and ".join(limits)]).strip()


def _choices(node: Schema) -> list[str]:
    """The values that can be listed: of an enumeration, or a union's literals."""
    if "anyOf" in node:
        return [choice for member in node["anyOf"] for choice in _choices(member)]
    values = node.get("enum", [node["const"]] if "const" in node else [])
    return [value if isinstance(value, str) else _show(value) for value in values]


def _locate(loc: Sequence[int | str], data: object, schema: Schema) -> tuple[str, Schema, Any]:
    """Follow a pydantic location; tags of unions, which are no keys of the user, drop out.

    Returns:
        The user's key path, the schema there, and the value there (or ``_MISSING``).
    """
    path, node, value = "", _resolve(schema, schema), data
    for step in loc:
        if "discriminator" in node:
            node = _resolve({"$ref": node["discriminator"]["mapping"][step]}, schema)
        elif isinstance(step, int) and "items" in node:
            path, node = f"{path}[{step}]", _resolve(node["items"], schema)
            value = value[step] if isinstance(value, Sequence) else _MISSING
        elif step in node.get("properties", {}):
            path, node = _join(path, str(step)), _resolve(node["properties"][step], schema)
            value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
        else:
            break  # the members of a plain union are told together, at the union
    return path, node, value


def _resolve(node: Schema, schema: Schema) -> Schema:
    """Follow references and drop the ``null`` of an optional value, keeping what stands beside."""
    while True:
        if "$ref" in node:
            beside = {key: entry for key, entry in node.items() if key != "$ref"}
            node = {**schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], **beside}
            continue
        members = [member for member in node.get("anyOf", ()) if member.get("type") != "null"]
        if len(members) != 1:
            return {**node, "anyOf": members} if members else node
        node = {**members[0], **{key: entry for key, entry in node.items() if key != "anyOf"}}


def _join(path: str, key: str) -> str:
    """``path.key``, where either may be empty and ``key`` may start with an index."""
    return f"{path}.{key}" if path and key and not key.startswith("[") else path + key


def _quoted(key: str) -> str:
    """A key as TOML spells it: quoted unless it is bare."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _show(value: object) -> str:
    """A value as the user wrote it, or nearly, and not longer than a line."""
    match value:
        case bool():
            text = str(value).lower()
        case Mapping():
            text = f"a table with keys {', '.join(map(str, value))}" if value else "an empty table"
        case list() | tuple():
            entries = value[:_LONGEST_VALUE]
            shown = ["{...}" if isinstance(entry, Mapping) else _show(entry) for entry in entries]
            text = f"[{', '.join(shown)}{']' if len(shown) == len(value) else ''}"
        case int() if value.bit_length() > 4 * _LONGEST_VALUE:
            text = f"an integer of {value.bit_length()} bits"
        case int() | float() | str():
            text = repr(value)
        case _:
            text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
