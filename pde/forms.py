"""Compilation of forms."""

from __future__ import annotations

from typing import Any

from dolfinx import fem


def compiled(form: Any) -> fem.Form:
    """A form compiled for speed on this machine."""
    return fem.form(form, jit_options={"cffi_extra_compile_args": ["-O3", "-march=native", "-w"]})
