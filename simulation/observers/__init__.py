"""What watches a run: diagnostics, guards, signals, progress."""
