"""Warnings on the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress


def warn(title: str, warning: str) -> None:
    """Say a warning of what runs on standard error, if that is still there (after SIGHUP not)."""
    line = f"{title}: warning: {warning}" if title else f"warning: {warning}"
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
