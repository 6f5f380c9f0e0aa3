"""All theorems, and what they say of a setting."""

from __future__ import annotations

from meanformer.theory.theorems.base import Prediction, Theorem
from meanformer.theory.theorems.euclidean import Boolean, Hyperplanes, Repulsive
from meanformer.theory.theorems.mean_field import Energy, MeanOnly, NearUniform, Noise
from meanformer.theory.theorems.polytopes import Polytope, PolytopeTimesSubspace
from meanformer.theory.theorems.setting import Setting
from meanformer.theory.theorems.sphere import Consensus, Equiangular, Hemisphere, Leader

#: In the order in which they are told.
THEOREMS: tuple[Theorem, ...] = (
    Boolean(),
    Polytope(),
    Hyperplanes(),
    PolytopeTimesSubspace(),
    Repulsive(),
    Hemisphere(),
    Consensus(),
    Leader(),
    Equiangular(),
    MeanOnly(),
    Noise(),
    NearUniform(),
    Energy(),
)


def predictions(setting: Setting) -> list[Prediction]:
    """What each theorem about the setting's space says of it."""
    return [each.ask(setting) for each in THEOREMS if isinstance(setting.space, each.spaces)]
