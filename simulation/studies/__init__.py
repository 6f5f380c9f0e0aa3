"""Convergence studies: a case at several values of one key."""
