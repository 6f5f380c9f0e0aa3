"""The ``[attention]`` table: the velocity as a function of the measure and, in layers, of time."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from meanformer.attention import Attention
from meanformer.attention.backends.causal.past import LARGEST_DECAY
from meanformer.attention.backends.direct.pairs import BLOCKED_FROM
from meanformer.attention.backends.plan import Device
from meanformer.attention.laws import LAWS, PARAMETERS, LawName
from meanformer.simulation.case.errors import refusal, refuse
from meanformer.simulation.case.space import lists_to_tuples, space_in
from meanformer.simulation.case.types import NonNegative, Positive, Table

MOST_LAYERS = 100_000

_MATRICES = ("query", "key", "value")
_SQUARE = ("value", "linear")
_MATRIX = "'identity', a finite number (multiple of it) or a matrix [[...], ...]"
_Entry = Literal["identity"] | float | tuple[tuple[float, ...], ...]


def _fits_the_space(matrix: _Entry, info: ValidationInfo) -> _Entry:
    space = space_in(info)
    if space is None or not isinstance(matrix, tuple):
        return matrix
    d, is_square = space.dimension, info.field_name in _SQUARE
    if {len(row) for row in matrix} != {d} or (is_square and len(matrix) != d):
        need = f"a {d}x{d} matrix" if is_square else f"a matrix of {d} columns"
        raise refusal(f"{_shape(matrix)}; must be {need}")
    return matrix


Matrix = Annotated[
    _Entry,
    BeforeValidator(lists_to_tuples),
    AfterValidator(_fits_the_space),
    Field(json_schema_extra={"phrase": _MATRIX}),
]
"""``"identity"``, a multiple of it, or rows: Q, K of ``shape=(r, d)``, V and M of ``(d, d)``."""


class HeadTable(Table):
    """``[[attention.heads]]``: one head; the identity where nothing is given."""

    query: Matrix | None = None
    """Q, of d columns; left out where heads or layers stand in its place."""
    key: Matrix | None = None
    """K, of d columns and as many rows as Q."""
    value: Matrix | None = None
    """V, of shape (d, d); left out beside random values, too."""

    @model_validator(mode="after")
    def _query_fits_key(self) -> Self:
        given = {key: m for key in ("key", "query") if isinstance(m := getattr(self, key), tuple)}
        if given:
            key, other = ("key", "query") if "key" in given else ("query", "key")
            # A multiple of the identity has as many rows as columns.
            rows = len(given[other] if other in given else given[key][0])
            if len(given[key]) != rows:
                need = f"must have as many rows as the {other}, {rows}"
                raise refusal(f"{_shape(given[key])}; {need}", key)
        return self


class HeadsTable(HeadTable):
    """One head by its own matrices, or several in their place: their velocities add."""

    heads: tuple[HeadTable, ...] | None = Field(default=None, min_length=1, strict=False)
    """Several heads in place of one: see [below](#heads-and-layers)."""

    @property
    def all_heads(self) -> tuple[HeadTable, ...]:
        """The heads; without ``heads``, this table as the only one."""
        return self.heads or (self,)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
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
    relative: bool = False
    """Values are $V(y-x)$ in place of $Vy$; not in rescaled variables."""

    device: Device = "cpu"
    """``"cuda"``: in at least 8 dimensions sums over all pairs are computed on a GPU, by torch; not
    those of laws that need none."""

    @field_validator("device", mode="after")
    @classmethod
    def _sums_pairs(cls, device: Device, info: ValidationInfo) -> Device:
        space, law = space_in(info), info.data.get("law")
        if device == "cpu":
            return device
        if space is not None and space.dimension < BLOCKED_FROM:
            need = f"must be 'cpu' where space.dimension is below {BLOCKED_FROM}"
            raise refusal(f"{device!r} is not allowed; {need}")
        if law is not None and Attention(law).rule.kernel.separable:
            raise refusal(f"{device!r} is not allowed; must be 'cpu' with attention.law = {law!r}")
        return device

    @model_validator(mode="after")
    def _keys_of_the_law(self, info: ValidationInfo) -> Self:
        laws = {key: PARAMETERS[key][0] for key in self.given(PARAMETERS)}
        refuse(
            [
                (key, f"not allowed with law = {self.law!r}; must be left out, or law be {law!r}")
                for key, law in laws.items()
                if law != self.law
            ]
        )
        space = space_in(info)
        if space is not None and space.rescaled and not LAWS[self.law].normalised:
            allowed = ", ".join(repr(name) for name, law in LAWS.items() if law.normalised)
            raise refusal(
                f"{self.law!r} is not allowed with space.rescaled = true; allowed: {allowed}", "law"
            )
        if space is not None and space.rescaled and self.relative:
            raise refusal(
                "true is not allowed with space.rescaled = true; must be false", "relative"
            )
        return self.with_defaults({one.name: one.default for one in LAWS[self.law].parameters()})


class AttentionTable(HeadsTable, LawTable):
    """``[attention]``: the velocity as a function of the measure."""

    layers: tuple[LayerTable, ...] | None = Field(
        default=None, min_length=1, max_length=MOST_LAYERS, strict=False
    )
    """Matrices that change with time: see [below](#heads-and-layers)."""
    random_values: RandomValuesTable | None = None
    """Layers that differ in random V: see [below](#heads-and-layers)."""
    causal: bool = False
    """Tokens see those before them alone, in the order of their numbers: see
    [below](#causal-attention-and-prompts)."""
    sees_itself: bool | None = None
    """With ``causal``: whether a token sees itself, too."""
    decay: float | None = Field(default=None, ge=-LARGEST_DECAY, le=LARGEST_DECAY)
    r"""λ, with ``causal``: weights fall like $e^{-\lambda(j-i)/N}$ with the distance j - i in the
    order of all N tokens, a prompt's included."""

    @model_validator(mode="after")
    def _mask(self) -> Self:
        if not self.causal:
            need = "not allowed without causal = true; must be left out"
            refuse([(key, need) for key in self.given(("sees_itself", "decay"))])
            return self
        if not LAWS[self.law].has_causal_form:
            allowed = ", ".join(repr(name) for name, law in LAWS.items() if law.has_causal_form)
            raise refusal(
                f"{self.law!r} is not allowed with causal = true; allowed: {allowed}", "law"
            )
        return self.with_defaults({"sees_itself": True, "decay": 0.0})

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.layers is not None:
            _refuse_beside(self, (*_MATRICES, "heads"), "'layers', which have their own")
            _refuse_beside(self, ("random_values",), "'layers', which have values of their own")
            layers = tuple(_with_identities(layer, _MATRICES) for layer in self.layers)
            return self.model_copy(update={"layers": layers})
        if self.random_values is None:
            return _with_identities(self, _MATRICES)
        values = {"value": self.value}
        values |= {f"heads[{i}].value": head.value for i, head in enumerate(self.heads or ())}
        message = "not allowed beside 'random_values'; must be left out"
        refuse([(key, message) for key, value in values.items() if value is not None])
        return _with_identities(self, ("query", "key"))


_Heads = TypeVar("_Heads", bound=HeadsTable)


def _refuse_beside(table: Table, keys: tuple[str, ...], other: str) -> None:
    """Refuse those of the keys that are given."""
    message = f"not allowed beside {other}; must be left out"
    refuse([(key, message) for key in table.given(keys)])


def _with_identities(table: _Heads, keys: tuple[str, ...]) -> _Heads:
    """The table with the identity for each key left out, or its heads with it."""
    identities = dict.fromkeys(keys, "identity")
    if table.heads is None:
        return table.with_defaults(identities)
    heads = tuple(head.with_defaults(identities) for head in table.heads)
    return table.model_copy(update={"heads": heads})


def _shape(matrix: Sequence[Sequence[float]]) -> str:
    lengths = {len(row) for row in matrix}
    if len(lengths) > 1:
        return "has rows of different lengths"
    return f"has shape ({len(matrix)}, {max(lengths, default=0)})"
