"""The ``[drift]`` table: a velocity beside that of attention, which does not see the measure."""

from typing import Annotated, Self

from pydantic import AfterValidator, ValidationInfo, model_validator

from meanformer.attention import Perceptron
from meanformer.attention.drift.perceptron import ARRAYS, ActivationName
from meanformer.simulation.case.array_files import ARCHIVES, ArrayFileError, read_array
from meanformer.simulation.case.attention import Matrix
from meanformer.simulation.case.errors import refusal
from meanformer.simulation.case.space import space_in
from meanformer.simulation.case.types import Path, Table

_DEFAULT = "relu"


def read_perceptron(path: str, activation: ActivationName = _DEFAULT) -> Perceptron:
    """The perceptron in an archive.

    Raises:
        ValueError: If it holds none; the message says why.
    """
    if not path.lower().endswith(ARCHIVES):
        raise ArrayFileError(f"{path} is not {' or '.join(ARCHIVES)}")
    inner, offset, outer = (read_array(f"{path}:{name}") for name in ARRAYS.values())
    return Perceptron(inner, offset, outer, activation)


def _fits_the_space(path: str, info: ValidationInfo) -> str:
    space = space_in(info)
    try:
        problem = space and read_perceptron(path).problem_in(space.dimension)
    except ValueError as error:
        problem = str(error)
    if problem:
        d = space.dimension if space else "d"
        need = (
            f"must be an archive of {', '.join(ARRAYS.values())} of shapes (h, {d}), (h,), ({d}, h)"
        )
        raise refusal(f"{problem}; {need}")
    return path


class DriftTable(Table):
    """``[drift]``: a velocity beside attention's that does not see the measure."""

    linear: Matrix | None = None
    r"""M, of shape (d, d): tokens drift with $Mx$, on spheres with its tangential part $P_xMx$."""
    perceptron: Annotated[Path, AfterValidator(_fits_the_space)] | None = None
    r"""In place of ``linear``: a file ``.npz`` or ``.safetensors``, relative to the case, with
    arrays U, b and W of shapes (h, d), (h,) and (d, h): tokens drift with $W\sigma(Ux+b)$."""
    activation: ActivationName | None = None
    r"""σ of the perceptron, in each component: ``"relu"`` where none is given, ``"gelu"``,
    $u\,\Phi(u)$ with the normal distribution function Φ, or ``"tanh"``."""

    @model_validator(mode="after")
    def _one_kind(self, info: ValidationInfo) -> Self:
        space = space_in(info)
        if space is not None and space.rescaled:
            need = "space.rescaled must be false, or leave [drift] out"
            raise refusal(f"not allowed with space.rescaled = true; {need}")
        if (self.linear is None) == (self.perceptron is None):
            given = "missing" if self.linear is None else "given beside 'perceptron'"
            need = "must be exactly one of 'linear' and 'perceptron'"
            raise refusal(f"{given}; {need}", "linear")
        if self.perceptron is not None:
            return self.with_defaults({"activation": _DEFAULT})
        if self.activation is not None:
            need = "must be left out, or be that of a 'perceptron'"
            raise refusal(f"not allowed beside 'linear'; {need}", "activation")
        return self
