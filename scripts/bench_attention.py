"""``meanformer bench attention``: our velocity against peers, in time, error and growth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from meanformer.scripts import bench_attention_tasks, bench_machine, bench_process
from meanformer.scripts.bench_growth import fit_growth
from meanformer.scripts.bench_methods import METHODS
from meanformer.scripts.bench_problems import PROBLEMS, Problem

#: Operations of one exponential in double precision: rounding to a whole power of two and the
#: remainder (2), a polynomial of degree 10 (20), and the power (1).
EXP_FLOPS = 23
OURS = next(iter(METHODS))


def flops_per_pair(dimension: int) -> int:
    """The least operations of one pair: logit, shift, exponential, Z and moment."""
    return 2 * dimension + 1 + EXP_FLOPS + 2 * (1 + dimension)


@dataclass(frozen=True)
class Row:
    """One line of the table, and of the JSON file.

    Attributes:
        problem: Title of the problem.
        size: N, both of points and of targets.
        method: Who.
        form: Which of the method's forms; of ours, the backend.
        seconds: Of one evaluation, the best of ``repetitions``; None if it could not be had.
        repetitions: After a first one, which may compile.
        extrapolated: Whether ``seconds`` is from the method's own law of growth.
        error: Relative, at a sample of targets; see ``bench_problems.error_of``.
        growth: Exponent of the time over the sizes measured, by least squares; of ours, over
            those with the same backend as the largest.
        growth_last: Exponent between the two largest of these sizes.
        ratio: ``seconds`` over ours.
        pair_ns: Nanoseconds a pair and core, of direct sums.
        peak_fraction: ``flops_per_pair`` over the time, as a fraction of the measured peak.
        resident_bytes: Growth of the resident set.
        speedup: Of two ranks over one.
        note: What else there is to say.
    """

    problem: str
    size: int
    method: str
    form: str = ""
    seconds: float | None = None
    repetitions: int = 0
    extrapolated: bool = False
    error: float | None = None
    growth: float | None = None
    growth_last: float | None = None
    ratio: float | None = None
    pair_ns: float | None = None
    peak_fraction: float | None = None
    resident_bytes: int | None = None
    speedup: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark found.

    Attributes:
        machine: See ``bench_machine.describe``; with ``peak_flops``, operations a second.
        methods: Version of each method, or why it is missing and how to install it.
        budget: Seconds that one evaluation might take.
        rows: In the order of the table.
    """

    machine: dict[str, Any]
    methods: dict[str, dict[str, str]]
    budget: float
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        problems = {
            title: {
                "group": problem.group,
                "space": type(problem.space).__name__.lower(),
                "dimension": problem.space.dimension,
                "law": problem.attention.law,
                "logit_matrix": problem.logit_matrix.tolist()
                if len(problem.logit_matrix) <= 3
                else f"{problem.logit_matrix[0, 0]} times the identity",
                "tolerance": problem.tolerance,
                "precision": problem.precision,
            }
            for title, problem in PROBLEMS.items()
            if any(row.problem == title for row in self.rows)
        }
        return {"benchmark": "attention", **asdict(self), "problems": problems}


def run(
    groups: Sequence[str],
    methods: Sequence[str],
    sizes: Sequence[int],
    budget: float,
    say: Callable[[str], None],
) -> Report:
    """Measure.

    Args:
        groups: Which problems; see ``bench_problems.GROUPS``.
        methods: Which methods, besides ours.
        sizes: Values of N in place of the problems' own; empty for these.
        budget: Seconds that one evaluation may take; beyond, times are extrapolated.
        say: Told what is being done.
    """
    chosen = [name for name in METHODS if name == OURS or name in methods]
    found = {name: _version(name) for name in chosen}
    machine = bench_machine.describe()
    say("peak of the vector units")
    machine["peak_flops"] = bench_machine.peak_flops()
    rows: list[Row] = []
    for title, problem in PROBLEMS.items():
        if problem.group not in groups:
            continue
        wanted = sorted(sizes or problem.sizes)
        here: list[Row] = []
        for name in problem.methods:
            if name not in chosen:
                continue
            say(f"{title}: {name}")
            if "missing" in found[name]:
                note = f"{found[name]['missing']}; {found[name]['how']}"
                here += [Row(title, size, name, note=note) for size in wanted]
            elif problem.kind == "ranks":
                here += _ranks(title, wanted, budget)
            else:
                here += _method_rows(title, name, wanted, budget)
        rows += _compared(problem, here, machine)
    return Report(machine, found, budget, rows)


