"""The machine that a benchmark ran on: its processor, its libraries, and its peak."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from meanformer.mpi import LIBRARY

import numba
import numpy as np

import meanformer

_LANES = 1024
_STEPS = 16
_ROUNDS = 100_000
_LIBRARIES = ("numpy", "scipy", "numba", "ducc0", "mpi4py")


def cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe(libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Processor, cores, memory and versions, for the table and the JSON file.

    Args:
        libraries: Modules whose versions matter besides those that every benchmark uses.
    """
    return {
        "processor": _processor(),
        "cores": len(cores()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": {
            "meanformer": meanformer.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in (*_LIBRARIES, *libraries)},
            "mpi": LIBRARY,
            "blas": _blas(),
        },
    }


def resident_bytes(when: Literal["now", "at most"]) -> int:
    """Memory of this process: its resident set."""
    field = "VmRSS" if when == "now" else "VmHWM"
    try:
        with open("/proc/self/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        return 1024 * int(fields[field].split()[0])
    except (OSError, KeyError):  # not Linux: the highest, in both cases
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _version(name: str) -> str:
    # Not that of the distribution, whose name may be another: DOLFINx has several.
    return str(import_module(name).__version__)


def _processor() -> str:
    """Its model, as the kernel calls it, with its family where the name says little."""
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    model = fields.get("model name") or platform.processor() or platform.machine()
    family = f", family {fields['cpu family']}" if "cpu family" in fields else ""
    vectors = ", AVX-512" if "avx512f" in fields.get("flags", "") else ""
    return f"{model}{family}{vectors}"


def _blas() -> str:
    """The file that numpy's matrix products come from, or what numpy was built with."""
    np.ones((2, 2)) @ np.ones((2, 2))
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        lines = []
    files = {line.split()[-1] for line in lines if ".so" in line}
    found = sorted(name for name in files if any(k in name for k in ("openblas", "mkl_", "blis")))
    if found:
        return "/".join(Path(found[0]).parts[-2:])
    return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"])


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
    count = min(len(cores()), numba.config.NUMBA_NUM_THREADS)
    values = np.ones((count, _LANES))
    numba.set_num_threads(count)
    _multiply_add(values, 0.999, 1e-3, 1)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        _multiply_add(values, 0.999, 1e-3, _ROUNDS)
        best = min(best, time.perf_counter() - start)
    return 2 * values.size * _STEPS * _ROUNDS / best
