"""The density at t = 0: a formula in Python or in UFL, and its values at the quadrature points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import ufl
from dolfinx import fem, mesh
from ufl.algorithms.analysis import extract_arguments, extract_coefficients, extract_constants
from ufl.algorithms.remove_complex_nodes import remove_complex_nodes
from ufl.corealg.traversal import unique_pre_traversal
from ufl.domain import extract_domains
from ufl.restriction import Restricted

from meanformer.arrays import Array
from meanformer.pde.quadrature import CellQuadrature

#: A map from points, ``shape=(n, d)``, to values, ``shape=(n,)``; or a scalar UFL expression on the
#: mesh, which a ``fem.Function`` is, too.
InitialDensity: TypeAlias = Callable[[Array], Array] | ufl.core.expr.Expr


def initial_values(
    initial: InitialDensity, domain: mesh.Mesh, rule: CellQuadrature, points: Array
) -> Array:
    """A density at the points of a quadrature rule, dimensionless. Collective.

    Args:
        initial: The density. A callable is given ``points``. An expression is evaluated in the
            cells: on a sphere its ``ufl.SpatialCoordinate`` x is that of the curved mesh, off the
            sphere by the error of the geometry, and x / sqrt(x.x) is the point on the sphere. Of
            a ``fem.Function`` the ghosts must be up to date.
        domain: The mesh.
        rule: The quadrature rule on its cells.
        points: The points of the rule, on a sphere brought there, ``shape=(cells q, d)``.

    Returns:
        ``shape=(cells q,)``, cell by cell.

    Raises:
        ValueError: On every rank, naming ``initial``, if it is no real scalar on this mesh.
    """
    if isinstance(initial, ufl.core.expr.Expr):  # which has a __call__, too
        return _of_expression(initial, domain, rule)
    if not callable(initial) or isinstance(initial, ufl.BaseForm):  # forms have a __call__, too
        raise ValueError(
            f"initial is a {type(initial).__name__}; it must be a callable from points to values, "
            "or a UFL expression"
        )
    values, fault = _of_callable(initial, points.copy())  # which it may change
    faults = domain.comm.allgather(fault)
    if any(faults):
        raise ValueError(f"initial {next(filter(None, faults))}")
    return values


def _of_callable(initial: Callable[[Array], Array], points: Array) -> tuple[Array, str]:
    """The values of a callable, and what is wrong with them, or an empty string."""
    count = len(points)
    try:
        values = np.asarray(initial(points))
        if np.iscomplexobj(values):
            return np.zeros(count), "returns complex values; they must be real"
        values = values.astype(float, copy=False)
    except Exception as error:  # of this rank alone, perhaps: the others must hear of it
        return np.zeros(count), f"raises {error!r}"
    if values.shape != (count,):
        return values, f"returns shape {values.shape} for {count} points; it must be {(count,)}"
    return values, ""


def _of_expression(expression: Any, domain: mesh.Mesh, rule: CellQuadrature) -> Array:
    """A UFL expression at the points of a rule, ``shape=(cells q,)``. Collective."""
    if fault := _fault_of_expression(expression, domain):
        raise ValueError(f"initial {fault}")
    # Constants, such as the gradient of a coordinate, have no mesh of their own.
    expression = fem.Constant(domain, 1.0) * expression
    try:
        compiled = fem.Expression(expression, rule.reference, domain.comm, dtype=np.float64)
    except Exception as error:  # whatever compilers raise, on every rank
        raise ValueError(f"initial cannot be evaluated in cells: {error!r}") from error
    cells = np.arange(len(rule.weights), dtype=np.int32)
    values: Array = compiled.eval(domain, cells)
    return values.ravel()


def _fault_of_expression(expression: Any, domain: mesh.Mesh) -> str:
    """What makes an expression no real scalar on a mesh, or an empty string."""
    if expression.ufl_shape:
        return f"has shape {expression.ufl_shape}; it must be a scalar"
    if expression.ufl_free_indices:
        return "has free indices; it must be a scalar"
    if any(each != domain.ufl_domain() for each in extract_domains(expression)):
        return "lives on another mesh; it must be an expression on the mesh of the density"
    if any(isinstance(part, Restricted) for part in unique_pre_traversal(expression)):
        return "has a restriction or an average at facets; it must have values in cells"
    if extract_arguments(expression):
        return "has a trial or test function; it must be an expression with values"
    for part in (*extract_coefficients(expression), *extract_constants(expression)):
        kind = getattr(part, "dtype", None)
        if kind is None:
            return "has a coefficient without values; it must be a fem.Function or fem.Constant"
        if kind != np.float64:
            return f"has a coefficient of {np.dtype(kind)}; it must be real, of float64"
    try:
        remove_complex_nodes(expression)
    except ValueError:
        return "is complex; it must be real"
    return ""
