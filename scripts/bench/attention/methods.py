"""Who is measured by ``meanformer bench attention``: our velocity, and peers that sum all pairs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meanformer.arrays import Array
from meanformer.scripts.bench.attention.problems import Measure, Problem

# Forms of a peer are compared on as many pairs.
_PAIRS_FOR_CHOOSING = 2e7
# A matrix of all logits may take as many bytes.
_MATRIX_BYTES = 2e9
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_FLAGS = os.environ.get("CXXFLAGS", "-march=native")


class Prepared(NamedTuple):
    """A method, in one of its forms, ready to compute velocities, ``shape=(m, d)``."""

    velocity: Callable[[], Array]
    form: str


class Method(NamedTuple):
    """A way to compute the velocity.

    Attributes:
        module: What is imported, and has the version.
        prepare: Makes ready for one problem.
        environment: Variables of its process; {cores} stands for the number of cores to be used.
        how: How to install it.
        adapts: Whether it goes another way at larger sizes, so that no law of growth foretells it.
        remark: What else there is to say about the version.
    """

    module: str
    prepare: Callable[[Problem, Measure], Prepared]
    environment: dict[str, str]
    how: str = ""
    adapts: bool = False
    remark: str = ""


def _ours(problem: Problem, measure: Measure) -> Prepared:
    """``Attention.velocity``; choice of the backend and preparation belong to what is timed."""
    attention, space, backend = problem.attention, problem.space, problem.backend
    targets, points, _ = measure
    plan = attention.plan(targets, points, space, problem.tolerance, backend=backend)
    return Prepared(
        lambda: attention.velocity(*measure, space, problem.tolerance, backend=backend),
        plan[0].backend,
    )


def _pykeops(problem: Problem, measure: Measure) -> Prepared:
    """The reduction SumSoftMaxWeight (kernel-operations.io), or sums shifted by a bound."""
    reduction = import_module("pykeops.numpy").Genred
    d = problem.space.dimension
    keys, points, weights = _keys(problem, measure), measure.points, measure.weights[:, None]
    pair = [f"X=Vi({d})", f"Y=Vj({d})"]
    given = [*pair, "W=Vj(1)", f"V=Vj({d})"]
    average = reduction("(X|Y) + Log(W)", given, "SumSoftMaxWeight", axis=1, formula2="V")
    given = [*pair, f"V=Vj({d + 1})", "B=Vi(1)"]
    total = reduction("Exp((X|Y) - B) * V", given, "Sum", axis=1)

    def softmax(count: int) -> Array:
        return average(keys[:count], points, weights, points, backend="CPU")

    def shifted(count: int) -> Array:
        bound = np.linalg.norm(keys[:count], axis=1) * np.linalg.norm(points, axis=1).max()
        values = np.hstack([weights, weights * points])
        sums = total(keys[:count], points, values, bound[:, None], backend="CPU")
        return sums[:, 1:] / sums[:, :1]

    return _fastest(problem, measure, {"SumSoftMaxWeight": softmax, "Sum of Exp, shifted": shifted})


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


def _torch(problem: Problem, measure: Measure) -> Prepared:
    """``scaled_dot_product_attention``: a fused, tiled kernel, or the matrix of all logits."""
    torch, choice = import_module("torch"), import_module("torch.nn.attention")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    given = (_keys(problem, measure), measure.points, np.log(measure.weights)[None])
    keys, points, mask = (torch.from_numpy(part)[None, None] for part in given)
    options = {"attn_mask": mask if np.ptp(measure.weights) > 0 else None, "scale": 1.0}

    def fused(count: int) -> Array:
        product = torch.nn.functional.scaled_dot_product_attention
        return product(keys[:, :, :count], points, points, **options)[0, 0].numpy()

    def matrix(count: int) -> Array:
        with choice.sdpa_kernel(choice.SDPBackend.MATH):
            return fused(count)

    forms: dict[str, Callable[[int], Array]] = {"fused": fused}
    if 3.0 * keys.element_size() * len(measure.targets) * len(measure.points) < _MATRIX_BYTES:
        forms["matrix"] = matrix
    return _fastest(problem, measure, forms)


def _numpy(problem: Problem, measure: Measure) -> Prepared:
    """A loop over blocks of 2^18, 2^20 or 2^22 logits: what a careful user would write.

    Each core works on a block, so that exponentials use all of them, not the products alone.
    """
    keys, points, weights = _keys(problem, measure), measure.points, measure.weights
    pool = ThreadPoolExecutor(int(os.environ["BENCH_THREADS"]))

    def block(keys: Array) -> Array:
        logits = keys @ points.T
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits *= weights
        return (logits @ points) / logits.sum(axis=1, keepdims=True)

    def velocity(count: int, rows: int) -> Array:
        blocks = (keys[start : min(start + rows, count)] for start in range(0, count, rows))
        return np.vstack(list(pool.map(block, blocks)))

    sizes = [max(1, 2**power // len(points)) for power in (18, 20, 22)]
    forms = {f"blocks of {rows} targets": partial(velocity, rows=rows) for rows in sizes}
    return _fastest(problem, measure, forms)


def _keys(problem: Problem, measure: Measure) -> Array:
    """A x of all targets, ``shape=(m, d)``."""
    return np.ascontiguousarray(measure.targets @ problem.logit_matrix.T)


def _fastest(
    problem: Problem, measure: Measure, forms: Mapping[str, Callable[[int], Array]]
) -> Prepared:
    """The fastest of its forms, each a function of the number of targets; all are run once."""
    few = max(1, min(len(measure.targets), int(_PAIRS_FOR_CHOOSING / len(measure.points))))

    def seconds(name: str) -> float:
        forms[name](few)
        start = time.perf_counter()
        forms[name](few)
        return time.perf_counter() - start

    name = min(forms, key=seconds)
    targets = measure.targets
    return Prepared(lambda: problem.space.tangent(targets, forms[name](len(targets))), name)


#: Every method by its name; the first is the one that ratios refer to. Ours finds its cores itself.
METHODS: dict[str, Method] = {
    "ours": Method("meanformer", _ours, {}, adapts=True),
    "pykeops": Method(
        "pykeops",
        _pykeops,
        _keops_environment(),
        "pip install pykeops (the extra bench), with a C++ compiler",
        remark=f" (-O3 {_FLAGS})",
    ),
    "torch": Method(
        "torch",
        _torch,
        dict.fromkeys(_THREADS, "{cores}"),
        "pip install torch (the extra bench-torch), or Debian's python3-torch",
    ),
    "numpy": Method("numpy", _numpy, dict.fromkeys(_THREADS, "1") | {"BENCH_THREADS": "{cores}"}),
}
