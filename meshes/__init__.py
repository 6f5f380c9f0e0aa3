"""DOLFINx meshes of the circle, the sphere, boxes and balls, curved where their space is."""

from meanformer.meshes.ball import ball
from meanformer.meshes.box import box
from meanformer.meshes.circle import circle
from meanformer.meshes.files.reading import read_mesh
from meanformer.meshes.files.seams import SeamWarning
from meanformer.meshes.sphere import icosphere

__all__ = ["SeamWarning", "ball", "box", "circle", "icosphere", "read_mesh"]
