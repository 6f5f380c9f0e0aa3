"""Curved DOLFINx meshes."""

from meanformer.meshes.sphere import icosphere

__all__ = ["icosphere"]
