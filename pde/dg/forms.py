"""Forms with a density as coefficient: compiled, given its values, assembled over all ranks."""

from __future__ import annotations

import math
from typing import Any

from dolfinx import fem, la

from meanformer.arrays import Array


def compiled(form: Any) -> fem.Form:
    """A form compiled for speed on this machine."""
    return fem.form(form, jit_options={"cffi_extra_compile_args": ["-O3", "-march=native", "-w"]})


def set_values(function: fem.Function, values: Array) -> None:
    """Set the values that this rank owns, in their order, and those of ghosts. Collective."""
    function.x.array[: values.size] = values.ravel()
    function.x.scatter_forward()


class Moments:
    """A linear form of a density, as a function of the density's values.

    Args:
        form: The form, with a test function of discontinuous elements.
        density: The coefficient that is the density.
    """

    def __init__(self, form: Any, density: fem.Function) -> None:
        (test,) = form.arguments()
        dofmap = test.ufl_function_space().dofmap
        self._form, self._density = compiled(form), density
        self._vector = la.vector(dofmap.index_map, dofmap.index_map_bs)
        per_cell = dofmap.list.shape[1]
        self._shape = dofmap.index_map.size_local // per_cell, per_cell, *test.ufl_shape
        self._size = math.prod(self._shape)

    def __call__(self, values: Array) -> Array:
        """The form of each test function, of a density's values. Collective.

        Returns:
            ``shape=(cells, m)``, or ``shape=(cells, m, d)`` for test functions with d components.
        """
        set_values(self._density, values)
        self._vector.array[:] = 0.0
        fem.assemble_vector(self._vector.array, self._form)
        self._vector.scatter_reverse(la.InsertMode.add)
        return self._vector.array[: self._size].reshape(self._shape).copy()
