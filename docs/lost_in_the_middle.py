"""Draw what the last of causal tokens keep of earlier ones, simulated and by theory.

scripts/env python docs/lost_in_the_middle.py

Tokens on the circle start independent and uniform, under softmax at beta = 1 until t = 1.5, each
seeing those before it (arXiv 2605.09213). See ``meanformer.theory.positions``.
"""

from pathlib import Path

from mpi4py import MPI

import numpy as np

from meanformer.attention import Attention, Sphere
from meanformer.particles import TokenSolver
from meanformer.solvers import advance
from meanformer.theory import growth
from meanformer.theory.positions import correlation

PICTURE = Path(__file__).resolve().parent / "pictures/lost-in-the-middle.png"
BETA, END = 1.0, 1.5
TOKENS, GROUP = 50, 5
#: Of the groups of labels s = 1/n, ..., 1.
MIDDLES = (1 + np.arange(TOKENS).reshape(-1, GROUP)).mean(axis=1) / TOKENS
SYSTEMS = 300_000
_STEP, _CHUNK = 0.25, 4000


def simulated(decay: float, systems: int = SYSTEMS) -> np.ndarray:
    """Means of n E[cos(theta_x - theta_s)] over groups of five labels x and s.

    Returns:
        Of a few thousand systems each, ``shape=(chunks, 10, 10)``; x in rows.
    """
    means = []
    for chunk in range(systems // _CHUNK):
        tokens = _moved(np.random.default_rng([0, chunk]), decay)
        groups = tokens.reshape(_CHUNK, -1, GROUP, 2).mean(axis=2)
        means.append(TOKENS * np.einsum("ixk,isk->xs", groups, groups) / _CHUNK)
    return np.stack(means)


def predicted(decay: float) -> np.ndarray:
    """The same in the limit of many tokens, ``shape=(10, 10)``; 0 unless all s are before all x."""
    limits = np.zeros((len(MIDDLES), len(MIDDLES)))
    labels = (1 + np.arange(TOKENS).reshape(-1, GROUP)) / TOKENS
    for row, later in enumerate(labels[1:], start=1):
        found = correlation(later[:, None, None], labels[:row], growth_until_end(), decay)
        limits[row, :row] = found.mean(axis=(0, 2))
    return limits


def growth_until_end() -> float:
    """a t."""
    (rate,) = growth.rates("softmax", BETA, 1.0, 0.0, np.ones(1), 2)
    return float(rate) * END


def _moved(numbers: np.random.Generator, decay: float) -> np.ndarray:
    """Tokens at the end, ``shape=(systems, tokens, 2)``."""
    attention = Attention("softmax", BETA, causal=True, sees_itself=False, decay=decay)
    turns = numbers.uniform(0, 2 * np.pi, _CHUNK * TOKENS)
    start = np.column_stack([np.cos(turns), np.sin(turns)])
    options = {"step": _STEP, "integrator": "rk4", "systems": _CHUNK}
    tokens = TokenSolver(start, attention, Sphere(2), MPI.COMM_SELF, **options)
    return advance(tokens, END).points.reshape(_CHUNK, TOKENS, 2)


def main() -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    later = MIDDLES[-1]
    labels = np.linspace(0.004, later, 400)
    for decay, colour in ((0.0, "#b5482a"), (2.0, "#0b6e6e"), (5.0, "#4b4b9b")):
        limit = correlation(later, labels, growth_until_end(), decay)
        axes.plot(labels, limit, color=colour, lw=1.4, label=rf"$\lambda$ = {decay:g}")
        samples = simulated(decay, SYSTEMS // 3)[:, -1, :-1]
        errors = samples.std(axis=0) / np.sqrt(len(samples))
        axes.errorbar(
            MIDDLES[:-1], samples.mean(axis=0), 2 * errors, fmt="o", ms=4, color=colour, capsize=2
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 5),
        xlabel="label s: place in the order",
        ylabel=rf"$n\,E\cos(\theta_{{{later:g}}}-\theta_s)$",
    )
    axes.legend(frameon=False, title="decay of weights")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110)
    print(PICTURE)


if __name__ == "__main__":
    main()
