"""What a run leaves in its folder: tables, fields, checkpoints, its summary."""
