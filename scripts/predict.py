"""``meanformer predict CASE``: which theorems apply to a case, and what they say of late times."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from typing import Any

from meanformer.mpi import MPI

from meanformer.scripts.command_line import add_case
from meanformer.simulation import Case
from meanformer.simulation.output.folder import on_root
from meanformer.theory import Deviation, Prediction

_DISAGREES = 3


def add_parser(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "predict",
        help="say which theorem applies to a case, and the limit it predicts",
        description="From the matrices and the start of a case, say which theorems on late times "
        "apply, each hypothesis with its number and margin, and what they predict. A theorem is "
        "not called where a hypothesis fails or holds by less than the margin asked for.",
        epilog="Exit codes: 0 done; 2 the case or the command line is wrong; 3 the run of --verify "
        "stopped itself, or ends farther from a limit than the bound that is told: it may be too "
        "short.",
    )
    add_case(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run the case (nothing is written), and say how far it ends from what is predicted",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Run the verb; return the exit code. Collective over all ranks."""
    comm = MPI.COMM_WORLD
    case: Case = comm.bcast(on_root(comm, lambda: Case.load(options.case, options.set)))
    from meanformer.simulation.predictions import predict, verify  # slow to import

    asked = predict(case)
    applying = [prediction for prediction in asked if prediction.applies]
    deviations: Sequence[Deviation | None] = [None] * len(applying)
    agrees, reason = True, None
    if options.verify:
        verification = verify(case, applying, comm, progress=not options.json)
        deviations, agrees = verification.deviations, verification.agrees
        reason = verification.result.summary["reason"]
    if comm.rank == 0:
        found = dict(zip(map(id, applying), deviations, strict=True))
        told = [_as_data(prediction, found.get(id(prediction))) for prediction in asked]
        if options.json:
            print(json.dumps({"case": case.title, "reason": reason, "theorems": told}, indent=2))
        else:
            _print(case.title, told, reason, options.verify)
    return 0 if agrees else _DISAGREES


def _as_data(prediction: Prediction, deviation: Deviation | None) -> dict[str, Any]:
    """A prediction as JSON."""
    return {
        "theorem": prediction.theorem.name,
        "source": prediction.theorem.source,
        "applies": prediction.applies,
        "limit": prediction.limit,
        "hypotheses": [
            {
                "statement": each.statement,
                "verdict": each.verdict,
                "number": _finite(each.number),
                "margin": _finite(each.margin),
                "least": each.least,
            }
            for each in prediction.hypotheses
        ],
        "deviation": None
        if deviation is None
        else {
            "measured": deviation.measured,
            "number": _finite(deviation.number),
            "bound": deviation.bound,
            "agrees": deviation.agrees,
        },
    }


def _finite(number: float | None) -> float | None:
    """JSON knows no infinity."""
    return float(number) if number is not None and math.isfinite(number) else None


def _print(title: str, told: list[dict[str, Any]], reason: str | None, verified: bool) -> None:
    """Tell those that apply with all their numbers, and of the others what keeps them from it."""
    print(title)
    for theorem in filter(lambda one: one["applies"], told):
        print(f"\n{theorem['theorem']} ({theorem['source']}): applies")
        print(f"  {theorem['limit']}")
        for hypothesis in theorem["hypotheses"]:
            print(f"  + {_line(hypothesis)}")
        if verified:
            print(f"  {_outcome(theorem['deviation'])}")
    others = [theorem for theorem in told if not theorem["applies"]]
    if len(others) == len(told):
        print("\nno theorem applies")
    for theorem in others:
        print(f"\n{theorem['theorem']} ({theorem['source']}): does not apply")
        for hypothesis in theorem["hypotheses"]:
            if hypothesis["verdict"] != "holds":
                print(f"  - {hypothesis['verdict']}: {_line(hypothesis)}")
    if reason is not None:
        print(f"\nthe run did not reach its end: {reason}")


def _line(hypothesis: dict[str, Any]) -> str:
    """A hypothesis with its number."""
    number = hypothesis["number"]
    if number is None:
        return str(hypothesis["statement"])
    margin = f"margin {hypothesis['margin']:.3g}" if hypothesis["margin"] is not None else ""
    return f"{hypothesis['statement']}: {number:.6g} ({margin}, asked for {hypothesis['least']:g})"


def _outcome(deviation: dict[str, Any] | None) -> str:
    """What a run shows of a limit."""
    if deviation is None:
        return "run: shows nothing of it"
    word = "agrees" if deviation["agrees"] else "does not agree (yet)"
    number = "not finite" if deviation["number"] is None else f"{deviation['number']:.3g}"
    return f"run: {word}: {deviation['measured']}: {number}, up to {deviation['bound']:g}"
