"""Checkpoints: the state of a run in numbered slots, from which it goes on on any ranks.

``checkpoint/NNNN/state.npz`` holds plain arrays in global order; ``checkpoint/NNNN/slot.json`` has
its hash. ``checkpoint/latest.json``, a copy of the last good slot's, is replaced only when that
slot is safely on the disk: a run killed at any moment leaves the former slot or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Indices
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.output.folder import on_root, replace_file
from meanformer.simulation.state import State

_FOLDER, _LATEST, _SLOT, _STATE = "checkpoint", "latest.json", "slot.json", "state.npz"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run was, independent of the number of ranks.

    Attributes:
        samples: Samples taken.
        sampled: Time of the last one.
        arrays: For each solver NAME its ``arrays`` as ``NAME.entry``, rows in the order of their
            numbers.
    """

    samples: int
    sampled: float
    arrays: dict[str, npt.NDArray[Any]]

    @property
    def time(self) -> float:
        """Time that every solver had reached."""
        return min(float(entry) for key, entry in self.arrays.items() if key.endswith(".time"))


def take(state: State, samples: int, sampled: float) -> Checkpoint | None:
    """The checkpoint of a state, on rank 0; None elsewhere. Collective."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, solver in state.measures.items():
        gathered = state.comm.gather((solver.numbers, solver.arrays()))
        if gathered is None:
            continue
        order = np.argsort(np.concatenate([numbers for numbers, _ in gathered]))
        for entry, array in gathered[0][1].items():
            if array.ndim:
                array = np.concatenate([share[entry] for _, share in gathered])[order]
            arrays[f"{name}.{entry}"] = array
    return Checkpoint(samples, sampled, arrays) if state.comm.rank == 0 else None


def restore(state: State, checkpoint: Checkpoint | None) -> None:
    """Bring the solvers to where they were, on any ranks; ``checkpoint`` is rank 0's. Collective.

    Raises:
        CaseError: On every rank, if the checkpoint is not one of these solvers.
    """
    comm = state.comm
    for name, solver in state.measures.items():
        everyone = comm.gather(solver.numbers)
        shares = on_root(comm, partial(_deal, checkpoint, name, solver.arrays(), everyone))
        solver.restore(comm.scatter(shares))


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into a new slot of a run's folder and drop all but the last two.

    Raises:
        OSError: If it cannot be written; the former slots are as they were.
    """
    slots = folder / _FOLDER
    slots.mkdir(exist_ok=True)
    latest = slots / _LATEST
    number = 1 + (int(json.loads(latest.read_bytes())["slot"]) if latest.exists() else 0)
    slot = slots / f"{number:04d}"
    shutil.rmtree(slot, ignore_errors=True)  # what a killed run began
    try:
        _fill(slot, checkpoint)
    except OSError:
        shutil.rmtree(slot, ignore_errors=True)
        raise
    replace_file(latest, (slot / _SLOT).read_bytes())
    _sync_folder(slots)
    for other in slots.iterdir():
        if other.is_dir() and other.name.isdecimal():
            if int(other.name) not in (number - 1, number):
                shutil.rmtree(other, ignore_errors=True)


def read(folder: Path) -> Checkpoint:
    """Read the last good checkpoint of a run's folder.

    Raises:
        CaseError: If there is none, or it is damaged.
    """
    slots = folder / _FOLDER
    if not (slots / _LATEST).exists():
        why = f"{_FOLDER}/{_LATEST} is missing; run without --resume to begin anew"
        raise CaseError([f"output.directory: {folder} holds no checkpoint to go on from: {why}"])
    try:
        record = json.loads((slots / _LATEST).read_bytes())
        path = slots / record["slot"] / _STATE
        if _hash(path) != record["sha256"]:
            raise ValueError(f"{path} is not what was written: its SHA-256 differs")
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        samples, sampled = int(arrays.pop("run.samples")), float(arrays.pop("run.sampled"))
        return Checkpoint(samples, sampled, arrays)
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        cure = f"{_SLOT} of another slot there, copied to {_LATEST}, goes on from that one"
        raise CaseError([f"checkpoint: cannot go on from {slots}: {error}; {cure}"]) from None


def _deal(
    checkpoint: Checkpoint | None,
    name: str,
    here: Mapping[str, npt.NDArray[Any]],
    everyone: Sequence[Indices] | None,
) -> list[dict[str, npt.NDArray[Any]]]:
    """Each rank's arrays of a solver, with the shapes of rows that are ``here`` on rank 0."""
    assert checkpoint is not None and everyone is not None
    count, found = sum(map(len, everyone)), {}
    for entry, array in here.items():
        key, expected = f"{name}.{entry}", (count, *array.shape[1:]) if array.ndim else ()
        found[entry] = checkpoint.arrays.get(key, np.empty(0))
        if found[entry].shape != expected:
            shape = found[entry].shape
            raise CaseError([f"checkpoint: {key} has shape {shape}; {expected} is needed to go on"])
    return [
        {entry: array[numbers] if array.ndim else array for entry, array in found.items()}
        for numbers in everyone
    ]


def _fill(slot: Path, checkpoint: Checkpoint) -> None:
    """Write a slot, and have it on the disk."""
    slot.mkdir()
    samples, sampled = np.array(checkpoint.samples), np.array(checkpoint.sampled)
    arrays = {"run.samples": samples, "run.sampled": sampled, **checkpoint.arrays}
    with (slot / _STATE).open("wb") as file:
        # np.savez has no allow_pickle in older releases.
        with ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.save(entry, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    record = {
        "slot": slot.name,
        "sha256": _hash(slot / _STATE),
        "time": checkpoint.time,
        "samples": checkpoint.samples,
    }
    replace_file(slot / _SLOT, (json.dumps(record, indent=2) + "\n").encode())
    for folder in (slot, slot.parent, slot.parent.parent):
        _sync_folder(folder)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
