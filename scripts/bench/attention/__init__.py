"""``meanformer bench attention``: the velocity against peers."""
