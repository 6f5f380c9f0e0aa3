"""The output folder of a run, and how rank 0 works in it for all."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from meanformer.mpi import MPI

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError

#: The case as resolved.
CASE_FILE = "case.toml"

# What file systems say that lock no folders: there, nothing is locked.
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)

T = TypeVar("T")


def on_root(comm: MPI.Intracomm, action: Callable[[], T]) -> T | None:
    """Do something on rank 0 alone; what is wrong is an error on all ranks. Collective.

    Returns:
        What ``action`` returns on rank 0, None elsewhere.

    Raises:
        CaseError, OSError: On every rank, if ``action`` raises it.
    """
    return on_each(comm, action if comm.rank == 0 else lambda: None)


def on_each(comm: MPI.Intracomm, action: Callable[[], T]) -> T | None:
    """Do something with files on every rank, and wait until all have done it. Collective.

    Raises:
        CaseError, OSError: On every rank, if ``action`` raises it on any.
    """
    result, problem = None, None
    try:
        result = action()
    except (CaseError, OSError) as error:
        problem = error
    first = next(filter(None, comm.allgather(problem)), None)
    if first is not None:
        raise problem or first
    return result


def replace_file(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a whole file that is the former or the new one at any moment a run may be killed.

    Args:
        path: The file.
        content: All of it.
        durable: Have it on the disk when this returns, so that it outlives a power failure too.

    Raises:
        OSError: If it cannot be written; then it is the former one.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder. The kernel frees it when the process ends, however that is.

    Raises:
        CaseError: If a run holds it, or the folder cannot be opened.
    """
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _going_on(folder) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        # Another run may have renamed it just now: what has its name is that run's.
        if not (folder.exists() and os.path.samestat(os.fstat(number), os.stat(folder))):
            raise _going_on(folder)
        yield
    finally:
        os.close(number)


@contextmanager
def new_folder(folder: Path, case: Case) -> Iterator[None]:
    """Make the output folder, hold its lock, and write the resolved case into it.

    A run that is there already is kept: its folder is renamed to the first free
    ``NAME.1``, ``NAME.2``, ... Nothing is changed in a folder whose lock is not held.

    Raises:
        CaseError: If the folder cannot be made, holds files that no run wrote, or a run that is
            going on.
    """
    if folder.exists() and not folder.is_dir():
        raise CaseError([f"output.directory: {folder} is a file; must be a folder, or not exist"])
    try:
        if folder.exists():
            with locked(folder):
                if _is_of_a_run(folder):
                    _rename(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    with locked(folder):
        if _is_of_a_run(folder):  # which began just now, and may have ended
            raise _going_on(folder)
        write_case(folder, case)
        yield


def write_case(folder: Path, case: Case) -> None:
    """Write ``case.toml``: the case with every default.

    Raises:
        CaseError: If it cannot be written.
    """
    try:
        replace_file(folder / CASE_FILE, case.to_toml().encode())
    except OSError as error:
        raise _unwritable(folder, error) from None


def _is_of_a_run(folder: Path) -> bool:
    """Whether a run has written into a folder; no if it is empty.

    Raises:
        CaseError: If something else has.
    """
    if (folder / CASE_FILE).exists():
        return True
    if any(folder.iterdir()):
        need = "must be empty, a former run, or not exist"
        raise CaseError([f"output.directory: {folder} holds files that no run wrote; {need}"])
    return False


def _rename(folder: Path) -> None:
    """Give the folder of a former run the first free name."""
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)


def _going_on(folder: Path) -> CaseError:
    return CaseError([f"output.directory: a run is going on in {folder}; must be another folder"])


def _unwritable(folder: Path, error: OSError) -> CaseError:
    return CaseError([f"output.directory: cannot write to {folder}: {error.strerror or error}"])
