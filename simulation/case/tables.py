"""The tables of a case file but ``[space]``, ``[attention]`` and ``[initial]``, one model each."""

import os
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from meanformer.coupling import METRICS, metrics_on
from meanformer.particles.layers import Normalisation
from meanformer.particles.tokens import Integrator
from meanformer.simulation.case.errors import refusal, refuse
from meanformer.simulation.case.space import SpaceTable, space_in, space_of
from meanformer.simulation.case.types import NonNegative, Path, Positive, Table, Text


class MeshFamily(NamedTuple):
    """The meshes of one space, by ``pde.refinement``."""

    cells: int
    """Cells of the mesh of refinement 0; each further one halves the cells in each direction."""
    most_refined: int
    """The largest refinement."""


MESHES = {
    ("sphere", 2): MeshFamily(10, 12),
    ("sphere", 3): MeshFamily(20, 8),
    ("euclidean", 1): MeshFamily(1, 12),
    ("euclidean", 2): MeshFamily(2, 10),
    ("euclidean", 3): MeshFamily(6, 6),
}
"""The spaces that have meshes, by their kind and dimension d."""

_DEFAULTS = {"refinement": 4, "half_width": 5.0, "boundary": "outflow", "largest_outflow": 1e-3}

Share = Annotated[float, Field(gt=0, le=1)]
"""A share of the mass."""


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise refusal(f"{value!r} is given twice; must be a list without repetition")
    return values


def _none_alone(values: tuple[str, ...]) -> tuple[str, ...]:
    if "none" in values and len(values) > 1:
        others = ", ".join(repr(value) for value in values if value != "none")
        raise refusal(f"'none' stands beside {others}; must be ['none'] or formats")
    return values


def _is_there(path: str) -> str:
    if not os.path.isfile(path):
        raise refusal(f"cannot read {path}; must be a gmsh file (.msh)")
    return path


class NoiseTable(Table):
    """``[noise]``: Brownian motion of the tokens, diffusion of the density."""

    temperature: float = Field(default=0.0, ge=0, le=1e9)
    r"""κ of $dX=v\,dt+\sqrt{2\kappa}\,dW$; not with rescaled variables."""


class PdeTable(Table):
    """``[pde]``: the solver of the density."""

    scheme: Literal["dg"] = "dg"
    """Discontinuous Galerkin transport."""
    degree: int = Field(default=2, ge=0, le=3)
    """Polynomial degree of the density in a cell; at least 1 with noise."""
    refinement: int | None = Field(default=None, ge=0, le=12)
    """r of the mesh, [at most that of the space](#meshes)."""
    half_width: float | None = Field(default=None, ge=1e-9, le=1e9)
    """In $R^d$: h of the box $[-h,h]^d$."""
    mesh: Annotated[Path, AfterValidator(_is_there)] | None = None
    """In $R^d$, in place of the box: a gmsh file (.msh), relative to the case:
    see [below](#mesh-files)."""
    boundary: Literal["outflow", "no-flux"] | None = None
    """In $R^d$: mass leaves where v points outwards, or ``"no-flux"``: none does. Diffusion passes
    no boundary."""
    largest_outflow: Share | None = None
    """In $R^d$: the run stops (exit code 3) when more of the mass has left."""
    largest_unresolved: Share | None = None
    """The run stops when more of the mass is in cells that do not resolve it (column
    ``resolution``); without it, a warning at 10 %, and one at the end with the
    [mesh that should do](output.md#is-the-mesh-fine-enough)."""

    @model_validator(mode="after")
    def _fits_the_space(self, info: ValidationInfo) -> Self:
        space = space_in(info)
        if space is None:
            return self
        if space.rescaled:
            need = "must be false, or leave [pde] out"
            raise refusal(f"not allowed with space.rescaled = true, which {need}")
        if (space.kind, space.dimension) not in MESHES:
            need = "must be at most 3, or leave [pde] out"
            raise refusal(f"not allowed with space.dimension = {space.dimension}, which {need}")
        problems = []
        if self.refinement is not None and self.refinement > most_refined(space):
            need = f"must be at most {most_refined(space)} in this space"
            problems.append(("refinement", f"{self.refinement} is not allowed; {need}"))
        excess: tuple[str, ...] = ()
        why = ""
        if space.kind == "sphere":
            excess = ("half_width", "boundary", "largest_outflow", "mesh")
            why = "is not allowed on a sphere; must be left out unless space.kind = 'euclidean'"
        elif self.mesh is not None:
            excess = ("half_width", "refinement")
            why = "is not allowed; must be left out beside 'mesh', which says it"
        refuse(problems + [(key, why) for key in self.given(excess)])
        return self.with_defaults({k: v for k, v in _DEFAULTS.items() if k not in excess})


def most_refined(space: SpaceTable) -> int:
    """The largest ``pde.refinement`` in a space that has meshes."""
    return MESHES[space.kind, space.dimension].most_refined


