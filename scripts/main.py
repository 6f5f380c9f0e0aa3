"""The command ``meanformer``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import meanformer
from meanformer.scripts import bench, converge, solve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    0: done; 2: the case or the command line is wrong; 3: the run stopped itself;
    4: it was stopped by a signal and can be resumed.
    """
    parser = argparse.ArgumentParser(
        prog="meanformer", description="Mean-field dynamics of self-attention."
    )
    parser.add_argument("--version", action="version", version=meanformer.__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    solve.add_parser(verbs)
    converge.add_parser(verbs)
    bench.add_parser(verbs)
    options = parser.parse_args(arguments)
    code: int = options.execute(options)
    return code
