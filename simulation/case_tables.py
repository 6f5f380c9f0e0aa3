"""The tables of a case file but ``[attention]`` and ``[initial]``, one model each."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from meanformer.simulation.case_errors import refusal
from meanformer.simulation.case_types import NonNegative, Off, Positive, Table, Text

__all__ = [
    "CompareTable",
    "NoiseTable",
    "OutputTable",
    "ParticlesTable",
    "PdeTable",
    "SpaceTable",
    "TimeTable",
]


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

    kind: Annotated[Literal["sphere"], Field(json_schema_extra={"planned": ["euclidean"]})] = (
        "sphere"
    )
    """``"sphere"``: the unit sphere S^{d-1}."""
    dimension: int = Field(default=3, ge=3, le=3, json_schema_extra={"restricted": True})
    """d, the ambient dimension."""
    rescaled: Off = False
    """Evolve z = exp(-tV) x in place of x (in R^d)."""


class NoiseTable(Table):
    """``[noise]``: Brownian motion of the tokens, diffusion of the density."""

    temperature: float = Field(default=0.0, ge=0, le=0, json_schema_extra={"restricted": True})
    """kappa of dX = v dt + sqrt(2 kappa) dW (dimensionless)."""


_EUCLIDEAN = "applies to euclidean space, not to the sphere"


class PdeTable(Table):
    """``[pde]``: the solver of the density."""

    model_config = ConfigDict(
        json_schema_extra={"reserved": {"half_width": _EUCLIDEAN, "mesh": _EUCLIDEAN}}
    )

    scheme: Annotated[
        Literal["dg"], Field(json_schema_extra={"planned": ["flow-map", "zonal"]})
    ] = "dg"
    """``"dg"``: discontinuous Galerkin transport."""
    degree: int = Field(default=2, ge=0, le=3)
    """Polynomial degree of the density in a cell."""
    refinement: int = Field(default=4, ge=0, le=8)
    """Level of the icosphere: 20 * 4^refinement cells."""


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

    metrics: Annotated[tuple[Literal["harmonic", "w1"], ...], AfterValidator(_distinct)] = Field(
        default=("harmonic", "w1"), min_length=1, strict=False
    )
    """``"harmonic"``: negative-Sobolev distance; ``"w1"``: Wasserstein-1 distance."""


class OutputTable(Table):
    """``[output]``: what is written, and where."""

    directory: Text = "runs/case"
    """Folder of the run, relative to the working directory; ``runs/<stem>`` for a file."""
    fields: Annotated[
        tuple[
            Annotated[Literal["vtx", "none"], Field(json_schema_extra={"planned": ["vtkhdf"]})], ...
        ],
        AfterValidator(_distinct),
        AfterValidator(_none_alone),
    ] = Field(default=("vtx",), min_length=1, strict=False)
    """Formats of the fields, or ``("none",)``."""
    checkpoint_every: NonNegative = 0.0
    """Time between checkpoints, each written at the next sample; 0: only at the end and on a
    signal, where one is written in any case."""
