"""Independent token systems, which do not see each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meanformer.arrays import Array
from meanformer.solvers import Tokens


class TokenEnsemble:
    """Token systems that evolve alone, as one solver.

    Args:
        systems: At least one.

    Attributes:
        systems: The token systems.
    """

    def __init__(self, systems: Sequence[Tokens]) -> None:
        self.systems = tuple(systems)

    @property
    def number(self) -> int:
        """Tokens of all systems together."""
        return sum(system.number for system in self.systems)

    @property
    def time(self) -> float:
        """Time that every system has reached, dimensionless."""
        return min(system.time for system in self.systems)

    @property
    def steps(self) -> int:
        """Steps taken by all systems together."""
        return sum(system.steps for system in self.systems)

    @property
    def refused_steps(self) -> int:
        """Steps refused by all systems together."""
        return sum(system.refused_steps for system in self.systems)

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds that all systems have spent in a solver's parts."""
        return {
            part: sum(system.wall_time[part] for system in self.systems)
            for part in self.systems[0].wall_time
        }

    def mass(self) -> float:
        """Mean of the systems' masses; nan if a token is not finite. Collective."""
        return sum(system.mass() for system in self.systems) / len(self.systems)

    def step(self, until: float) -> None:
        """Take one step of the system that is farthest behind. Collective."""
        min(self.systems, key=lambda system: system.time).step(until)


def deal_out(tokens: Tokens, count: int, solver: Callable[[Array, int], Tokens]) -> TokenEnsemble:
    """Deal out tokens to systems that do not see each other. Collective.

    Args:
        tokens: What is dealt out, at its time 0: token i goes to system i mod ``count``.
        count: Systems; there are fewer where there are fewer tokens.
        solver: Makes a system of this rank's share of its tokens, ``shape=(n, d)``, and its number,
            from 1 on: 0 is that of ``tokens``. Collective.
    """
    count = min(count, tokens.number)
    system = tokens.numbers % count
    return TokenEnsemble([solver(tokens.points[system == k], k + 1) for k in range(count)])
