"""What a model allows, as data and in words: its JSON schema, and ``must be ...``.

Messages and the guide's tables come from here, so that a new key or bound needs no entry in either.
A field may add ``phrase`` to its schema: what the value must be, where the generated wording would
not do.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


@functools.cache
def schema_of(model: type[BaseModel]) -> Schema:
    """The JSON schema of a model, as one tree.

    References are followed, and the ``null`` of optional values is dropped. A union of tables that
    a key tells apart has that key as ``tag`` and only property, and the tables by its values as
    ``members``.
    """
    schema = model.model_json_schema()
    return _tree(schema, schema.get("$defs", {}))


def _tree(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The node with what it refers to; what stands beside a reference is kept, and wins."""

    def tree(part: Schema) -> Schema:
        return _tree(part, definitions)

    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return tree(definitions[name] | {k: v for k, v in node.items() if k != "$ref"})
    if "anyOf" in node:
        members = [member for member in node["anyOf"] if member.get("type") != "null"]
        if len(members) == 1:
            return tree(members[0] | {k: v for k, v in node.items() if k != "anyOf"})
        return {**node, "anyOf": [tree(member) for member in members]}
    if "discriminator" in node:
        tag, paths = node["discriminator"]["propertyName"], node["discriminator"]["mapping"]
        return {
            "description": node.get("description"),
            "tag": tag,
            "members": {kind: tree({"$ref": path}) for kind, path in paths.items()},
            "properties": {tag: {"enum": list(paths)}},
            "required": [tag],
        }
    parts = {"items": tree(node["items"])} if "items" in node else {}
    if "properties" in node:
        parts["properties"] = {key: tree(part) for key, part in node["properties"].items()}
    return {**node, **parts}


def requirement(node: Schema) -> str:
    """``allowed: a, b`` where the values can be listed, else ``must be ...``."""
    if "anyOf" not in node and "phrase" not in node and (listed := choices(node)):
        return f"allowed: {', '.join(listed)}"
    return f"must be {phrase(node)}"


def choices(node: Schema) -> list[str]:
    """The values that can be listed: of an enumeration, or a union's literals."""
    if "anyOf" in node:
        return [choice for member in node["anyOf"] for choice in choices(member)]
    values = node.get("enum", [node["const"]] if "const" in node else [])
    if not values and node.get("type") == "boolean":
        values = [True, False]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


def phrase(node: Schema) -> str:
    """What the schema asks for, in words."""
    if "phrase" in node:
        return str(node["phrase"])
    if "anyOf" in node:
        return " or ".join(phrase(member) for member in node["anyOf"])
    if "tag" in node:
        return f"a table with the key '{node['tag']}'"
    if listed := choices(node):
        return " or ".join(f"'{choice}'" for choice in listed)
    match node.get("type"):
        case "number" | "integer":
            return _number(node)
        case "string":
            return "a non-empty string" if node.get("minLength") else "a string"
        case "array":
            length = "a non-empty list" if node.get("minItems") else "a list"
            if "maxItems" in node:
                length += f" of at most {node['maxItems']} entries"
            return f"{length}, each entry {phrase(node['items'])}"
        case "object":
            return f"a table with keys from: {', '.join(sorted(node['properties']))}"
    raise ValueError(f"no words for the schema {node}")


def _number(node: Schema) -> str:
    noun = "an integer" if node["type"] == "integer" else "a number"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}"
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = " and ".join(f"{sign} {node[name]:g}" for name, sign in bounds.items() if name in node)
    if limits:
        return f"{noun} {limits}"
    return "a finite number" if node["type"] == "number" else noun
