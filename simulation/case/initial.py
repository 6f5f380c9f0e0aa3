"""The ``[initial]`` table: the measure at t = 0, of mass 1, on the sphere S^{d-1} or in R^d."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, Field, ValidationInfo

from meanformer.simulation.case.errors import Problems, refuse, show, suggestion
from meanformer.simulation.case.measures import Density, Harmonic, Mixture
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.case.types import Table

KINDS = {
    table.model_fields["kind"].default: table for table in (*get_args(Density), Mixture, Tokens)
}
"""The tables of the kinds of initial measures, by kind."""

_PARTS = [table.model_fields["kind"].default for table in get_args(Density)]


def _entry(table: object, key: str) -> Any:
    return table.get(key) if isinstance(table, Mapping) else getattr(table, key, None)


def _kind_problems(initial: object, space_kind: str, dimension: int) -> Problems:
    """Pairs (key, message) of the kinds that are none of the space's; raw tables are fine."""
    allowed = [kind for kind, table in KINDS.items() if space_kind in table.spaces]
    where = f" with space.kind = {space_kind!r}"
    if space_kind == "sphere" and dimension > 3:
        allowed, where = ["tokens"], f" with space.dimension = {dimension} on a sphere"
    kind, components = _entry(initial, "kind"), _entry(initial, "components")
    entries, known = [("kind", kind)], list(KINDS)
    if kind == "mixture" and kind in allowed and isinstance(components, list | tuple):
        entries = [(f"components[{i}].kind", _entry(c, "kind")) for i, c in enumerate(components)]
        allowed, known = [kind for kind in allowed if kind in _PARTS], _PARTS
    problems = []
    for key, kind in entries:
        if isinstance(kind, str) and kind not in allowed:  # other types are told by the model
            why = f"{where}; " if kind in known else "; "
            near = "" if kind in known else suggestion(kind, allowed)
            message = f"{show(kind)} is not allowed{why}allowed: {', '.join(allowed)}{near}"
            problems.append((key, message))
    return problems


def _kinds_of_the_space(initial: object, info: ValidationInfo) -> object:
    """Refuse kinds before their keys are looked at: a wrong kind is then one problem."""
    if space := info.data.get("space"):
        refuse(_kind_problems(initial, space.kind, space.dimension))
    return initial


Initial = Annotated[
    Density | Mixture | Tokens, Field(discriminator="kind"), BeforeValidator(_kinds_of_the_space)
]
"""Any initial measure; as a field beside ``space``, one of a kind that the space has."""


def initial_problems(initial: Initial, dimension: int, space_kind: str) -> Problems:
    """Pairs (key below ``initial``, message) of what does not fit the space.

    Args:
        initial: The measure.
        dimension: The ambient dimension d.
        space_kind: ``"sphere"`` or ``"euclidean"``.
    """
    if problems := _kind_problems(initial, space_kind, dimension):
        return problems
    if isinstance(initial, Tokens):
        return initial.problems(dimension, space_kind)
    if isinstance(initial, Mixture):
        return [
            (f"components[{i}].{key}", message)
            for i, component in enumerate(initial.components)
            for key, message in _shape_problems(component, dimension)
        ]
    return _shape_problems(initial, dimension)


def _shape_problems(measure: Table, dimension: int) -> Problems:
    """Pairs (key, message) of vectors and matrices that are not those of d dimensions."""
    problems = []
    for key, value in measure:
        if not isinstance(value, tuple) or len(value) == dimension:
            continue
        if isinstance(value[0] if value else None, tuple):
            shape = (len(value), len(value[0]))
            need = f"must have shape {(dimension, dimension)}, or be a positive number"
            problems.append((key, f"has shape {shape}; {need}"))
        else:
            need = f"must have {dimension}, one for each dimension of space"
            problems.append((key, f"has {len(value)} entries; {need}"))
    return problems


_Measure = TypeVar("_Measure", bound=Table)


def with_default_axis(measure: _Measure, dimension: int) -> _Measure:
    """``measure`` with the last coordinate axis wherever a harmonic names none."""
    if isinstance(measure, Mixture):
        parts = tuple(with_default_axis(part, dimension) for part in measure.components)
        return measure.model_copy(update={"components": parts})
    if isinstance(measure, Harmonic) and not measure.axis:
        return measure.model_copy(update={"axis": (0.0,) * (dimension - 1) + (1.0,)})
    return measure
