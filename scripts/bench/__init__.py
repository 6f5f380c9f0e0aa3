"""``meanformer bench``: speed and error, measured, also against peers."""
