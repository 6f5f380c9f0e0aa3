"""What a drift is: a velocity of each token by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.spaces import Space, Sphere


class Drift(ABC):
    """A velocity w(x) that is added to attention's, and projected with it on spheres.

    Attention is one half of a transformer's layer, a drift stands for the other (arXiv 2601.21366).
    It does not change with time, and holds matrices in full.
    """

    @abstractmethod
    def velocity(self, points: Array) -> Array:
        """The drift w(x) before projection, ``shape=(n, d)`` to ``(n, d)``, dimensionless."""

    @property
    @abstractmethod
    def slope(self) -> float:
        """A bound of the spectral norm of w's derivative at every x, per unit of time."""

    @abstractmethod
    def problem_in(self, dimension: int) -> str | None:
        """What does not fit a space of the ambient dimension d, if anything."""

    def linear(self) -> Array | None:
        """M of w(x) = M x, ``shape=(d, d)``; None if w is not linear."""
        return None

    def rate(self, space: Space) -> float:
        """A bound of the velocity's derivative, per unit of time.

        On the unit sphere it is that of P_x w(x): projection adds |w|, which is at most |w(0)| and
        the bound of w's derivative.
        """
        if not isinstance(space, Sphere):
            return self.slope
        origin = self.velocity(np.zeros((1, space.dimension)))
        return 2 * self.slope + float(np.linalg.norm(origin))