class ParticlesTable(Table):
    """``[particles]``: the tokens themselves."""

    number: int = Field(default=20000, ge=1, le=10**9)
    """How many; that of the given tokens where ``initial.kind = "tokens"``."""
    systems: int = Field(default=1, ge=1, le=10**9)
    """How many systems of so many tokens, which do not see each other: see [below](#systems)."""
    seed: int = Field(default=0, ge=0)
    """Of every random number: those of token i, counted through all systems, depend on the seed and
    i alone, those of noise also on the number of the step."""
    sampling: Literal["iid"] = "iid"
    """Independent draws from the initial measure."""
    integrator: Integrator | None = None
    """``"adaptive"``, steps by their estimated errors (Dormand-Prince 5(4)), whose lengths do not
    depend on samples; or ``"rk4"``: the classical Runge-Kutta method, in steps by a bound of the
    velocity's derivative, which is the default of the hardmax law, whose velocity jumps; or
    ``"layers"``: those of a transformer, see [below](#discrete-layers). Left out with noise, where
    steps by the bound are those of Heun's method, of second order in law."""
    normalisation: Normalisation | None = None
    """Of ``"layers"`` on spheres, ``"post"`` where none is given: see [below](#discrete-layers)."""
    tolerance: float = Field(default=1e-6, ge=1e-13, le=1e-2)
    """Of ``"adaptive"``: the error of one step, over the spread of the tokens (1 on the sphere)."""

    @model_validator(mode="after")
    def _layers_fit_the_space(self, info: ValidationInfo) -> Self:
        space = space_in(info)
        if self.integrator != "layers":
            need = "must be left out unless integrator = 'layers'"
            refuse([(key, f"is not allowed; {need}") for key in self.given(["normalisation"])])
            return self
        if space is None:
            return self
        if space.rescaled:
            need = "must be another, or left out"
            raise refusal(
                f"'layers' is not allowed with space.rescaled = true; {need}", "integrator"
            )
        if space.kind == "sphere":
            return self.with_defaults({"normalisation": "post"})
        need = "must be left out unless space.kind = 'sphere'"
        refuse([(key, f"is not allowed; {need}") for key in self.given(["normalisation"])])
        return self


_MOST = {"step": 1e9, "sample_every": 1e6}  # steps and samples of one run


class TimeTable(Table):
    """``[time]``: how far to go and how often to look."""

    end: Positive
    """The final time; runs start at t = 0."""
    step: Literal["auto"] | Positive = "auto"
    """Of both solvers, or ``"auto"`` to let each choose its own. A number is the longest step,
    shortened to hit samples evenly, but for adaptive tokens, and of layers the only one; steps that
    are too long for the transport scheme to be stable are taken all the same, unless they make a
    cell mean negative; the first that is more than twice as long as the automatic one is told."""
    sample_every: Positive = Field(default=0.1, validate_default=True)
    """Time between samples: rows of the tables and fields; t = 0 and the end always are some."""

    @field_validator("step", "sample_every", mode="after")
    @classmethod
    def _comes_to_an_end(cls, value: float | str, info: ValidationInfo) -> float | str:
        end, most = info.data.get("end"), _MOST[info.field_name or ""]
        if end is not None and isinstance(value, float) and not end / value <= most:
            need = f"must be at least time.end / {most:g} = {end / most:g}"
            raise refusal(f"{value!r} is not allowed; {need}")
        return value


if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[tuple(METRICS)]


class CompareTable(Table):
    """``[compare]``: distances between the density and the tokens, where both are evolved."""

    metrics: (
        Annotated[tuple[Metric, ...], Field(min_length=1), AfterValidator(_distinct)] | None
    ) = Field(default=None, strict=False, validate_default=True)
    """[Distances between density and tokens](output.md#comparecsv); all that the space has where
    none is given."""

    @field_validator("metrics", mode="after")
    @classmethod
    def _of_the_space(
        cls, metrics: tuple[Metric, ...] | None, info: ValidationInfo
    ) -> tuple[Metric, ...] | None:
        space = space_in(info)
        if space is None:
            return metrics
        there = metrics_on(space_of(space))
        for name in metrics or ():
            if name not in there:
                where, need = METRICS[name].spaces.replace("$", ""), f"must be among {list(there)}"
                raise refusal(f"{name!r} is for {where}; {need} in this space")
        return metrics or there


class OutputTable(Table):
    """``[output]``: what is written, and where."""

    directory: Text = "runs/case"
    """Relative to the working directory; a former run there is renamed, not overwritten."""
    fields: Annotated[
        tuple[Literal["vtu", "vtx", "none"], ...],
        AfterValidator(_distinct),
        AfterValidator(_none_alone),
    ] = Field(default=("vtu",), min_length=1, strict=False)
    """Formats: ``"vtu"``, which every ParaView opens, ``"vtx"``; or ``["none"]``; see
    [output.md](output.md)."""
    checkpoint_every: NonNegative | None = None
    """Time between checkpoints, each written at the next sample. There is always one at the end and
    on a signal and, unless this is 0, one after the first step that ends two minutes (of the clock)
    or more after the last."""
