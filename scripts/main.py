"""The command ``meanformer``."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from time import sleep

from meanformer.mpi import MPI

import meanformer
from meanformer.scripts import converge, predict, solve
from meanformer.scripts.bench import command as bench
from meanformer.scripts.reproduce import command as reproduce
from meanformer.simulation import CaseError

WRONG = 2
# mpirun passes on what a rank has said, but drops what it has not yet read when all are ended.
_SECONDS_TO_FORWARD = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    0: done; 2: the case or the command line is wrong; 3: the run stopped itself;
    4: it was stopped by a signal and can be resumed. Any other: an error, such as a full disk.
    """
    parser = argparse.ArgumentParser(
        prog="meanformer", description="Mean-field dynamics of self-attention."
    )
    parser.add_argument("--version", action="version", version=meanformer.__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    solve.add_parser(verbs)
    converge.add_parser(verbs)
    predict.add_parser(verbs)
    bench.add_parser(verbs)
    reproduce.add_parser(verbs)
    words = sys.argv[1:] if arguments is None else list(arguments)
    return _execute(parser.parse_args(words, argparse.Namespace(words=words)))


def _execute(options: argparse.Namespace) -> int:
    """Run a verb. What is wrong with a case is told once; anything else ends all ranks."""
    comm = MPI.COMM_WORLD
    try:
        return options.execute(options)
    except CaseError as error:  # on every rank
        if comm.rank == 0:
            error.source = error.source or str(getattr(options, "case", "command line"))
            print(error, file=sys.stderr)
        return WRONG
    except (Exception, KeyboardInterrupt):
        if comm.size == 1:
            raise
        # Perhaps of this rank alone: the others would wait for it for ever.
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        sleep(_SECONDS_TO_FORWARD)
        comm.Abort(1)
        raise
