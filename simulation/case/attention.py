"""The ``[attention]`` table: the velocity as a function of the measure and, in layers, of time."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import Field, model_validator

from meanformer.attention.laws import LAWS, PARAMETERS, LawName
from meanformer.simulation.case.errors import Problems, refuse
from meanformer.simulation.case.types import Matrix, NonNegative, Off, Positive, Table

MOST_LAYERS = 100_000

_MATRICES = ("query", "key", "value")


class HeadTable(Table):
    """``[[attention.heads]]``: one head; the identity where nothing is given."""

    query: Matrix | None = None
    """Q, of d columns; left out where heads or layers stand in its place."""
    key: Matrix | None = None
    """K, of d columns and as many rows as Q."""
    value: Matrix | None = None
    """V, of shape (d, d); left out beside random values, too."""


class HeadsTable(HeadTable):
    """One head by its own matrices, or several in their place: their velocities add."""

    heads: tuple[HeadTable, ...] | None = Field(default=None, min_length=1, strict=False)
    """Several heads in place of one: see [below](#heads-and-layers)."""

    @property
    def all_heads(self) -> tuple[HeadTable, ...]:
        """The heads; without ``heads``, this table as the only one."""
        return self.heads or (self,)

    @model_validator(mode="after")
    def _one_or_several(self) -> "HeadsTable":
        if self.heads is not None:
            _refuse_beside(self, _MATRICES, "'heads', which have their own")
        return self


class LayerTable(HeadsTable):
    """``[[attention.layers]]``: the heads of one stretch of time."""

    duration: Positive
    """How long the layer lasts; the last one goes on to the end."""


class RandomValuesTable(Table):
    """``[attention.random_values]``: the V of every head drawn afresh for each layer."""

    seed: int = Field(ge=0)
    """Of the V alone."""
    duration: Positive
    """Of each layer; there are at most as many as of ``layers``."""
    scale: float = Field(default=1.0, gt=0, le=1e9)
    r"""s: the entries of V have the standard deviation $s/\sqrt d$."""


class LawTable(Table):
    """How logits become the velocity: what all layers have in common."""

    law: LawName = "softmax"
    """How logits become weights: see [below](#laws)."""
    beta: float
    r"""The inverse temperature: logits are $\beta\langle Qx, Ky\rangle$; of any sign."""
    offset: float | None = None
    """c of the sigmoid law."""
    tie_tolerance: NonNegative | None = None
    r"""Of the hardmax law: logits within this times $\lvert Ax\rvert\max\lvert y\rvert$ of the
    largest are maximal."""

    @model_validator(mode="after")
    def _keys_of_the_law(self) -> "LawTable":
        problems = [
            (key, f"not allowed with law = {self.law!r}; must be left out, or law be {law!r}")
            for key, (law, _) in PARAMETERS.items()
            if getattr(self, key) is not None and self.law != law
        ]
        refuse(problems)
        return self


class AttentionTable(HeadsTable, LawTable):
    """``[attention]``: the velocity as a function of the measure."""

    layers: tuple[LayerTable, ...] | None = Field(
        default=None, min_length=1, max_length=MOST_LAYERS, strict=False
    )
    """Matrices that change with time: see [below](#heads-and-layers)."""
    random_values: RandomValuesTable | None = None
    """Layers that differ in random V: see [below](#heads-and-layers)."""
    causal: Off = False
    """Tokens see earlier tokens only."""

    @model_validator(mode="after")
    def _one_of_each(self) -> "AttentionTable":
        if self.layers is not None:
            _refuse_beside(self, (*_MATRICES, "heads"), "'layers', which have their own")
            _refuse_beside(self, ("random_values",), "'layers', which have values of their own")
        if self.random_values is not None:
            message = "not allowed beside 'random_values'; must be left out"
            given = [prefix for prefix, table in _tables(self) if table.value is not None]
            refuse([(f"{prefix}value", message) for prefix in given])
        return self


_Heads = TypeVar("_Heads", bound=HeadTable)


def with_default_model(attention: AttentionTable) -> AttentionTable:
    """``attention`` with the defaults that depend on other keys.

    Those are the identity for each matrix that nothing stands in place of, and the keys that the
    law alone has.
    """
    update = {
        parameter.name: parameter.default
        for parameter in LAWS[attention.law].parameters()
        if getattr(attention, parameter.name) is None
    }
    attention = attention.model_copy(update=update)
    if attention.layers is not None:
        layers = tuple(_with_identities(layer, _MATRICES) for layer in attention.layers)
        return attention.model_copy(update={"layers": layers})
    drawn = attention.random_values is not None
    return _with_identities(attention, ("query", "key") if drawn else _MATRICES)


def attention_problems(attention: AttentionTable, dimension: int) -> Problems:
    """Pairs (key below ``attention``, message) of matrices that do not fit the dimension."""
    return [
        (f"{prefix}{key}", message)
        for prefix, table in _tables(attention)
        for key, message in _misfits(table, dimension)
    ]


def _refuse_beside(table: Table, keys: tuple[str, ...], other: str) -> None:
    """Refuse those of the keys that are given."""
    given = [key for key in keys if getattr(table, key) is not None]
    refuse([(key, f"not allowed beside {other}; must be left out") for key in given])


def _with_identities(table: _Heads, keys: tuple[str, ...]) -> _Heads:
    """The table with the identity for each key left out, or its heads with it."""
    if isinstance(table, HeadsTable) and table.heads is not None:
        heads = tuple(_with_identities(head, keys) for head in table.heads)
        return table.model_copy(update={"heads": heads})
    missing = [key for key in keys if getattr(table, key) is None]
    return table.model_copy(update=dict.fromkeys(missing, "identity"))


def _tables(attention: AttentionTable) -> Iterator[tuple[str, HeadTable]]:
    """Every table that may hold matrices, with what its keys start with."""
    groups: list[tuple[str, HeadsTable]] = [("", attention)]
    groups += [(f"layers[{i}].", layer) for i, layer in enumerate(attention.layers or ())]
    for prefix, group in groups:
        yield prefix, group
        for i, head in enumerate(group.heads or ()):
            yield f"{prefix}heads[{i}].", head


def _misfits(head: HeadTable, dimension: int) -> Problems:
    """Pairs (key, message) of the matrices of one head that do not fit."""
    d = dimension
    given = {key: m for key in _MATRICES if isinstance(m := getattr(head, key), tuple)}
    problems = []
    for key, matrix in given.items():
        need = f"must be a {d}x{d} matrix" if key == "value" else f"must be a matrix of {d} columns"
        if {len(row) for row in matrix} != {d} or (key == "value" and len(matrix) != d):
            problems.append((key, f"{_shape(matrix)}; {need}"))
    if problems:
        return problems
    # A multiple of the identity has d rows.
    rows = {key: len(given.get(key, range(d))) for key in ("query", "key")}
    if rows["query"] != rows["key"]:
        key, other = ("key", "query") if "key" in given else ("query", "key")
        need = f"must have as many rows as the {other}, {rows[other]}"
        problems.append((key, f"{_shape(given[key])}; {need}"))
    return problems


def _shape(matrix: Sequence[Sequence[float]]) -> str:
    lengths = {len(row) for row in matrix}
    if len(lengths) > 1:
        return "has rows of different lengths"
    return f"has shape ({len(matrix)}, {max(lengths, default=0)})"
