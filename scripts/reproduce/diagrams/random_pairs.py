"""Two tokens under random layers meet, or end antipodal (arXiv 2601.21942)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.scripts.reproduce.diagrams.diagram import Diagram
from meanformer.simulation import Case
from meanformer.theory import Deviation
from meanformer.theory.random_layers import antipodal_probability, antipodal_threshold

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

# Layers of finite length, and pairs that have not met at the end, move shares by as much.
_BIAS = 0.02
# Rates at which log(1 + c) changes near c = -1 that are as small are those of slow pairs.
_CLEAR = 0.3


@dataclass(frozen=True, kw_only=True)
class RandomPairs(Diagram):
    """The share of pairs that end antipodal, over beta and d, beside the formula of short layers.

    Attributes:
        betas: Of the runs.
        dimensions: d of the runs.
        systems: How many pairs there are in each run, orthogonal at first.
        layer: eta.
        end: The final time, eta times the number of layers.
    """

    claim = (
        "Random layers, short ones: two tokens end antipodal with positive probability if and only "
        "if cosh(beta)^2 > (d-1)/2 (2601.21942)"
    )

    betas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    dimensions: Sequence[int] = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16)
    systems: int = 400
    layer: float = 0.02
    end: float = 12.0

    @property
    def runs(self) -> Iterator[tuple[int, float]]:
        """The d and beta of each run, in order."""
        return ((d, beta) for d in self.dimensions for beta in self.betas)

    def cases(self, name: str, seed: int) -> Sequence[Case]:
        """One for each d and beta."""
        return [
            Case.from_dict(
                {
                    "title": f"{self.title}: d = {dimension}, beta = {beta:g}",
                    "space": {"dimension": dimension},
                    "attention": {
                        "beta": beta,
                        "random_values": {
                            "seed": seed,
                            "duration": self.layer,
                            "scale": float(np.sqrt(dimension / self.layer)),
                        },
                    },
                    "initial": {"kind": "tokens", "points": np.eye(dimension)[:2]},
                    "particles": {
                        "systems": self.systems,
                        "seed": seed,
                        "integrator": "layers",
                    },
                    "time": {"end": self.end, "step": self.layer, "sample_every": self.end},
                    "output": {"directory": f"figures/{name}", "fields": ["none"]},
                }
            )
            for dimension, beta in self.runs
        ]

    def counts(self, products: Array) -> npt.NDArray[np.bool_]:
        """Those that are nearer to antipodal ones than to one place."""
        return products < 0

    def checks(self, times: Array, shares: Array) -> list[Deviation]:
        """How far shares are from the formula, away from the threshold, where pairs take long."""
        wanted = np.array([antipodal_probability(0.0, beta, d) for d, beta in self.runs])
        rates = np.array([(d - 1) / np.cosh(beta) ** 2 - 2 for d, beta in self.runs])
        clear, found = np.abs(rates) >= _CLEAR, shares[:, -1]
        errors = np.maximum(np.sqrt(wanted * (1 - wanted) / self.systems), 1 / self.systems)
        beyond = ((np.abs(found - wanted) - _BIAS) / errors)[clear].max()
        where_none = found[clear & (wanted == 0)].max(initial=0.0)
        return [
            Deviation("shares beyond 0.02 of the formula, in standard errors", beyond, 3.5),
            Deviation("largest share where the formula has none", where_none, _BIAS),
        ]

    def draw(self, times: Array, shares: Array) -> Sheet:
        """The formula as a heat map, the runs as circles, and the threshold."""
        from matplotlib.colors import PowerNorm
        from matplotlib.figure import Figure as NewSheet

        sheet = NewSheet(figsize=(6.4, 4.4), layout="constrained")
        axes: Any = sheet.add_subplot()
        betas = np.linspace(self.betas[0] - 0.125, self.betas[-1] + 0.125, 61)
        dimensions = range(self.dimensions[0], self.dimensions[-1] + 1)
        formula = [[antipodal_probability(0.0, beta, d) for beta in betas] for d in dimensions]
        # The square root tells small probabilities from 0.
        style = {"cmap": "viridis", "norm": PowerNorm(0.5, 0.0, 0.5)}
        drawn = axes.pcolormesh(betas, list(dimensions), formula, rasterized=True, **style)
        d, beta = np.array(list(self.runs)).T
        axes.scatter(beta, d, c=shares[:, -1], s=70, edgecolors="white", linewidths=0.8, **style)
        curve = [antipodal_threshold(each) for each in betas]
        axes.plot(betas, curve, color="#e54", lw=2)
        axes.set_xlim(betas[0], betas[-1])
        axes.set_ylim(dimensions[0] - 0.5, dimensions[-1] + 0.5)
        axes.set_xlabel(r"$\beta$")
        axes.set_ylabel("d")
        axes.set_title(self.title, fontsize=10)
        sheet.colorbar(drawn, label="probability to end antipodal")
        return sheet
