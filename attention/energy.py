"""The interaction energy of a measure, and its gradient."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, reduce

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.attention import Attention
from meanformer.attention.evaluation.evaluator import OF_OWN_MASS, Evaluator, Field
from meanformer.attention.heads import Head
from meanformer.attention.laws import LAWS
from meanformer.attention.laws.own_sums import OwnSums
from meanformer.attention.spaces import Space


class InteractionEnergy:
    """The energy of measures on the same points, for which attention is prepared once.

    With ``systems`` rows are those of as many measures, one after another, all on this rank.

    Collective over ``comm``, and so are calls and what they return.

    Args:
        attention: The model; its values V play no role.
        points: This rank's points, ``shape=(n, d)``.
        space: Where the points live.
        comm: The ranks over which the points are distributed, or None.
        systems: See ``Attention.velocity``.

    Raises:
        ValueError: If the law has no energy, attention is causal, or an argument is wrong.
    """

    def __init__(
        self,
        attention: Attention,
        points: Array,
        space: Space,
        comm: MPI.Comm | None = None,
        systems: int | None = None,
    ) -> None:
        if not attention.rule.energetic:
            energetic = ", ".join(sorted(name for name, law in LAWS.items() if law.energetic))
            raise ValueError(f"law is {attention.law!r}; only these have an energy: {energetic}")
        if attention.causal:
            raise ValueError("causal is True; causal attention has no energy")
        self.attention, self.points, self.space = attention, points, space
        self._comm, self.systems = comm, systems
        self.evaluator = self._prepare(attention)

    def __call__(self, weights: Array) -> EnergyOfMeasure:
        """The energy for this rank's weights, ``shape=(n,)``, whatever earlier ones were.

        Raises:
            ValueError: If the shape is wrong or a weight is not finite.
            AttentionDomainError: If there is no mass, or Sinkhorn's iteration does not converge.
        """
        return EnergyOfMeasure(self, weights)

    @cached_property
    def turned(self) -> dict[int, Evaluator]:
        """With Q and K in each other's place, the heads for which that makes a difference."""
        alone = replace(self.attention, query=None, key=None, value=None, heads=())
        return {
            number: self._prepare(replace(alone, query=head.key, key=head.query))
            for number, head in enumerate(self.attention.all_heads)
            if not self.attention.rule.is_symmetric(head)
        }

    def _prepare(self, attention: Attention) -> Evaluator:
        given = self.points, self.points, self.space, OF_OWN_MASS, self._comm
        return attention.prepare(*given, systems=self.systems)


class EnergyOfMeasure:
    """What ``InteractionEnergy`` says of one measure; its numbers share the kernel's sums."""

    def __init__(self, energy: InteractionEnergy, weights: Array) -> None:
        self._energy, self._weights = energy, weights
        evaluator, heads = energy.evaluator, energy.attention.all_heads
        evaluator.warm(None)
        self._sums = evaluator.sums(weights)
        of_heads = zip(heads, self._sums[0], evaluator.potentials, strict=True)
        points, comm, systems = energy.points, evaluator.comm, energy.systems
        self._own = [OwnSums(*sums, points, weights, comm, systems) for sums in of_heads]

    def value(self) -> float:
        """The energy of a single measure, as ``interaction_energy``. Collective."""
        return float(self.values())

    def values(self) -> Array:
        """Of each system here, ``shape=(systems,)``; of a single measure ``()``. Collective."""
        rule = self._energy.attention.rule
        return reduce(np.add, (rule.energy(own) for own in self._own))

    def gradient(self) -> Array:
        """Its gradient, as ``energy_gradient``, ``shape=(n, d)``. Collective."""
        rule, energy = self._energy.attention.rule, self._energy
        total = np.zeros(np.shape(energy.points))
        for number, own in enumerate(self._own):
            pull = rule.pull(own)
            if number in energy.turned:
                evaluator = energy.turned[number]
                evaluator.warm(None)
                (sums,), _ = evaluator.sums(self._weights)
                (potential,) = evaluator.potentials
                head = Head(own.head.key, own.head.query)
                other = replace(own, head=head, sums=sums, potential=potential)
                pull = (pull + rule.pull(other)) / 2
            total += pull
        return energy.space.tangent(energy.points, total)

    def field(self) -> Field:
        """The field of the attention at the points. Collective.

        Raises:
            AttentionDomainError: If the velocity is undefined.
        """
        return self._energy.evaluator.field(*self._sums)


def interaction_energy(
    attention: Attention, points: Array, weights: Array, space: Space, comm: MPI.Comm | None = None
) -> float:
    r"""The energy of which the law follows the gradient; of several heads, the sum.

    With A = beta K^T Q symmetric, V = I and noise-free dynamics,

    * softmax and unnormalised: E = 1/(2 beta) iint e^{<Ax,y>} mu(dx) mu(dy) never decreases
      (arXiv 2312.10794, section 3),
    * l2: the same with e^{-beta |Qx-Ky|^2},
    * linear: E = 1/(4 beta) iint <Ax,y>^2 mu(dx) mu(dy),
    * sinkhorn: E = -1/(2 beta) int (f+g) mu(dx), where f = g (arXiv 2110.11773).

    At beta = 0, where the first are infinite, the limit of E less its constant is returned: half of
    <K^T Q m, m> with m the mean (softmax, unnormalised and sinkhorn), and minus half of
    int |Qx-Ky|^2 (l2). Where e^{<Ax,y>} exceeds double precision, so does E. Collective over
    ``comm``.

    Args:
        attention: The model; its values V play no role.
        points: This rank's points, ``shape=(n, d)``.
        weights: This rank's weights, ``shape=(n,)``.
        space: Where the points live.
        comm: The ranks over which the points are distributed, or None.

    Returns:
        The energy, dimensionless; plus or minus infinity beyond double precision.

    Raises:
        ValueError: If the law has no energy, or an argument is wrong.
        AttentionDomainError: If there is no mass, or Sinkhorn's iteration does not converge.
    """
    return InteractionEnergy(attention, points, space, comm)(weights).value()


def energy_gradient(
    attention: Attention, points: Array, weights: Array, space: Space, comm: MPI.Comm | None = None
) -> Array:
    r"""The gradient of the energy's first variation, at the points of the measure.

    Where mu moves with a velocity u, dE/dt = int <grad dE/dmu, u> mu(dx), whatever the matrices.
    With A = beta K^T Q symmetric and V = I it is v for the unnormalised and the linear law and for
    sinkhorn, Z v for softmax, and 2 Z v for l2 on a sphere (arXiv 2312.10794, section 3).
    Collective over ``comm``.

    Arguments and errors as for ``interaction_energy``.

    Returns:
        Tangent vectors, ``shape=(n, d)``, dimensionless.
    """
    return InteractionEnergy(attention, points, space, comm)(weights).gradient()
