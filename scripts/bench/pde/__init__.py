"""``meanformer bench pde``: the density solver."""
