"""The tables of a case file but ``[attention]`` and ``[initial]``, one model each."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.types import NonNegative, Off, Positive, Table, Text

__all__ = [
    "CompareTable",
    "NoiseTable",
    "OutputTable",
    "ParticlesTable",
    "PdeTable",
    "SpaceTable",
    "TimeTable",
    "compare_problems",
    "pde_problems",
    "with_default_mesh",
    "with_default_metrics",
]

Share = Annotated[float, Field(gt=0, le=1)]
"""A share of the mass."""


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise refusal(("", f"{value!r} is given twice; must be a list without repetition"))
    return values


def _none_alone(values: tuple[str, ...]) -> tuple[str, ...]:
    if "none" in values and len(values) > 1:
        raise refusal(("", f"'none' stands beside {_others(values)}; must be ['none'] or formats"))
    return values


def _others(values: Iterable[str]) -> str:
    return ", ".join(repr(value) for value in values if value != "none")


class SpaceTable(Table):
    """``[space]``: where tokens live."""

    kind: Literal["sphere", "euclidean"] = "sphere"
    """``"sphere"``: the unit sphere S^{d-1}; ``"euclidean"``: R^d."""
    dimension: int = Field(default=3, ge=1, le=1024)
    """d, the ambient dimension; at least 2 on a sphere, at most 3 with ``[pde]``."""
    rescaled: Off = False
    """Evolve z = exp(-tV) x in place of x (in R^d)."""

    @field_validator("dimension", mode="after")
    @classmethod
    def _has_a_sphere(cls, dimension: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "sphere" and dimension < 2:
            raise refusal(("", f"{dimension} is not allowed; must be at least 2 on a sphere"))
        return dimension


class NoiseTable(Table):
    """``[noise]``: Brownian motion of the tokens, diffusion of the density."""

    temperature: float = Field(default=0.0, ge=0, le=1e9)
    """kappa of dX = v dt + sqrt(2 kappa) dW (dimensionless)."""


class PdeTable(Table):
    """``[pde]``: the solver of the density."""

    scheme: Annotated[
        Literal["dg"], Field(json_schema_extra={"planned": ["flow-map", "zonal"]})
    ] = "dg"
    """``"dg"``: discontinuous Galerkin transport."""
    degree: int = Field(default=2, ge=0, le=3)
    """Polynomial degree of the density in a cell; at least 1 with noise."""
    refinement: int | None = Field(default=None, ge=0, le=12)
    """Level r of the mesh: 20 * 4^r cells of the icosphere (r <= 8), 10 * 2^r of the circle; 2^r
    cells a side of the box in R^d (r <= 10 for d = 2, 6 for d = 3). 4 where none is given."""
    half_width: float | None = Field(default=None, ge=1e-9, le=1e9)
    """h of the box [-h, h]^d in R^d; 5 where none is given."""
    mesh: Text | None = None
    """A gmsh file in place of the box; relative to the case file, absolute once resolved."""
    boundary: Literal["outflow", "no-flux"] | None = None
    """In R^d: ``"outflow"``, the default, or ``"no-flux"``."""
    largest_outflow: Share | None = None
    """In R^d: the run stops when more of the mass has left; 0.001 where none is given."""
    largest_unresolved: Share | None = None
    """The run stops when more of the mass is in cells that do not resolve it; None: a warning."""

    @field_validator("mesh", mode="after")
    @classmethod
    def _resolved(cls, mesh: str | None, info: ValidationInfo) -> str | None:
        if mesh is None:
            return None
        path = os.path.abspath(os.path.join((info.context or {}).get("folder", Path()), mesh))
        if not os.path.isfile(path):
            raise refusal(("", f"cannot read {path}; must be a gmsh file (.msh)"))
        return path


_REFINEMENT = 4
_IN_FLAT_SPACE = {"half_width": 5.0, "boundary": "outflow", "largest_outflow": 1e-3}
_MOST_REFINED = {("sphere", 2): 12, ("sphere", 3): 8}
_MOST_REFINED |= {("euclidean", 1): 12, ("euclidean", 2): 10, ("euclidean", 3): 6}


def pde_problems(pde: PdeTable, space: SpaceTable, noise: NoiseTable) -> list[tuple[str, str]]:
    """Pairs (key below ``pde``, message) of what does not fit the space or the noise."""
    place = (space.kind, space.dimension)
    if place not in _MOST_REFINED:
        need = "must be at most 3, or leave [pde] out"
        return [("", f"not allowed with space.dimension = {space.dimension}, which {need}")]
    problems = []
    if noise.temperature > 0 and pde.degree == 0:
        need = "must be 1 to 3 with noise.temperature > 0"
        problems.append(("degree", f"0 is not allowed; {need}"))
    if pde.refinement is not None and pde.refinement > most_refined(space):
        need = f"must be at most {most_refined(space)} in this space"
        problems.append(("refinement", f"{pde.refinement} is not allowed; {need}"))
    given = [key for key in (*_IN_FLAT_SPACE, "mesh") if getattr(pde, key) is not None]
    if space.kind == "sphere":
        need = "must be left out unless space.kind = 'euclidean'"
        problems += [(key, f"is not allowed on a sphere; {need}") for key in given]
    elif pde.mesh is not None:
        need = "must be left out beside 'mesh', which says it"
        problems += [
            (key, f"is not allowed; {need}")
            for key in ("half_width", "refinement")
            if getattr(pde, key) is not None
        ]
    return problems


def most_refined(space: SpaceTable) -> int:
    """The largest ``pde.refinement`` in a space that has meshes."""
    return _MOST_REFINED[space.kind, space.dimension]


def with_default_mesh(pde: PdeTable, space: SpaceTable) -> PdeTable:
    """``pde`` with the keys of its mesh, and in R^d those of the boundary."""
    defaults = {"refinement": _REFINEMENT} | (_IN_FLAT_SPACE if space.kind == "euclidean" else {})
    of_file = () if pde.mesh is None else ("refinement", "half_width")
    missing = {
        key: value
        for key, value in defaults.items()
        if key not in of_file and getattr(pde, key) is None
    }
    return pde.model_copy(update=missing)


class ParticlesTable(Table):
    """``[particles]``: the tokens themselves."""

    number: int = Field(default=20000, ge=1, le=10**9)
    """n, the number of tokens; that of the given tokens where ``initial.kind = "tokens"``."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random number of the run."""
    sampling: Annotated[
        Literal["iid"], Field(json_schema_extra={"planned": ["stratified", "quantile"]})
    ] = "iid"
    """``"iid"``: independent draws from the initial measure."""


