"""What a law is: how the logits of one head become the weights of an average, or of a sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import Field as DataclassField
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.backend import Backend
from meanformer.attention.backends.kernels import Kernel
from meanformer.attention.backends.plan import Choice
from meanformer.attention.backends.problem import Problem
from meanformer.attention.heads import Head
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.matrices import multiple_of_identity, spectral_norm, times

#: What gives a normal distribution of mean m and covariance S the velocity b + B x: b and B.
Affine = tuple[Array, Array]


class PointFactors:
    """Logarithms of the factors that a law gives to the points; these do not depend on weights.

    Attributes:
        potential: Sinkhorn's g at this rank's points, ``shape=(n,)``; None for other laws.
        iterations: Sinkhorn's iterations in the last call.
    """

    potential: Array | None = None
    iterations = 0

    def __init__(self, logarithms: Array | None) -> None:
        self._logarithms = logarithms

    def __call__(self, weights: Array) -> Array | None:
        """The logarithms for these weights, ``shape=(n,)``; None for zeros. Collective."""
        return self._logarithms


@dataclass(frozen=True)
class Law(ABC):
    """A law with its parameters: one module each, whose first line of docstring is its formula.

    A is beta K^T Q, and Z(x) the integral of e^{<Ax,y>}. Matrices Q, K, V are of ``shape=(r, d)``,
    (r, d) and (d, d), or a multiple of the identity as a number, ``shape=()``. Targets x and points
    y are this rank's, ``shape=(m, d)`` and ``(n, d)``. A law says what it is; nothing but
    ``point_factors``, ``energy`` and ``pull`` is collective.

    Args:
        beta: Inverse temperature, finite, dimensionless. Parameters that only one law has are
            further fields of it; the least value allowed is in their ``metadata``.

    Attributes:
        normalised: Whether the velocity is V times an average of the points.
        energetic: Whether there is an interaction energy.
        has_log_partition: Whether Z is the integral of a positive kernel, smooth in x.
        of_tokens: Whether it is for tokens alone: of a density its velocity is not smooth.
        has_causal_form: Whether a target may see some of the points alone.
        moves_by_matrices: Whether ``affine`` holds for every measure of the same moments.
        share_of_tolerance: What the kernel's sums may take of the tolerance.
        weighs_points: Whether factors of points depend on the measure.
    """

    beta: float

    normalised: ClassVar[bool] = True
    energetic: ClassVar[bool] = False
    has_log_partition: ClassVar[bool] = False
    of_tokens: ClassVar[bool] = False
    has_causal_form: ClassVar[bool] = True
    moves_by_matrices: ClassVar[bool] = False
    share_of_tolerance: ClassVar[float] = 1.0
    weighs_points: ClassVar[bool] = False

    @classmethod
    def summary(cls) -> str:
        """The formula of the velocity, with its source."""
        return str(cls.__doc__).splitlines()[0].rstrip(".")

    @classmethod
    def parameters(cls) -> Iterator[DataclassField[float]]:
        """The parameters that the law has besides beta."""
        return (field for field in fields(cls) if field.name != "beta")

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """What is summed."""

    @property
    def scale(self) -> float:
        """The number by which logits <Qx, Ky> are multiplied before the kernel sees them."""
        return self.beta

    def log_factors(self, points: Array, key: Array) -> Array | None:
        """Logarithms of the points' factors, ``shape=(n,)``; None for zeros.

        For an exponential kernel only.
        """
        return None

    def log_shift(self, targets: Array, query: Array) -> Array:
        """The logarithm of a factor of each target, ``shape=(m,)``."""
        return np.zeros(len(targets))

    def point_factors(self, problem: Problem, sums: Backend, choice: Choice) -> PointFactors:
        """The factors of the points for any weights. Collective.

        Args:
            problem: What the head asks for.
            sums: Its backend.
            choice: Of further backends.

        Raises:
            ValueError: On every rank, if a further backend cannot serve.
        """
        return PointFactors(problem.log_factors)

    @abstractmethod
    def rate(self, head: Head, spread: Array) -> Array | float:
        """A bound of the velocity's derivative on the unit sphere, over |V| and ``size``.

        It is per unit of time, and not negative. In R^d, it is an estimate. The spread is the
        largest variance of each of several measures, ``shape=(systems,)``; 1 on the unit sphere.
        """

    def size(self, mass: float, partition: Array, log_scale: Array) -> Array | float:
        """How large the weights of all points can be together; 1 for a normalised law.

        Of each system, ``shape=(systems,)``, or of all of them.

        Args:
            mass: Sum of the absolute weights of the measure, by which they are at most so large
                for a kernel that is at most 1.
            partition: Z e^{-log_scale} at the targets, ``shape=(systems, m)``.
            log_scale: ``shape=(systems, m)``.
        """
        return 1.0 if self.normalised else mass

    def energy(self, own: OwnSums) -> Array:
        """The interaction energy of one head, for an energetic law, ``shape=()``. Collective.

        It is the same on every rank; infinite beyond double precision. Of several systems it is
        that of each here, ``shape=(systems,)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no energy")

    def pull(self, own: OwnSums) -> Array:
        """Twice the gradient of k's energy in its argument x alone, at this rank's points.

        It is of an energetic law, ``shape=(n, d)``, and not yet tangent to the space. Where Q and K
        in each other's place make another kernel, the mean with that one's is the energy's
        gradient. Collective.
        """
        raise NotImplementedError(f"{type(self).__name__} has no energy")

    def is_symmetric(self, head: Head) -> bool:
        """Whether Q and K in each other's place make the same kernel."""
        product = np.asarray(head.product)
        return product.ndim == 0 or np.array_equal(product, product.T)

    def is_isotropic(self, head: Head) -> bool:
        """Whether rotations of points and targets leave the kernel alone."""
        return multiple_of_identity(head.product) is not None

    def is_mean(self) -> bool:
        """Whether the velocity is V int y mu(dy), the mean, whatever the target."""
        return False

    def affine(self, head: Head, mean: Array, covariance: Array) -> Affine | None:
        """The b and B of the velocity b + B x over a normal distribution; None if it has none.

        Its mean m has the ``shape=(d,)``, its covariance S ``(d, d)``.
        """
        return None

    def log_partition(
        self, head: Head, mean: Array, covariance: Array, targets: Array
    ) -> Array | None:
        """The logarithm of int k(x, y) mu(dy) over a normal distribution, ``shape=(m,)``.

        It is up to a function of x, of a law whose velocity is V int y k mu / int k mu with a k
        that does not depend on mu. None where no formula is known.
        """
        return None

    def _logits(self, head: Head, spread: Array) -> Array:
        """|A| times the spread."""
        return abs(self.beta) * spectral_norm(head.product) * spread


def form(matrix: Array, vectors: Array) -> Array:
    """<M y, y> of one vector or several, ``shape=(..., d)`` to ``shape=(...)``."""
    values: Array = (vectors * times(vectors, matrix.T)).sum(axis=-1)
    return values


def squares(points: Array, matrix: Array) -> Array:
    """|M y|^2, ``shape=(n,)``."""
    moved = times(points, matrix.T)
    lengths: Array = np.einsum("ij,ij->i", moved, moved)
    return lengths
