"""Attention evaluated: arguments checked, the sums of heads, and the field they make."""
