"""The output folder of a run."""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

from meanformer.simulation.case import CaseError

_CASE = "case.toml"


def open_folder(folder: Path, resolved_case: str, comm: MPI.Comm) -> None:
    """Make the output folder and write the resolved case into it. Collective.

    A run that is there already is kept: its folder is renamed to the first free
    ``NAME.1``, ``NAME.2``, ...

    Raises:
        CaseError: On every rank, if the folder cannot be made, or holds files that no run wrote.
    """
    problem = None
    if comm.rank == 0:
        try:
            problem = _open(folder, resolved_case)
        except OSError as error:
            problem = f"output.directory: cannot write to {folder}: {error.strerror or error}"
    problem = comm.bcast(problem)
    if problem is not None:
        raise CaseError([problem])


def _open(folder: Path, resolved_case: str) -> str | None:
    if folder.exists():
        if not folder.is_dir():
            return f"output.directory: {folder} is a file; must be a folder, or not exist"
        if (folder / _CASE).exists():
            number = 1
            while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
                number += 1
            folder.rename(kept)
        elif any(folder.iterdir()):
            return (
                f"output.directory: {folder} holds files that no run wrote; "
                "must be empty, a former run, or not exist"
            )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CASE).write_text(resolved_case)
    return None
