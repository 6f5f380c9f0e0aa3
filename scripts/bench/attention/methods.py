"""Who is measured by ``meanformer bench attention``: our velocity, and peers that sum all pairs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module

import numpy as np

from meanformer.arrays import Array
from meanformer.scripts.bench import means, peers
from meanformer.scripts.bench.attention.problems import Measure, Problem
from meanformer.scripts.bench.means import Means
from meanformer.scripts.bench.peers import Prepared

# Forms of a peer are compared on as many pairs.
_PAIRS_FOR_CHOOSING = 2e7


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
    return _fastest(problem, measure, means.by_keops(problem.space.dimension))


def _torch(problem: Problem, measure: Measure) -> Prepared:
    tensor = import_module("torch").from_numpy
    equal = bool(np.ptp(measure.weights) == 0)

    def numpy_of(form: Means, *given: Array) -> Array:
        return form(*(tensor(part) for part in given)).numpy()

    forms = means.by_torch(len(measure.targets) * len(measure.points), equal)
    return _fastest(problem, measure, {name: partial(numpy_of, forms[name]) for name in forms})


def _numpy(problem: Problem, measure: Measure) -> Prepared:
    return _fastest(problem, measure, means.by_numpy(len(measure.points)))


def _fastest(problem: Problem, measure: Measure, forms: Mapping[str, Means]) -> Prepared:
    """The velocity by the fastest of a peer's forms, each of which is tried on few targets."""
    targets, *given = measure
    keys = np.ascontiguousarray(targets @ problem.logit_matrix.T)
    few = keys[: max(1, int(_PAIRS_FOR_CHOOSING / len(measure.points)))]
    name = peers.fastest({name: partial(form, few, *given) for name, form in forms.items()})
    return Prepared(lambda: problem.space.tangent(targets, forms[name](keys, *given)), name)


#: Every method by its name; the first is the one that ratios refer to.
METHODS = peers.methods(ours=_ours, pykeops=_pykeops, torch=_torch, numpy=_numpy)
