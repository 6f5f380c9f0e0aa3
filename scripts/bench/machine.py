"""The machine that a benchmark ran on: its processor, its libraries, and its peak."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from meanformer.mpi import LIBRARY

import llvmlite.binding
import numba
import numpy as np
from threadpoolctl import threadpool_info

import meanformer
from meanformer.scripts.bench.timing import best_time
from meanformer.threads import open_cores

_LANES = 1024
_STEPS = 16
_ROUNDS = 100_000
_LIBRARIES = ("numpy", "scipy", "numba", "ducc0", "mpi4py")


def describe(libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Processor, cores, memory and versions, for the table and the JSON file.

    Args:
        libraries: Modules whose versions matter besides those that every benchmark uses.
    """
    # Distributions may have other names than their modules: DOLFINx has several.
    modules = {name: import_module(name) for name in (*_LIBRARIES, *libraries)}
    # Wheels of scipy and PETSc bring others, beside the one that numpy brings or shares.
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    blas.sort(key=lambda library: "numpy" not in library["filepath"])
    return {
        "processor": f"{_processor()} ({llvmlite.binding.get_host_cpu_name()})",
        "cores": len(open_cores()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": {
            "meanformer": meanformer.__version__,
            "python": platform.python_version(),
            **{name: str(module.__version__) for name, module in modules.items()},
            "mpi": LIBRARY,
            "blas": next((f"{each['internal_api']} {each['version']}" for each in blas), "unknown"),
        },
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)", file.read_text() if file.exists() else "", re.M)
    return model[1].strip() if model else platform.processor() or platform.machine()


def resident_bytes(when: Literal["now", "at most"]) -> int:
    """Memory of this process: its resident set; the most, in both cases, where not on Linux."""
    file = Path("/proc/self/status")
    if file.exists():
        name = "VmRSS" if when == "now" else "VmHWM"
        return 1024 * int(re.findall(rf"{name}:\s*(\d+)", file.read_text())[0])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@numba.njit(parallel=True, fastmath=True)
def _multiply_add(values: Any, factor: float, summand: float, rounds: int) -> None:
    """Chains of ``_STEPS`` fused multiply-adds on every lane, ``rounds`` times."""
    for row in numba.prange(values.shape[0]):
        lanes = values[row]
        for _ in range(rounds):
            for j in range(lanes.shape[0]):
                x = lanes[j]
                for _step in range(_STEPS):
                    x = x * factor + summand
                lanes[j] = x


def peak_flops() -> float:
    """Operations a second of all cores together, two for each fused multiply-add, measured.

    In double precision, on numbers that stay in the first cache, with the vectors that numba's
    compiler chooses.
    """
    count = min(len(open_cores()), numba.config.NUMBA_NUM_THREADS)
    values = np.ones((count, _LANES))
    numba.set_num_threads(count)
    _, times = best_time(lambda: _multiply_add(values, 0.999, 1e-3, _ROUNDS), 5)
    return float(2 * values.size * _STEPS * _ROUNDS / times["seconds"])
