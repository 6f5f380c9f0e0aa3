"""The case file: everything that defines a run, read from TOML and checked once, at the door."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from meanformer.attention.laws import LAWS
from meanformer.integrators.steps import is_multiple
from meanformer.simulation.case.attention import MOST_LAYERS, AttentionTable
from meanformer.simulation.case.drift import DriftTable
from meanformer.simulation.case.errors import CaseError, explain, refusal, refuse
from meanformer.simulation.case.initial import Initial
from meanformer.simulation.case.reading import apply_overrides, plain, read_toml
from meanformer.simulation.case.schema import schema_of
from meanformer.simulation.case.space import SpaceTable
from meanformer.simulation.case.tables import (
    CompareTable,
    NoiseTable,
    OutputTable,
    ParticlesTable,
    PdeTable,
    TimeTable,
)
from meanformer.simulation.case.tokens import PromptTable, Tokens
from meanformer.simulation.case.types import Table


class Case(Table):
    """A run: the model, the initial measure, the solvers, and what is written.

    Made by `Case.load` or `Case.from_dict`, which tell every problem at once. Immutable and
    hashable; lists of the file are tuples here, and every default is filled in.
    """

    title: str = ""
    """A line for people; the stem of the file's name where none is given."""
    space: SpaceTable = Field(default_factory=SpaceTable)
    attention: AttentionTable
    drift: DriftTable | None = None
    """A velocity beside attention's that does not see the measure; not in rescaled variables."""
    noise: NoiseTable = Field(default_factory=NoiseTable)
    initial: Initial
    """The measure at t = 0, normalised to mass 1."""
    prompt: PromptTable | None = None
    """Tokens that act and do not move, each of the weight 1/n of one that does; they come before
    all others in the order. For runs of tokens alone, not in rescaled variables."""
    pde: PdeTable | None = None
    """The solver of the density: leave the table out for a run without it."""
    particles: ParticlesTable | None = Field(default=None, validate_default=True)
    """The tokens themselves: leave the table out for a run without them."""
    time: TimeTable
    compare: CompareTable | None = Field(default=None, validate_default=True)
    """Distances between the density and the tokens: made of the defaults where both are evolved."""
    output: OutputTable = Field(default_factory=OutputTable)

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """Read and check a case file.

        Args:
            path: A TOML file. Files named in it are relative to its folder.
            overrides: Strings ``table.key=value`` applied before the check; the value is read as
                TOML, and as a bare string where it is not TOML.

        Raises:
            CaseError: The file cannot be read, or anything in it or in an override is wrong.
        """
        path = Path(path)
        data = read_toml(path)
        apply_overrides(data, overrides)
        data.setdefault("title", path.stem)
        output = data.setdefault("output", {})
        if isinstance(output, dict):
            output.setdefault("directory", f"runs/{path.stem}")
        return cls._check(data, path.parent, str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: str | Path = ".") -> Self:
        """Check a case given as nested mappings, as a TOML parser returns them.

        Args:
            data: The tables. NumPy arrays and numbers are taken for lists and numbers.
            folder: What files named in the case are relative to.

        Raises:
            CaseError: Anything in it is wrong.
        """
        if not isinstance(data, Mapping):
            raise CaseError([f"a case must be a mapping of tables, not {type(data).__name__}"])
        return cls._check(plain(data), Path(folder), "case")

    @property
    def in_layers(self) -> bool:
        """Whether there are tokens, and they go from layer to layer, each ``time.step`` long."""
        return self.particles is not None and self.particles.integrator == "layers"

    def to_toml(self) -> str:
        """The case as TOML with every default; it loads again to an equal case."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @classmethod
    def _check(cls, data: dict[str, Any], folder: Path, source: str) -> Self:
        context = {"folder": folder, "space": _space_in(data)}
        try:
            return cls.model_validate(data, context=context)
        except ValidationError as error:
            raise CaseError(explain(error, data, schema_of(cls)), source) from None

    # What involves several tables. A table that failed by itself is not in info.data.

    @field_validator("noise", mode="after")
    @classmethod
    def _noise_is_of_x(cls, noise: NoiseTable, info: ValidationInfo) -> NoiseTable:
        space = info.data.get("space")
        if noise.temperature > 0 and space is not None and space.rescaled:
            need = "must be 0 with space.rescaled = true"
            raise refusal(f"{noise.temperature!r} is not allowed; {need}", "temperature")
        return noise

    @field_validator("prompt", mode="after")
    @classmethod
    def _prompt_is_of_x(
        cls, prompt: PromptTable | None, info: ValidationInfo
    ) -> PromptTable | None:
        space = info.data.get("space")
        if prompt is not None and space is not None and space.rescaled:
            raise refusal("not allowed with space.rescaled = true; must be left out, or that false")
        return prompt

    @field_validator("pde", mode="after")
    @classmethod
    def _density_exists(cls, pde: PdeTable | None, info: ValidationInfo) -> PdeTable | None:
        if pde is None:
            return None
        noise, attention = info.data.get("noise"), info.data.get("attention")
        if noise is not None and noise.temperature > 0 and pde.degree == 0:
            need = "must be 1 to 3 with noise.temperature > 0"
            raise refusal(f"0 is not allowed; {need}", "degree")
        if isinstance(info.data.get("initial"), Tokens):
            raise refusal(
                "not allowed with initial.kind = 'tokens', a sum of point masses, which has no "
                "density; initial.kind must be one with a density, or leave [pde] out"
            )
        if attention is not None and LAWS[attention.law].of_tokens:
            raise refusal(
                f"not allowed with attention.law = {attention.law!r}, a law of tokens: a density "
                "is positive everywhere; attention.law must be another, or leave [pde] out"
            )
        if attention is not None and attention.causal:
            raise refusal(
                "not allowed with attention.causal = true: a density has no order; must be left "
                "out, or attention.causal be false: if the start knows no order either, both give "
                "one density under a normalised law"
            )
        if info.data.get("prompt") is not None:
            raise refusal("not allowed with [prompt]; must be left out, or [prompt] be")
        return pde

    @field_validator("particles", mode="after")
    @classmethod
    def _particles_fit(
        cls, particles: ParticlesTable | None, info: ValidationInfo
    ) -> ParticlesTable | None:
        if particles is None:
            if "pde" in info.data and info.data["pde"] is None:
                raise refusal("missing; must have at least one of the tables [pde], [particles]")
            return None
        noise, initial = info.data.get("noise"), info.data.get("initial")
        attention = info.data.get("attention")
        if particles.systems > 1:
            cls._check_systems(particles.systems, info)
        if noise is not None and noise.temperature > 0:
            if particles.integrator is not None:
                raise refusal(
                    f"{particles.integrator!r} knows no noise; must be left out with "
                    "noise.temperature > 0",
                    "integrator",
                )
        elif attention is not None:
            jumps = LAWS[attention.law].of_tokens
            particles = particles.with_defaults({"integrator": "rk4" if jumps else "adaptive"})
        if not isinstance(initial, Tokens) or particles.number == initial.number:
            return particles
        if "number" in particles.model_fields_set:
            need = f"must be {initial.number}, the number of tokens given, or left out"
            raise refusal(f"{particles.number} is not allowed; {need}", "number")
        return particles.model_copy(update={"number": initial.number})

    @staticmethod
    def _check_systems(systems: int, info: ValidationInfo) -> None:
        """Refuse several systems beside a density, or where they would have z of their own."""
        space, attention = info.data.get("space"), info.data.get("attention")
        if info.data.get("pde") is not None:
            need = "must be 1 with [pde], or leave [pde] out"
        elif (
            space is not None
            and space.rescaled
            and attention is not None
            and attention.random_values is not None
        ):
            need = "must be 1 with space.rescaled = true and attention.random_values"
        else:
            return
        raise refusal(f"{systems} is not allowed; {need}", "systems")

    @field_validator("time", mode="after")
    @classmethod
    def _layers_come_to_an_end(cls, time: TimeTable, info: ValidationInfo) -> TimeTable:
        attention = info.data.get("attention")
        if attention is None or attention.random_values is None:
            return time
        latest = MOST_LAYERS * attention.random_values.duration
        if time.end > latest:
            need = f"must be at most {MOST_LAYERS} layers of attention.random_values.duration"
            raise refusal(f"{time.end!r} is not allowed; {need}, {latest:g}", "end")
        return time

    @field_validator("compare", mode="after")
    @classmethod
    def _both_solvers(
        cls, compare: CompareTable | None, info: ValidationInfo
    ) -> CompareTable | None:
        if "pde" not in info.data or "particles" not in info.data:
            return compare
        both = info.data["pde"] is not None and info.data["particles"] is not None
        if compare is not None and not both:
            raise refusal("not allowed with one solver; must have both [pde] and [particles]")
        if both and compare is None:
            return CompareTable.model_validate({}, context=info.context)
        return compare

    @model_validator(mode="after")
    def _layers_are_whole(self) -> Self:
        """Layers of tokens are steps of exactly ``time.step``: nothing begins or ends in one."""
        if self.particles is None or not self.in_layers:
            return self
        if self.pde is not None and self.particles.normalisation not in (None, "post"):
            raise refusal(
                f"{self.particles.normalisation!r} is not allowed beside [pde], whose density "
                "moves as layers do that are many and short with 'post'; must be 'post'",
                "particles.normalisation",
            )
        step = self.time.step
        if step == "auto":
            raise refusal(
                "'auto' is not allowed with particles.integrator = 'layers'; must be a number, the "
                "length of a layer",
                "time.step",
            )
        lengths = {"time.end": self.time.end, "time.sample_every": self.time.sample_every}
        for number, one in enumerate(self.attention.layers or ()):
            lengths[f"attention.layers[{number}].duration"] = one.duration
        if self.attention.random_values is not None:
            lengths["attention.random_values.duration"] = self.attention.random_values.duration
        need = f"must be a multiple of time.step = {step!r}, the length of a layer of tokens"
        refuse(
            [
                (key, f"{length!r} is not allowed; {need}")
                for key, length in lengths.items()
                if not is_multiple(length, step)
            ]
        )
        return self


def _space_in(data: Mapping[str, Any]) -> SpaceTable | None:
    """The space, which says what fits in the other tables; None if it is wrong."""
    try:
        return SpaceTable.model_validate(data.get("space", {}))
    except ValidationError:  # told with all that is wrong
        return None
