"""Who is measured by ``meanformer bench attention``: our velocity, and peers that sum all pairs."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

import meanformer
from meanformer.arrays import Array
from meanformer.scripts.bench.problems import Measure, Problem

# Forms of a peer are compared on as many pairs.
_PAIRS_FOR_CHOOSING = 2e7
# A matrix of all logits may take as many bytes.
_MATRIX_BYTES = 2e9
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Prepared(NamedTuple):
    """A method ready to be timed: everything compiled, arrays where it wants them.

    Attributes:
        velocity: Computes the velocities from points and weights, ``shape=(m, d)``.
        form: Which of its forms this is.
    """

    velocity: Callable[[], Array]
    form: str


class Method(ABC):
    """A way to compute the velocity.

    Attributes:
        name: What the table calls it, and its module.
        how: How to install it.
        adapts: Whether it goes another way at larger sizes, so that no law of growth foretells it.
    """

    name: ClassVar[str]
    how: ClassVar[str] = ""
    adapts: ClassVar[bool] = False

    def version(self) -> str:
        """Its version.

        Raises:
            ImportError: If it is not installed.
        """
        return str(import_module(self.name).__version__)

    @abstractmethod
    def environment(self, cores: int) -> dict[str, str]:
        """What its process needs, to use all of the cores: variables and their values."""

    @abstractmethod
    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Make ready for one problem."""


class Ours(Method):
    """``Attention.velocity``, in the environment as it is: the library finds its cores itself."""

    name = "ours"
    adapts = True

    def version(self) -> str:
        """Meanformer's."""
        return meanformer.__version__

    def environment(self, cores: int) -> dict[str, str]:
        """Nothing."""
        return {}

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Choice of the backend and preparation belong to what is timed."""
        attention, space, backend = problem.attention, problem.space, problem.backend
        plan = attention.plan(
            measure.targets, measure.points, space, problem.tolerance, backend=backend
        )
        return Prepared(
            lambda: attention.velocity(*measure, space, problem.tolerance, backend=backend),
            plan[0].backend,
        )


class Pykeops(Method):
    """KeOps' reductions on the CPU (kernel-operations.io), compiled for this processor."""

    name = "pykeops"
    how = "pip install pykeops (the extra bench), with a C++ compiler"

    def version(self) -> str:
        """KeOps' version and the compiler's flags."""
        return f"{super().version()} (-O3 {os.environ.get('CXXFLAGS', '')})"

    def environment(self, cores: int) -> dict[str, str]:
        """OpenMP's threads, and the compiler's best flags in a cache of their own.

        KeOps compiles with -O3 for any processor, unless CXXFLAGS says more, and does not see
        from the name of a cached library which flags it was made with.
        """
        flags = os.environ.get("CXXFLAGS", "-march=native")
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folder = home / ("keops-bench" + "".join(c if c.isalnum() else "-" for c in flags))
        return {
            "OMP_NUM_THREADS": str(cores),
            "CXXFLAGS": flags,
            "KEOPS_CACHE_FOLDER": os.environ.get("KEOPS_CACHE_FOLDER", str(folder)),
        }

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """The reduction SumSoftMaxWeight, or sums of exponentials shifted by a bound."""
        reduction = import_module("pykeops.numpy").Genred
        d = problem.space.dimension
        keys, points, weights = _keys(problem, measure), measure.points, measure.weights[:, None]
        pair = [f"X=Vi({d})", f"Y=Vj({d})"]
        average = reduction(
            "(X|Y) + Log(W)",
            [*pair, "W=Vj(1)", f"V=Vj({d})"],
            "SumSoftMaxWeight",
            axis=1,
            formula2="V",
        )
        total = reduction("Exp((X|Y) - B) * V", [*pair, f"V=Vj({d + 1})", "B=Vi(1)"], "Sum", axis=1)

        def softmax(count: int) -> Array:
            means: Array = average(keys[:count], points, weights, points, backend="CPU")
            return means

        def shifted(count: int) -> Array:
            bound = np.linalg.norm(keys[:count], axis=1) * np.linalg.norm(points, axis=1).max()
            values = np.hstack([weights, weights * points])
            sums: Array = total(keys[:count], points, values, bound[:, None], backend="CPU")
            return sums[:, 1:] / sums[:, :1]

        return _fastest(
            problem, measure, {"SumSoftMaxWeight": softmax, "Sum of Exp, shifted": shifted}
        )


