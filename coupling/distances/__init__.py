"""Distances between the density and the tokens, one module each; a new one is entered here."""

from meanformer.attention import Space
from meanformer.coupling.distances.base import Metric
from meanformer.coupling.distances.harmonic import Harmonic
from meanformer.coupling.distances.quantiles import Quantiles
from meanformer.coupling.distances.wasserstein import Wasserstein

#: All distances by name, in the order of their columns.
METRICS: dict[str, type[Metric]] = {
    metric.name: metric for metric in (Harmonic, Wasserstein, Quantiles)
}


def metrics_on(space: Space) -> tuple[str, ...]:
    """Names of the distances that exist on a space."""
    return tuple(name for name, one in METRICS.items() if not one.only_on or space in one.only_on)


__all__ = ["METRICS", "Harmonic", "Metric", "Quantiles", "Wasserstein", "metrics_on"]
