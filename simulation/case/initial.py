"""The ``[initial]`` table: the measure at t = 0, of mass 1, on the sphere S^{d-1} or in R^d."""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from meanformer.simulation.case.errors import refusal, suggestion
from meanformer.simulation.case.measures import (
    Box,
    Gaussian,
    Harmonic,
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
)
from meanformer.simulation.case.tokens import Tokens
from meanformer.simulation.case.types import Table

__all__ = ["Initial", "initial_problems", "with_default_axis"]

KINDS = {
    "sphere": ("uniform", "von-mises-fisher", "poisson-kernel", "harmonic", "mixture", "tokens"),
    "euclidean": ("gaussian", "box", "mixture", "tokens"),
}
"""The kinds of initial measures, by the kind of space; on spheres S^3 and beyond tokens only."""

_ALL_KINDS = [kind for kinds in KINDS.values() for kind in kinds]
_NO_COMPONENTS = ["mixture", "tokens"]


def _entry(table: object, key: str) -> Any:
    return table.get(key) if isinstance(table, Mapping) else getattr(table, key, None)


def _kind_problems(initial: object, space_kind: str, dimension: int) -> list[tuple[str, str]]:
    """Pairs (key, message) of the kinds that are none of the space's; raw tables are fine."""
    allowed, where = KINDS[space_kind], f" with space.kind = {space_kind!r}"
    if space_kind == "sphere" and dimension > 3:
        allowed, where = ("tokens",), f" with space.dimension = {dimension} on a sphere"
    kind = _entry(initial, "kind")
    components = _entry(initial, "components")
    if kind != "mixture" or kind not in allowed or not isinstance(components, list | tuple):
        message = _wrong_kind(kind, allowed, where if kind in _ALL_KINDS else "")
        return [("kind", message)] if message else []
    allowed = tuple(kind for kind in allowed if kind not in _NO_COMPONENTS)
    problems = []
    for i, component in enumerate(components):
        kind = _entry(component, "kind")
        known = kind in _ALL_KINDS and kind not in _NO_COMPONENTS
        if message := _wrong_kind(kind, allowed, where if known else ""):
            problems.append((f"components[{i}].kind", message))
    return problems


def _wrong_kind(kind: object, allowed: tuple[str, ...], where: str) -> str:
    """What is wrong with a kind, or an empty string; what is no string is told by its type."""
    if not isinstance(kind, str) or kind in allowed:
        return ""
    near = "" if where else suggestion(kind, allowed)
    return f"{_short.repr(kind)} is not allowed{where}; allowed: {', '.join(allowed)}{near}"


_short = reprlib.Repr()
_short.maxstring = 60


def _kinds_of_the_space(initial: object, info: ValidationInfo) -> object:
    """Refuse kinds before their keys are looked at: a wrong kind is then one problem."""
    space = info.data.get("space")
    if space is not None and (problems := _kind_problems(initial, space.kind, space.dimension)):
        raise refusal(*problems)
    return initial


Initial = Annotated[
    Uniform | VonMisesFisher | PoissonKernel | Harmonic | Gaussian | Box | Mixture | Tokens,
    Field(discriminator="kind"),
    BeforeValidator(_kinds_of_the_space),
]
"""Any initial measure; as a field beside ``space``, one of a kind that the space has."""


def initial_problems(initial: Initial, dimension: int, space_kind: str) -> list[tuple[str, str]]:
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


def _shape_problems(measure: Table, dimension: int) -> list[tuple[str, str]]:
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


def with_default_axis(initial: Initial, dimension: int) -> Initial:
    """``initial`` with the last coordinate axis wherever a harmonic names none."""
    if isinstance(initial, Mixture):
        parts = tuple(with_default_axis(part, dimension) for part in initial.components)
        return initial.model_copy(update={"components": parts})
    if isinstance(initial, Harmonic) and not initial.axis:
        return initial.model_copy(update={"axis": (0.0,) * (dimension - 1) + (1.0,)})
    return initial