def _version(name: str) -> dict[str, str]:
    """The method's version, or why there is none."""
    results, problem = _work("versions", next(iter(PROBLEMS)), name, [], 1.0)
    answer: dict[str, str] = results[0] if results else {"missing": problem}
    return answer | ({"how": METHODS[name].how} if "missing" in answer else {})


def _method_rows(title: str, name: str, sizes: list[int], budget: float) -> Iterator[Row]:
    """One method's rows of one problem, extrapolated where they took too long to measure.

    Sizes that were measured for the law of growth alone are among them.
    """
    task = "memory" if PROBLEMS[title].kind == "memory" else "speed"
    results, problem = _work(task, title, name, sizes, budget)
    times = {result["size"]: result["seconds"] for result in results}
    forms = {result["size"]: result["form"] for result in results}
    adapts = METHODS[name].adapts
    law = fit_growth(list(times), list(times.values())) if times else None
    growth = last = None
    # A change of backend is no growth.
    alike = [n for n, form in forms.items() if form == forms[max(forms)] or not adapts]
    if len(alike) > 1 and task == "speed":
        growth, last = (
            fit_growth(some, [times[n] for n in some], np.inf).exponent
            for some in (alike, sorted(alike)[-2:])
        )
    measured = {result.pop("size"): result for result in results}
    for size in sorted({*sizes, *measured}):
        row = Row(title, size, name, growth=growth, growth_last=last)
        if size in measured:
            yield replace(row, **measured[size])
        elif problem or law is None or adapts:
            yield replace(row, note=problem)
        else:
            yield replace(row, seconds=law(size), extrapolated=True)


def _compared(problem: Problem, rows: list[Row], machine: dict[str, Any]) -> Iterator[Row]:
    """Add to a problem's rows the ratio to ours, and for direct sums the fraction of the peak."""
    ours = {row.size: row.seconds for row in rows if row.method == OURS}
    for row in rows:
        seconds, basis = row.seconds, ours.get(row.size)
        if seconds is None:
            yield row
            continue
        if row.method != OURS and basis:
            row = replace(row, ratio=seconds / basis)
        if problem.backend == "direct":
            pairs = row.size**2
            rate = flops_per_pair(problem.space.dimension) * pairs / seconds
            nanoseconds = seconds / pairs * machine["cores"] * 1e9
            fraction = rate / machine["peak_flops"]
            row = replace(
                row,
                pair_ns=nanoseconds,
                peak_fraction=fraction,
                note=f"{nanoseconds:.2f} ns a pair and core, {fraction:.0%} of the peak",
            )
        yield row


def _ranks(title: str, sizes: list[int], budget: float) -> Iterator[Row]:
    """Our velocity on one rank and on two, each with a core of its own."""
    missing = bench_process.why_not_on(2)
    if missing:
        yield from (Row(title, size, OURS, note=missing) for size in sizes)
        return
    times: dict[int, dict[int, float]] = {}
    for count in (1, 2):
        results, problem = _work("ranks", title, OURS, sizes, budget, count)
        times[count] = {result["size"]: result["seconds"] for result in results}
        for size in sizes:
            row = Row(title, size, OURS, form=f"{count} rank{'s'[: count - 1]}, a core each")
            seconds = times[count].get(size)
            if seconds is None:
                yield replace(row, note=problem)
                continue
            row = replace(row, seconds=seconds)
            if count == 2 and size in times[1]:
                speedup = times[1][size] / seconds
                row = replace(row, speedup=speedup, note=f"speed-up {speedup:.2f}")
            yield row


def _work(
    task: str, title: str, name: str, sizes: list[int], budget: float, ranks: int | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Do a job in a process of its own: its results, and what went wrong, if anything did."""
    function = bench_attention_tasks.measure
    return bench_process.measure(
        f"{function.__module__}:{function.__name__}",
        {"task": task, "problem": title, "method": name, "sizes": sizes, "budget": budget},
        environment=METHODS[name].environment(len(bench_machine.cores())),
        ranks=ranks,
        seconds=5 * budget * (len(sizes) + 1),
    )
