"""Write the tables of case-file.md: what the models of a case allow, and what they fill in.

scripts/env python docs/case_file.py
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import tomli_w

from meanformer.simulation import Case
from meanformer.simulation.case.initial import KINDS
from meanformer.simulation.case.schema import Schema, choices, phrase, schema_of
from meanformer.simulation.case.tables import MESHES

PAGE = Path(__file__).with_name("case-file.md")
TABLES = schema_of(Case)["properties"]
LAWS = choices(TABLES["attention"]["properties"]["law"])

SHORTEST = {"attention": {"beta": 1}, "time": {"end": 1}, "particles": {}}
ON_SPHERE = SHORTEST | {"initial": {"kind": "uniform"}, "pde": {}}
ON_LINE = ON_SPHERE | {
    "space": {"kind": "euclidean", "dimension": 1},
    "initial": {"kind": "gaussian", "mean": [0], "covariance": 1},
}
OF_LAWS = [
    SHORTEST | {"attention": {"beta": 1, "law": law}, "initial": {"kind": "uniform"}}
    for law in LAWS
]
CAUSAL = SHORTEST | {"attention": {"beta": 1, "causal": True}, "initial": {"kind": "uniform"}}


def main() -> None:
    """Bring the page up to date."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(page: str) -> str:
    """The page with what is between ``<!-- table: NAME -->`` and ``<!-- end -->`` made anew."""
    made = tables()

    def table(match: re.Match[str]) -> str:
        return "\n".join([match[1], "", *made[match[2]], "", match[3]])

    return re.sub(r"(<!-- table: (.*?) -->)\n.*?(<!-- end -->)", table, page, flags=re.DOTALL)


def tables() -> dict[str, list[str]]:
    """The lines of each table, by the name that the page calls it."""
    head = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    return {
        "keys": [*head, *all_keys()],
        "random values": [*head, *keys(TABLES["attention"]["properties"]["random_values"], {})],
        "meshes": ["| space | cells | largest r |", "|---|---|---|", *meshes()],
        "on spheres": [*head, *measures(["sphere"])],
        "in R^d": [*head, *measures(["euclidean"])],
        "in either": [*head, *measures(["sphere", "euclidean"])],
    }


def all_keys() -> Iterator[str]:
    """The tables of a case, each with its keys."""
    defaults = filled_in()
    for name, node in TABLES.items():
        if "tag" in node:  # there is a table of its own for each kind
            kind = {"enum": list(KINDS), "description": "See [below](#initial-measures)."}
            node = node | {"properties": {node["tag"]: kind}, "required": [node["tag"]]}
        if "properties" in node:
            yield row(f"**`[{name}]`**", "absent" if "default" in node else "", "", node)
            yield from keys(
                node, {key: told for (table, key), told in defaults.items() if table == name}
            )
        else:
            yield row(f"`{name}`", defaults["", name], allowed(node), node)


def keys(table: Schema, defaults: dict[str, str]) -> Iterator[str]:
    """One row a key of a table; a default that no case fills in is that of the model."""
    for key, node in table["properties"].items():
        default = defaults.get(key) or spelt(node.get("default"))
        default = "required" if key in table.get("required", ()) else default
        yield row(f"`{key}`", default, allowed(node), node)


def measures(spaces: list[str]) -> Iterator[str]:
    """The kinds of initial measures that just these spaces have, each with its keys."""
    for kind, table in KINDS.items():
        if list(table.spaces) == spaces:
            node = TABLES["initial"]["members"][kind]
            yield row(f'**`"{kind}"`**', "", "", node)
            parts = {key: part for key, part in node["properties"].items() if key != "kind"}
            if "components" in parts:  # each of them has a weight beside its own keys
                part, *_ = parts["components"]["items"]["members"].values()
                parts["components[i].weight"] = part["properties"]["weight"]
            yield from keys(node | {"properties": parts}, {})


def meshes() -> Iterator[str]:
    """One row a space that has meshes."""
    for (kind, dimension), family in MESHES.items():
        factor = 2 ** (dimension - 1 if kind == "sphere" else dimension)
        space = f'`kind = "{kind}"`, `dimension = {dimension}`'
        yield f"| {space} | ${family.cells}\\cdot{factor}^r$ | {family.most_refined} |"


def row(name: str, default: str, values: str, node: Schema) -> str:
    """One row, with the docstring of the key or table."""
    told = " ".join(node["description"].split()).replace("``", "`").replace("|", "\\|")
    told = re.sub(r"^`\[\w+\]`: (.)", lambda match: match[1].upper(), told)
    return re.sub(" +", " ", f"| {name} | {default} | {values} | {told} |")


def allowed(node: Schema) -> str:
    """What a value may be."""
    if node.get("type") == "boolean":
        return ", ".join(f"`{choice}`" for choice in choices(node))
    if "enum" in node or "const" in node:
        return ", ".join(f'`"{choice}"`' for choice in choices(node))
    words = re.sub(r"'([\w-]+)'", r'`"\1"`', phrase(node))
    return re.sub(r"1e([+-]\d+)", lambda match: f"$10^{{{int(match[1])}}}$", words)


def spelt(value: object) -> str:
    """A value as TOML spells it."""
    return "absent" if value in (None, [], ()) else f"`{json.dumps(value, ensure_ascii=False)}`"


def filled_in() -> dict[tuple[str, str], str]:
    """What resolved cases say where they are given nothing, by table and key."""
    found: dict[tuple[str, str], list[str]] = {}
    for data in (ON_SPHERE, ON_LINE, CAUSAL, *OF_LAWS):
        with TemporaryDirectory() as folder:
            path = Path(folder, "STEM.toml")
            path.write_text(tomli_w.dumps(data))
            resolved = Case.load(path).model_dump(exclude_none=True)
        for name, table in [*resolved.items(), ("", resolved)]:
            for key, value in table.items() if isinstance(table, dict) else ():
                values = found.setdefault((name, key), [])
                if key not in data.get(name, {}) and spelt(value) not in values:
                    values.append(spelt(value))
    return {key: " or ".join(values) for key, values in found.items()}


if __name__ == "__main__":
    main()
