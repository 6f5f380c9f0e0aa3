"""Independent smaller token systems, whose scatter tells the sampling noise at any time."""

from __future__ import annotations

from meanformer.attention import Model
from meanformer.particles import TokenSolver
from meanformer.solvers import Tokens

_REPLICAS = 8


class TokenReplicas:
    """The tokens of a run dealt out to systems that do not see each other.

    Attention amplifies or damps the sampling error of the start. Systems of n/8 tokens that evolve
    alone show by how much, at the cost of one more system of n tokens.

    Args:
        tokens: The run's tokens at its start: token i goes to replica i mod 8.
        attention: The model.
        step: A fixed time step, or None for an automatic one.

    Attributes:
        systems: The replicas; fewer than 8 where there are fewer tokens.
        calibration: Factor of the noise read from them, see ``calibrate``.
        time: Time that all of them have reached.
        steps: Steps taken by all of them together.
    """

    def __init__(self, tokens: Tokens, attention: Model, step: float | None = None) -> None:
        """Deal out the tokens. Collective."""
        count = min(_REPLICAS, tokens.number)
        replica = tokens.numbers % count
        self.systems = [
            TokenSolver(tokens.points[replica == k], attention, tokens.space, tokens.comm, step)
            for k in range(count)
        ]
        self.calibration = 1.0

    @property
    def time(self) -> float:
        """Time that every replica has reached."""
        return min(system.time for system in self.systems)

    @property
    def steps(self) -> int:
        """Steps taken by all replicas together."""
        return sum(system.steps for system in self.systems)

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds spent in "attention"."""
        return {"attention": sum(system.wall_time["attention"] for system in self.systems)}

    def mass(self) -> float:
        """Mean of the replicas' masses. Collective."""
        return sum(system.mass() for system in self.systems) / len(self.systems)

    def step(self, until: float) -> None:
        """Take one step of the replica that is farthest behind. Collective."""
        min(self.systems, key=lambda system: system.time).step(until)
