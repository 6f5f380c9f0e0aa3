"""Direct sums over pairs of a target and a point."""
