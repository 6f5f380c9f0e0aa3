"""Forms with a density as coefficient: compiled, given its values, assembled over all ranks."""

from __future__ import annotations

from typing import Any

from dolfinx import fem, la

from meanformer.arrays import Array


def compiled(form: Any) -> fem.Form:
    """A form compiled for speed on this machine."""
    return fem.form(form, jit_options={"cffi_extra_compile_args": ["-O3", "-march=native", "-w"]})


def set_values(density: fem.Function, values: Array) -> None:
    """Set a density's values on this rank's cells, ``shape=(cells, n)``, and ghosts. Collective."""
    density.x.array[: values.size] = values.ravel()
    density.x.scatter_forward()


def assemble(form: fem.Form, vector: la.Vector) -> Array:
    """The moments of a form, in place of what the vector holds. Collective.

    Returns:
        The vector's array: this rank's entries, then those of ghosts, which mean nothing.
    """
    vector.array[:] = 0.0
    fem.assemble_vector(vector.array, form)
    vector.scatter_reverse(la.InsertMode.add)
    moments: Array = vector.array
    return moments
