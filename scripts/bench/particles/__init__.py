"""``meanformer bench particles``: steps of tokens against peers."""
