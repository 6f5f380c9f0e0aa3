"""The model of self-attention: laws, matrices, and the velocity they give to a measure."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from meanformer.attention.evaluator import Evaluator, Field
from meanformer.attention.matrices import matrix_of, spectral_norm, times
from meanformer.attention.spaces import Array, Space

Law = Literal["softmax", "unnormalised"]


@dataclass(frozen=True, eq=False)
class Attention:
    r"""Self-attention with logits beta <Q x, K y> and values V y (arXiv 2305.05465, 2312.10794).

    The velocity that a measure mu gives to a token at x is, before projection on the tangent
    space, with A = beta K^T Q and Z(x) = int e^{<Ax,y>} mu(dy),

    * softmax: V int y e^{<Ax,y>} mu(dy) / Z(x),
    * unnormalised: V int y e^{<Ax,y>} mu(dy).

    Args:
        law: "softmax" or "unnormalised".
        beta: Inverse temperature, finite, dimensionless.
        query: Q: None (identity), a number (a multiple of it) or a matrix, ``shape=(d, d)``.
        key: K, likewise.
        value: V, likewise.

    Raises:
        ValueError: If an argument is not finite, or of a wrong kind or shape.
    """

    law: Law = "softmax"
    beta: float = 1.0
    query: npt.ArrayLike | None = None
    key: npt.ArrayLike | None = None
    value: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.law not in get_args(Law):
            raise ValueError(f"law is {self.law!r}; allowed: {', '.join(get_args(Law))}")
        if not (isinstance(self.beta, Real) and np.isfinite(self.beta)):
            raise ValueError(f"beta is {self.beta}; it must be finite")
        for name in ("query", "key", "value"):
            try:
                matrix = matrix_of(getattr(self, name))
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be None, a number or a matrix (d, d)") from None
            if matrix.ndim not in (0, 2) or len(set(matrix.shape)) > 1:
                raise ValueError(f"{name} has shape {matrix.shape}; it must be a number or (d, d)")
            if not np.all(np.isfinite(matrix)):
                raise ValueError(f"{name} must be finite")

    def velocity(
        self,
        targets: Array,
        points: Array,
        weights: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
    ) -> Array:
        """The velocity v[mu](x) of the measure mu = sum_j w_j delta_{y_j}.

        Collective over ``comm``.

        Args:
            targets: This rank's x, ``shape=(m, d)``.
            points: This rank's share of the y, ``shape=(n, d)``.
            weights: This rank's share of the w, ``shape=(n,)``. Slightly negative ones are
                allowed as long as Z > 0.
            space: ``Sphere(d)`` or ``Euclidean(d)``.
            tolerance: Relative error allowed in Z and v, against summation in double precision.
            comm: The ranks over which the measure is distributed, or None.

        Returns:
            Velocities tangent to the space, ``shape=(m, d)``, dimensionless.

        Raises:
            ValueError: On every rank, if on any rank shapes do not fit, a value is not finite, or
                a point is not in the space.
            AttentionDomainError: On every rank, if Z <= 0 at a target of the softmax law, or
                if e^{<Ax,y>} overflows in the unnormalised law.
        """
        return self.prepare(targets, points, space, tolerance, comm)(weights).velocity

    @property
    def logit_matrix(self) -> Array:
        """A = beta K^T Q, ``shape=(d, d)``, or a number (a multiple of the identity)."""
        return self.beta * times(matrix_of(self.key).T, matrix_of(self.query))

    def rate_bound(self, field: Field) -> float:
        """A bound of the velocity's derivative on the unit sphere, for choosing time steps.

        With softmax v = V E[y] has the derivative V Cov[y] A, and projection adds 2 |v|, so that
        |Dv| <= |V| (|A| + 2). The unnormalised law multiplies that by Z.

        Args:
            field: Values at this rank's targets.

        Returns:
            The bound over this rank's targets, per unit of time.
        """
        rate = spectral_norm(matrix_of(self.value)) * (spectral_norm(self.logit_matrix) + 2)
        if self.law == "softmax":
            return rate
        if not len(field.partition):
            return 0.0
        return rate * float((np.abs(field.partition) * np.exp(field.log_scale)).max())

    def prepare(
        self,
        targets: Array,
        points: Array,
        space: Space,
        tolerance: float = 1e-10,
        comm: MPI.Comm | None = None,
    ) -> Evaluator:
        """Choose a backend and prepare it for fixed targets and points.

        Collective over ``comm``. Arguments and errors as for ``velocity``.

        Returns:
            A callable that maps weights, ``shape=(n,)``, to a ``Field``.
        """
        return Evaluator(self, targets, points, space, tolerance, comm)
