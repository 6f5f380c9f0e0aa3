"""Who is measured by ``meanformer bench attention``: our velocity, and peers that sum all pairs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

import meanformer
from meanformer.scripts.bench_problems import Measure, Problem

# Forms of a peer are compared on as many pairs.
_PAIRS_FOR_CHOOSING = 2e7
# A matrix of all logits may take as many bytes.
_MATRIX_BYTES = 2e9

#: In either precision.
Array = npt.NDArray[Any]
Velocity = Callable[[], Array]


class Prepared(NamedTuple):
    """A method ready to be timed: everything compiled, arrays where it wants them.

    Attributes:
        velocity: Computes the velocities from points and weights, ``shape=(m, d)``.
        form: Which of its forms this is.
    """

    velocity: Velocity
    form: str


class Method(Protocol):
    """A way to compute the velocity.

    Attributes:
        name: What the table calls it.
        how: How to install it.
        adapts: Whether it goes another way at larger sizes, so that no law of growth foretells it.
    """

    name: str
    how: str
    adapts: bool

    def environment(self, cores: int) -> dict[str, str]:
        """What its process needs, to use all of the cores: variables and their values."""
        ...

    def version(self) -> str:
        """Its version.

        Raises:
            ImportError: If it is not installed.
        """
        ...

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Make ready for one problem."""
        ...


class Ours:
    """``Attention.velocity``, in the environment as it is: the library finds its cores itself."""

    name = "ours"
    how = ""
    adapts = True

    def environment(self, cores: int) -> dict[str, str]:
        """Nothing."""
        return {}

    def version(self) -> str:
        """Meanformer's."""
        return meanformer.__version__

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Choice of the backend and preparation belong to what is timed."""
        attention = problem.attention
        plan = attention.plan(
            measure.targets,
            measure.points,
            problem.space,
            problem.tolerance,
            backend=problem.backend,
        )
        return Prepared(
            lambda: attention.velocity(
                *measure,
                problem.space,
                problem.tolerance,
                backend=problem.backend,
                precision=problem.precision,
            ),
            plan[0].backend,
        )


class Pykeops:
    """KeOps' reductions on the CPU (kernel-operations.io), compiled for this processor."""

    name = "pykeops"
    how = "pip install pykeops (the extra bench), with a C++ compiler"
    adapts = False

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

    def version(self) -> str:
        """KeOps' version and the compiler's flags."""
        return f"{import_module('pykeops').__version__} (-O3 {os.environ.get('CXXFLAGS', '')})"

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """The reduction SumSoftMaxWeight, or sums of exponentials shifted by a bound."""
        generic = import_module("pykeops.numpy").Genred
        d = problem.space.dimension
        kind: Any = np.float64 if problem.precision == "double" else np.float32
        given = (measure.targets @ problem.logit_matrix.T, measure.points)
        keys, points = (np.ascontiguousarray(part, dtype=kind) for part in given)
        weights = measure.weights.astype(kind)[:, None]
        variables = [f"X=Vi({d})", f"Y=Vj({d})"]
        average = generic(
            "(X|Y) + Log(W)",
            [*variables, "W=Vj(1)", f"V=Vj({d})"],
            "SumSoftMaxWeight",
            axis=1,
            formula2="V",
        )
        total = generic(
            "Exp((X|Y) - B) * V", [*variables, f"V=Vj({d + 1})", "B=Vi(1)"], "Sum", axis=1
        )

        def softmax(count: int) -> Array:
            return average(keys[:count], points, weights, points, backend="CPU")

        def shifted(count: int) -> Array:
            bound = np.linalg.norm(keys[:count], axis=1) * np.linalg.norm(points, axis=1).max()
            values = np.hstack([weights, weights * points])
            sums = total(keys[:count], points, values, bound[:, None], backend="CPU")
            return sums[:, 1:] / sums[:, :1]

        return _fastest(
            problem, measure, {"SumSoftMaxWeight": softmax, "Sum of Exp, shifted": shifted}
        )


class Torch:
    """``torch.nn.functional.scaled_dot_product_attention`` on the CPU, in its fused kernel."""

    name = "torch"
    how = "pip install torch (the extra bench-torch), or Debian's python3-torch"
    adapts = False

    def environment(self, cores: int) -> dict[str, str]:
        """The threads of OpenMP and of the matrix products."""
        return dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), f"{cores}"
        )

    def version(self) -> str:
        """PyTorch's."""
        return str(import_module("torch").__version__)

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """The dispatcher's choice (a fused, tiled kernel), or the matrix of all logits."""
        torch = import_module("torch")
        choice = import_module("torch.nn.attention")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        kind = torch.float64 if problem.precision == "double" else torch.float32
        given = (measure.targets @ problem.logit_matrix.T, measure.points)
        keys, points = (torch.from_numpy(part).to(kind)[None, None] for part in given)
        mask = None
        if np.ptp(measure.weights) > 0:
            mask = torch.from_numpy(np.log(measure.weights)).to(kind)[None, None, None]

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


class Numpy:
    """A loop over blocks of targets, one thread a core: what a careful user would write."""

    name = "numpy"
    how = ""
    adapts = False

    def environment(self, cores: int) -> dict[str, str]:
        """The cores work on blocks, so that exponentials use them too, not the products alone."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return {**dict.fromkeys(names, "1"), "BENCH_THREADS": str(cores)}

    def version(self) -> str:
        """Numpy's."""
        return np.__version__

    def prepare(self, problem: Problem, measure: Measure) -> Prepared:
        """Blocks of 2^18, 2^20 or 2^22 logits."""
        kind: Any = np.float64 if problem.precision == "double" else np.float32
        given = (measure.targets @ problem.logit_matrix.T, measure.points)
        keys, points = (np.ascontiguousarray(part, dtype=kind) for part in given)
        weights = measure.weights.astype(kind)
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
