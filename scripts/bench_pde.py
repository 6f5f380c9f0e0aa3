"""``meanformer bench pde``: what a step of the density solver costs, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from meanformer.scripts import bench_machine, bench_process
from meanformer.scripts.bench_growth import fit_growth

#: What ``--problems`` allows.
GROUPS = ("stage", "noise", "growth", "circle")
LEVEL = 5
LEVELS = (4, 5, 6, 7)
#: Points of the peer on the circle.
SIZES = (2500, 5000, 10_000)
TEMPERATURE = 0.05
OURS, PEER, OWN_STEPS = "ours", "Lax-Friedrichs", "ours, own steps"

_TASKS = "meanformer.scripts.bench_pde_tasks"
_LIBRARIES = ("dolfinx", "petsc4py")
# Of steps, in each process.
_SECONDS = 10.0


@dataclass(frozen=True)
class Row:
    """One line of the table, and of the JSON file.

    Attributes:
        problem: Title of the problem.
        size: Unknowns; points of the peer.
        what: Part of a stage or a step, "stage" or "step" for all of it; "ours" or the peer.
        ranks: Each with a core of its own.
        stages: Of a step, in ``seconds``.
        seconds: The best of ``repetitions``; None if it could not be had.
        repetitions: Steps, or runs.
        error: In L1.
        ratio: Of attention to the residual; of the peer's seconds to ours.
        rate: Unknowns a second and core.
        iterations: Of the linear solver, a solution.
        growth: Exponent of the time over all sizes, by least squares.
        growth_last: Exponent between the two largest.
        resident_bytes: The process' largest resident set.
        speedup: Over one rank.
        note: What else there is to say.
        wanted: What this project asks for.
    """

    problem: str
    size: int
    what: str
    ranks: int = 1
    stages: int = 1
    seconds: float | None = None
    repetitions: int = 0
    error: float | None = None
    ratio: float | None = None
    rate: float | None = None
    iterations: float | None = None
    growth: float | None = None
    growth_last: float | None = None
    resident_bytes: int | None = None
    speedup: float | None = None
    note: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Report:
    """All that one run of the benchmark found.

    Attributes:
        machine: See ``bench_machine.describe``.
        rows: In the order of the table.
    """

    machine: dict[str, Any]
    rows: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"benchmark": "pde", **asdict(self)}


def run(
    groups: Sequence[str],
    levels: Sequence[int],
    sizes: Sequence[int],
    say: Callable[[str], None],
) -> Report:
    """Measure.

    Args:
        groups: Which problems; see ``GROUPS``.
        levels: Of the icosphere, in place of the problems' own; empty for these.
        sizes: Points of the peer on the circle, likewise.
        say: Told what is being done.
    """
    machine = bench_machine.describe(_LIBRARIES)
    rows: list[Row] = []
    for group in GROUPS:
        if group not in groups:
            continue
        if group == "circle":
            rows += _circle(sorted(sizes or SIZES), say)
        elif group == "growth":
            rows += _growth(sorted(levels or LEVELS), say)
        else:
            measured = _stages if group == "stage" else _steps_with_noise
            for level in levels or (LEVEL,):
                rows += measured(level, say)
    return Report(machine, rows)


def _stages(level: int, say: Callable[[str], None]) -> Iterator[Row]:
    """The parts of a stage, on one rank and on two."""
    alone = None
    for ranks in (1, 2):
        title = f"S², level {level}: a stage, {ranks} rank{'s'[: ranks - 1]}"
        say(title)
        found, problem = _sphere(level, 0.0, ranks)
        if found is None:
            yield Row(title, 0, "stage", ranks, note=problem)
            continue
        times = found["seconds"]
        for row in _parts(title, "stage", found, ranks):
            if row.what == "attention":
                ratio = times["attention"] / times["residual"]
                note = f"{ratio:.2f} of the residual"
                yield replace(row, ratio=ratio, note=note, wanted="≤ 1")
            elif row.what == "residual":
                rate = found["unknowns"] / row.seconds / ranks
                note = f"{rate / 1e6:.1f} million unknowns a second and core"
                yield replace(row, rate=rate, note=note, wanted="≥ 6 million")
            elif row.what == "stage" and alone:
                speedup = alone / row.seconds
                yield replace(row, speedup=speedup, note=f"speed-up {speedup:.2f}")
            else:
                yield row
        alone = times["step"] / found["stages"]


def _steps_with_noise(level: int, say: Callable[[str], None]) -> Iterator[Row]:
    """The parts of an implicit-explicit step."""
    title = f"S², level {level}: a step with noise"
    say(title)
    found, problem = _sphere(level, TEMPERATURE, 1)
    if found is None:
        yield Row(title, 0, "step", note=problem)
        return
    for row in _parts(title, "step", found, 1):
        if row.what == "diffusion":
            iterations, share = found["iterations"], row.seconds / found["seconds"]["step"]
            note = f"{share:.0%} of the step; {iterations:.1f} iterations a solve"
            yield replace(row, iterations=iterations, note=note)
        else:
            yield row


def _parts(title: str, what: str, found: dict[str, Any], ranks: int) -> Iterator[Row]:
    """A row for each part of a stage or a step, and one for all of it."""
    share = found["stages"] if what == "stage" else 1
    row = Row(
        title,
        found["unknowns"],
        what,
        ranks,
        found["stages"] // share,
        repetitions=found["repetitions"],
    )
    parts = dict(found["seconds"])
    step = parts.pop("step")
    for part, seconds in (*parts.items(), (what, step)):
        yield replace(row, what=part, seconds=seconds / share)


def _growth(levels: Iterable[int], say: Callable[[str], None]) -> Iterator[Row]:
    """Stages on finer and finer meshes, each in a process of its own, and its memory."""
    title = "S²: growth"
    rows, known = [], {}
    for level in levels:
        say(f"{title}, level {level}")
        found, problem = _sphere(level, 0.0, 1)
        if found is None:
            yield Row(title, 0, "stage", note=f"level {level}: {problem}")
            continue
        seconds, resident = found["seconds"]["step"] / found["stages"], found["resident_bytes"]
        known[found["unknowns"]] = seconds
        row = Row(
            title,
            found["unknowns"],
            "stage",
            seconds=seconds,
            repetitions=found["repetitions"],
            resident_bytes=resident,
            note=f"level {level}; {resident / 1e9:.2f} GB resident",
            wanted="< 6 GB" if level == 7 else "",
        )
        rows.append(row)
    if len(known) > 1:
        growth, last = (
            fit_growth(sizes, [known[size] for size in sizes], np.inf).exponent
            for sizes in (sorted(known), sorted(known)[-2:])
        )
        rows = [replace(row, growth=growth, growth_last=last) for row in rows]
        note = f"{rows[-1].note}; N^{growth:.2f} ({last:.2f})"
        wanted = ", ".join(filter(None, (rows[-1].wanted, "≤ N^1.1")))
        rows[-1] = replace(rows[-1], note=note, wanted=wanted)
    yield from rows


def _sphere(level: int, temperature: float, ranks: int) -> tuple[dict[str, Any] | None, str]:
    """The result of ``bench_pde_tasks.sphere``, or why there is none."""
    problem = bench_process.why_not_on(ranks) if ranks > 1 else ""
    if problem:
        return None, problem
    results, problem = bench_process.measure(
        f"{_TASKS}:sphere",
        {"level": level, "temperature": temperature, "seconds": _SECONDS},
        ranks=ranks,
        seconds=10 * _SECONDS,
    )
    return (results[0] if results else None), problem


def _circle(sizes: Sequence[int], say: Callable[[str], None]) -> Iterator[Row]:
    """The peer, and the fastest of ours that is as accurate."""
    title = "S¹: the same accuracy"
    say(title)
    results, problem = bench_process.measure(
        f"{_TASKS}:accuracy", {"sizes": list(sizes)}, ranks=1, seconds=60.0 * len(sizes)
    )

    def row(found: dict[str, Any], unknowns: int, **more: Any) -> Row:
        same = {key: found[key] for key in ("seconds", "repetitions", "error")}
        return Row(title, unknowns, found["what"], **same, **more)

    for size in sizes:
        found = [result for result in results if result["size"] == size]
        ours = [result for result in found if result["what"] == OURS]
        if not ours:
            note = problem or "no computation that was tried is as accurate"
            yield Row(title, size, PEER, note=note)
            continue
        best = min(ours, key=lambda result: result["seconds"])
        alike = [result for result in found if result["what"] == OWN_STEPS]
        for result in (best, *alike):
            cells, degree = result["cells"], result["degree"]
            note = f"degree {degree}, {cells} cells, {result['steps']} steps"
            yield row(result, cells * (degree + 1), note=note)
        peer = next(result for result in found if result["what"] == PEER)
        ratio = peer["seconds"] / best["seconds"]
        note = f"{peer['steps']} steps; {ratio:.1f} times our seconds"
        yield row(peer, size, ratio=ratio, note=note, wanted="≥ 100" if size == SIZES[-1] else "")
