"""Tokens in many dimensions meet at one time, as if all were equally far from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad

from meanformer.arrays import Array
from meanformer.scripts.reproduce.diagrams.diagram import Diagram
from meanformer.simulation import Case
from meanformer.theory import Deviation

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

# Pairs have met where <x_i, x_j> is as near to 1.
_NEAR = 1e-3


@dataclass(frozen=True, kw_only=True)
class Phases(Diagram):
    """The share of pairs that have met, over t and beta, under softmax (arXiv 2312.10794).

    Attributes:
        dimension: d.
        number: n, of tokens in a system.
        systems: How many there are in each run.
        betas: One run each.
        end: The final time.
        sample_every: Time between samples.
    """

    claim = (
        "In d >= n dimensions, tokens that start independently are nearly equiangular: all pairs "
        "meet when the solution of equal angles, g(0) = 0, does (2312.10794, section 6)"
    )

    dimension: int = 32
    number: int = 32
    systems: int = 256
    betas: Sequence[float] = tuple(np.round(np.linspace(0.1, 9.0, 30), 3).tolist())
    end: float = 30.0
    sample_every: float = 0.5

    def cases(self, name: str, seed: int) -> Sequence[Case]:
        """One for each beta."""
        return [
            Case.from_dict(
                {
                    "title": f"{self.title}: beta = {beta:g}",
                    "space": {"dimension": self.dimension},
                    "attention": {"beta": beta},
                    "initial": {"kind": "uniform"},
                    "particles": {"number": self.number, "systems": self.systems, "seed": seed}
                    | {"tolerance": 1e-4},
                    "time": {"end": self.end, "sample_every": self.sample_every},
                    "output": {"directory": f"figures/{name}", "fields": ["none"]},
                }
            )
            for beta in self.betas
        ]

    def counts(self, products: Array) -> npt.NDArray[np.bool_]:
        """Those that have met."""
        return products >= 1 - _NEAR

    def meeting_time(self, beta: float) -> float:
        """When equiangular tokens that start orthogonal have met.

        g' = 2 (1 - g) (1 + (n-1) g) / (e^{beta (1-g)} + n - 1) (arXiv 2312.10794, section 6).
        """
        n = self.number

        def duration(gap: float) -> float:  # of ln(1 - g)
            return (np.exp(beta * np.exp(gap)) + n - 1) / (2 * (1 + (n - 1) * -np.expm1(gap)))

        time, _ = quad(duration, np.log(_NEAR), 0.0, points=[-1e-2, -1e-1], limit=200)
        return float(time)

    def checks(self, times: Array, shares: Array) -> list[Deviation]:
        """How far the time at which half of the pairs have met is from that of equal angles."""
        wanted = np.array([self.meeting_time(beta) for beta in self.betas])
        shown = (wanted < 0.9 * self.end) & (shares[:, -1] >= 0.5)
        late = (wanted < 0.8 * self.end) & (shares[:, -1] < 0.5)
        half = np.array([np.interp(0.5, share, times) for share in shares])
        off = np.abs(half / wanted - 1)[shown].max(initial=0.0)
        return [
            Deviation(
                "values of beta whose pairs should have met, and have not", float(late.sum()), 0.0
            ),
            Deviation(
                "time at which half of the pairs have met, from equal angles", float(off), 0.25
            ),
        ]

    def draw(self, times: Array, shares: Array) -> Sheet:
        """A heat map with the curve of equal angles."""
        from matplotlib.figure import Figure as NewSheet

        sheet = NewSheet(figsize=(6.4, 4.4), layout="constrained")
        axes: Any = sheet.add_subplot()
        drawn = axes.pcolormesh(
            times, self.betas, shares, cmap="magma", vmin=0, vmax=1, rasterized=True
        )
        betas = np.linspace(self.betas[0], self.betas[-1], 200)
        axes.plot([self.meeting_time(beta) for beta in betas], betas, color="#3ad", lw=1.5)
        axes.set_xlim(0, self.end)
        axes.set_ylim(self.betas[0], self.betas[-1])
        axes.set_xlabel("t")
        axes.set_ylabel(r"$\beta$")
        axes.set_title(self.title, fontsize=10)
        sheet.colorbar(drawn, label=r"share of pairs with $\langle x_i, x_j\rangle \geq 0.999$")
        return sheet
