"""Who is measured by ``meanformer bench particles``: our solver, and peers that sum all pairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.backends.plan import Device
from meanformer.particles import TokenSolver
from meanformer.scripts.bench import means, peers
from meanformer.scripts.bench.means import Means
from meanformer.scripts.bench.particles.problems import STEP, Problem, step
from meanformer.scripts.bench.peers import Prepared

# Forms of a peer are compared on as many pairs.
_PAIRS_FOR_CHOOSING = 2e7


def our_step(
    problem: Problem,
    before: Array,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    device: Device = "cpu",
) -> Array:
    """This rank's tokens after a step of ours, whose set-up belongs to it. Collective.

    Args:
        problem: How tokens move.
        before: This rank's, ``shape=(n_local, d)``.
        comm: The ranks that share them.
        device: Where pairs are summed.
    """
    systems = comm.allreduce(len(before)) // problem.tokens if problem.tokens else 1
    attention = replace(problem.attention, device=device)
    given = before, attention, problem.space, comm, STEP
    solver = TokenSolver(*given, integrator="rk4", systems=systems)
    solver.step(STEP)
    return solver.points


def _ours(problem: Problem, before: Array) -> Prepared:
    systems = len(problem.apart(before)) if problem.tokens else None
    plan, *_ = problem.attention.plan(before, before, problem.space, systems=systems)
    return Prepared(partial(our_step, problem, before), plan.backend)


def _pykeops(problem: Problem, before: Array) -> Prepared:
    return _fastest(problem, before, means.by_keops(problem.dimension))


def _torch(problem: Problem, before: Array) -> Prepared:
    pairs = len(before) * (problem.tokens or len(before))
    tensor = import_module("torch").from_numpy
    return _fastest(problem, before, means.by_torch(pairs, equal=True), tensor)


def _ours_on_gpu(problem: Problem, before: Array) -> Prepared:
    return Prepared(partial(our_step, problem, before, device="cuda"), "direct")


def _torch_on_gpu(problem: Problem, before: Array) -> Prepared:
    torch = import_module("torch")
    forms = means.by_torch(len(before) ** 2, equal=True)
    return _fastest(problem, before, forms, lambda array: torch.from_numpy(array).cuda())


def _numpy(problem: Problem, before: Array) -> Prepared:
    """Blocks of one system; of many, a loop over them, or stacked matrix products."""
    if not problem.tokens:
        return _fastest(problem, before, means.by_numpy(len(before)))

    def in_a_loop(*given: Array) -> Array:
        return np.stack([means.softmax_mean(*each) for each in zip(*given, strict=True)])

    forms: dict[str, Means] = {"loop over systems": in_a_loop, "stacked": means.softmax_mean}
    return _fastest(problem, before, forms)


def _fastest(
    problem: Problem,
    before: Array,
    forms: Mapping[str, Means],
    tensor: Callable[[Array], Any] = np.asarray,
) -> Prepared:
    """A step by the fastest of a peer's forms, each of which is tried on few tokens of a system.

    Args:
        problem: How tokens move.
        before: Where from.
        forms: By their names.
        tensor: From an array to what forms take.
    """
    x = tensor(problem.apart(before) if problem.tokens else before)
    weights = tensor(np.full(x.shape[:-1], 1 / x.shape[-2]))
    few = x if problem.tokens else x[: max(1, int(_PAIRS_FOR_CHOOSING / len(x)))]
    tries = {name: partial(form, problem.beta * few, x, weights) for name, form in forms.items()}
    name = peers.fastest(tries)

    def mean(x: Any) -> Any:
        return forms[name](problem.beta * x, x, weights)

    def compute() -> Array:
        after = step(mean, x)
        return np.asarray(after.cpu() if hasattr(after, "cpu") else after).reshape(before.shape)

    return Prepared(compute, name)


#: Every method by its name; the first is the one that ratios refer to.
METHODS = peers.methods(ours=_ours, pykeops=_pykeops, torch=_torch, numpy=_numpy)
if shutil.which("nvidia-smi"):
    METHODS |= {
        "ours, GPU": METHODS["torch"]._replace(prepare=_ours_on_gpu),
        "torch, GPU": METHODS["torch"]._replace(prepare=_torch_on_gpu),
    }
