"""Convex combinations of measures on the same space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.measures.measure import Measure, Spread, check_uniforms
from meanformer.attention.spaces import Space


@dataclass(frozen=True)
class Mixture:
    """A convex combination of measures.

    Args:
        components: The measures, all on one space; they may be mixtures.
        weights: Their positive weights; only ratios count.

    Raises:
        ValueError: There are no components, they live on different spaces, or the weights are not
            one positive number for each.
    """

    components: tuple[Measure, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the components and the weights go together."""
        spaces = list(dict.fromkeys(component.space for component in self.components))
        if len(spaces) != 1:
            found = ", ".join(map(str, spaces)) or "none"
            raise ValueError(f"Mixture: components live on {found}; they must share one space")
        if len(self.weights) != len(self.components) or not all(w > 0 for w in self.weights):
            raise ValueError(
                f"Mixture: weights are {self.weights}; they must be {len(self.components)} "
                "positive numbers, one for each component"
            )

    @property
    def space(self) -> Space:
        """That of the components."""
        return self.components[0].space

    def density(self, points: Array) -> Array:
        """The weighted mean of the components' densities."""
        values = np.stack([component.density(points) for component in self.components])
        return self.shares @ values

    def sample(self, uniforms: Array) -> Array:
        """Choose a component by the first uniform number, sample it by the others."""
        check_uniforms(uniforms, self.space)
        edges = np.cumsum(self.weights)[:-1] / sum(self.weights)
        chosen = np.searchsorted(edges, uniforms[:, 0], side="right")
        # A component may be a mixture: its place within the chosen share is uniform again.
        lower = np.concatenate([[0.0], edges])[chosen]
        width = self.shares[chosen]
        inner = uniforms.copy()
        inner[:, 0] = np.clip((uniforms[:, 0] - lower) / width, 0.0, 1 - 2.0**-53)
        points = np.empty((len(uniforms), self.space.dimension))
        for k, component in enumerate(self.components):
            points[chosen == k] = component.sample(inner[chosen == k])
        return points

    def moments(self) -> tuple[Array, Array]:
        """Mean, ``shape=(d,)``, and covariance, ``shape=(d, d)``, where the components have them.

        Raises:
            TypeError: A component is a measure on a sphere.
        """
        parts = [part.moments() for part in self.components if isinstance(part, Spread)]
        if len(parts) != len(self.components):
            raise TypeError("Mixture: not all components have moments in closed form")
        means, covariances = (np.stack(part) for part in zip(*parts, strict=True))
        mean = self.shares @ means
        apart = means - mean
        within = np.tensordot(self.shares, covariances, axes=1)
        return mean, within + (self.shares[:, None] * apart).T @ apart

    @property
    def shares(self) -> Array:
        """The weights over their sum, ``shape=(k,)``."""
        shares: Array = np.asarray(self.weights) / sum(self.weights)
        return shares
