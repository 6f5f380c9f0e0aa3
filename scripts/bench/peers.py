"""Who is measured: ours, and peers, each with its settings, its forms, and the way to get it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from meanformer.arrays import Array

#: The one that ratios refer to.
OURS = "ours"

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_FLAGS = os.environ.get("CXXFLAGS", "-march=native")


class Prepared(NamedTuple):
    """A method, in one of its forms, ready to compute the answer to a problem."""

    compute: Callable[[], Array]
    form: str


class Method(NamedTuple):
    """A way to compute what a benchmark asks for.

    Attributes:
        module: What is imported, and has the version.
        prepare: Makes ready for one problem and its points.
        environment: Variables of its process; {cores} stands for the number of cores to be used.
        how: How to install it.
        adapts: Whether it goes another way at larger sizes, so that no law of growth foretells it.
        remark: What else there is to say about the version.
    """

    module: str
    prepare: Callable[..., Prepared]
    environment: dict[str, str]
    how: str = ""
    adapts: bool = False
    remark: str = ""


def methods(**prepare: Callable[..., Prepared]) -> dict[str, Method]:
    """Ours and the peers, given how each makes ready. Ours finds its cores itself."""
    return {
        OURS: Method("meanformer", prepare[OURS], {}, adapts=True),
        "pykeops": Method(
            "pykeops",
            prepare["pykeops"],
            _keops_environment(),
            "pip install pykeops (the extra bench), with a C++ compiler",
            remark=f" (-O3 {_FLAGS})",
        ),
        "torch": Method(
            "torch",
            prepare["torch"],
            dict.fromkeys(_THREADS, "{cores}"),
            "pip install torch (the extra bench-torch), or Debian's python3-torch",
        ),
        "numpy": Method(
            "numpy",
            prepare["numpy"],
            dict.fromkeys(_THREADS, "1") | {"BENCH_THREADS": "{cores}"},
        ),
    }


def _keops_environment() -> dict[str, str]:
    """OpenMP's threads, and the compiler's best flags.

    These have a cache of their own: KeOps does not see which flags a library was made with.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = home / ("keops-bench" + "".join(c if c.isalnum() else "-" for c in _FLAGS))
    return {
        "OMP_NUM_THREADS": "{cores}",
        "CXXFLAGS": _FLAGS,
        "KEOPS_CACHE_FOLDER": os.environ.get("KEOPS_CACHE_FOLDER", str(folder)),
    }


def version(module: str, remark: str) -> Iterator[dict[str, Any]]:
    """A task: the version of a method, or why it cannot be used."""
    try:
        yield {"version": f"{import_module(module).__version__}{remark}"}
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        yield {"missing": "not installed" if missing else f"cannot be imported: {error}"}


def fastest(forms: Mapping[str, Callable[[], object]]) -> str:
    """The name of the fastest form; each is run twice, the first time to compile."""

    def seconds(name: str) -> float:
        forms[name]()
        start = time.perf_counter()
        forms[name]()
        return time.perf_counter() - start

    return min(forms, key=seconds)