_MOST = {"step": 1e9, "sample_every": 1e6}  # steps and samples of one run


class TimeTable(Table):
    """``[time]``: how far to go and how often to look. Times are dimensionless."""

    end: Positive
    """The final time; runs start at t = 0."""
    step: Literal["auto"] | Positive = "auto"
    """The step of the solvers, or ``"auto"`` to let each choose its own."""
    sample_every: Positive = Field(default=0.1, validate_default=True)
    """Time between rows of diagnostics and fields; t = 0 and the end are always sampled."""

    @field_validator("step", "sample_every", mode="after")
    @classmethod
    def _comes_to_an_end(cls, value: float | str, info: ValidationInfo) -> float | str:
        end, most = info.data.get("end"), _MOST[info.field_name or ""]
        if end is not None and isinstance(value, float) and not end / value <= most:
            need = f"must be at least time.end / {most:g} = {end / most:g}"
            raise refusal(("", f"{value!r} is not allowed; {need}"))
        return value


class CompareTable(Table):
    """``[compare]``: distances between the density and the tokens, where both are evolved."""

    metrics: (
        Annotated[
            tuple[Literal["harmonic", "w1"], ...], Field(min_length=1), AfterValidator(_distinct)
        ]
        | None
    ) = Field(default=None, strict=False)
    """``"harmonic"``: negative-Sobolev distance, on S^2; ``"w1"``: Wasserstein-1 distance. All
    that the space has where none is given."""


def with_default_metrics(compare: CompareTable, space: SpaceTable) -> CompareTable:
    """``compare`` with all metrics of the space, or as it is if it names any."""
    if compare.metrics is not None:
        return compare
    metrics = ("harmonic", "w1") if _has_harmonic(space) else ("w1",)
    return compare.model_copy(update={"metrics": metrics})


def compare_problems(compare: CompareTable, space: SpaceTable) -> list[tuple[str, str]]:
    """Pairs (key below ``compare``, message) of what does not fit the space."""
    if "harmonic" in (compare.metrics or ()) and not _has_harmonic(space):
        return [("metrics", "'harmonic' is for the sphere S^2; must be ['w1'] in this space")]
    return []


def _has_harmonic(space: SpaceTable) -> bool:
    return (space.kind, space.dimension) == ("sphere", 3)


class OutputTable(Table):
    """``[output]``: what is written, and where."""

    directory: Text = "runs/case"
    """Folder of the run, relative to the working directory; ``runs/<stem>`` for a file."""
    fields: Annotated[
        tuple[
            Annotated[
                Literal["vtu", "vtx", "none"], Field(json_schema_extra={"planned": ["vtkhdf"]})
            ],
            ...,
        ],
        AfterValidator(_distinct),
        AfterValidator(_none_alone),
    ] = Field(default=("vtu",), min_length=1, strict=False)
    """Formats of the fields: ``"vtu"``, which every ParaView opens, ``"vtx"``; or ``"none"``."""
    checkpoint_every: NonNegative | None = None
    """Time between checkpoints, each written at the next sample, besides those at the end, on a
    signal, and two minutes (of the clock) after the last; 0: only at the end and on a signal."""