class Torch(Method):
    """``torch.nn.functional.scaled_dot_product_attention`` on the CPU, in its fused kernel."""

    name = "torch"
    how = "pip install torch (the extra bench-torch), or Debian's python3-torch"

    def environment(self, cores: int) -> dict[str, str]:
        """The threads of OpenMP and of the matrix products."""
        return dict.fromkeys(_THREADS, str(cores))

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """The dispatcher's choice (a fused, tiled kernel), or the matrix of all logits."""
        torch = import_module("torch")
        choice = import_module("torch.nn.attention")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        keys, points = (
            torch.from_numpy(part)[None, None] for part in (_keys(problem, measure), measure.points)
        )
        mask = None
        if np.ptp(measure.weights) > 0:
            mask = torch.from_numpy(np.log(measure.weights))[None, None, None]

        def fused(count: int) -> Array:
            product = torch.nn.functional.scaled_dot_product_attention
            found = product(keys[:, :, :count], points, points, attn_mask=mask, scale=1.0)
            velocity: Array = found[0, 0].numpy()
            return velocity

        def matrix(count: int) -> Array:
            with choice.sdpa_kernel(choice.SDPBackend.MATH):
                return fused(count)

        forms: dict[str, Callable[[int], Array]] = {"fused": fused}
        if 3.0 * keys.element_size() * len(measure.targets) * len(measure.points) < _MATRIX_BYTES:
            forms["matrix"] = matrix
        return _fastest(problem, measure, forms)


class Numpy(Method):
    """A loop over blocks of targets, one thread a core: what a careful user would write."""

    name = "numpy"

    def environment(self, cores: int) -> dict[str, str]:
        """The cores work on blocks, so that exponentials use them too, not the products alone."""
        return {**dict.fromkeys(_THREADS, "1"), "BENCH_THREADS": str(cores)}

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Blocks of 2^18, 2^20 or 2^22 logits."""
        keys, points, weights = _keys(problem, measure), measure.points, measure.weights
        pool = ThreadPoolExecutor(int(os.environ["BENCH_THREADS"]))

        def blocks(rows: int) -> Callable[[int], Array]:
            def velocity(count: int) -> Array:
                means = np.empty_like(keys[:count])

                def block(start: int) -> None:
                    stop = min(start + rows, count)
                    logits = keys[start:stop] @ points.T
                    logits -= logits.max(axis=1, keepdims=True)
                    np.exp(logits, out=logits)
                    logits *= weights
                    means[start:stop] = (logits @ points) / logits.sum(axis=1, keepdims=True)

                list(pool.map(block, range(0, count, rows)))
                return means

            return velocity

        sizes = [max(1, 2**power // len(points)) for power in (18, 20, 22)]
        return _fastest(
            problem, measure, {f"blocks of {rows} targets": blocks(rows) for rows in sizes}
        )


def _keys(problem: Problem, measure: Measure) -> Array:
    """A x of all targets, ``shape=(m, d)``."""
    return np.ascontiguousarray(measure.targets @ problem.logit_matrix.T)


def _fastest(
    problem: Problem, measure: Measure, forms: dict[str, Callable[[int], Array]]
) -> Prepared:
    """The fastest of several forms, each a function of the number of targets; all are run once."""
    few = max(1, min(len(measure.targets), int(_PAIRS_FOR_CHOOSING / len(measure.points))))

    def seconds(name: str) -> float:
        forms[name](few)
        start = time.perf_counter()
        forms[name](few)
        return time.perf_counter() - start

    name = min(forms, key=seconds) if len(forms) > 1 else next(iter(forms))
    targets = measure.targets
    return Prepared(lambda: problem.space.tangent(targets, forms[name](len(targets))), name)


#: Every method by its name; the first is the one that ratios refer to.
METHODS: dict[str, Method] = {
    method.name: method for method in (Ours(), Pykeops(), Torch(), Numpy())
}
