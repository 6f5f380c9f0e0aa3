"""Meshes from files of gmsh."""
