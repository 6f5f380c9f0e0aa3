"""Checkpoints and resuming: an interrupted run that goes on is the run that was not interrupted."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from mpi4py import MPI

import numpy as np
import pytest
import pyvista as pv

import meanformer
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver
from meanformer.scripts.main import main
from meanformer.simulation import Case, CaseError, run
from meanformer.simulation.output import checkpoint, checkpoints
from meanformer.simulation.output.checkpoint import Checkpoint

WORLD = MPI.COMM_WORLD
TABLES = ("pde", "particles", "compare")
TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.2], [0.0, 0.3, 0.5]]
LOW = [[0.5, 0.2, -0.1], [0.3, -0.4, 0.8]]
# Changes between two samples, between two steps, and at a sample.
LAYERS = [
    {"duration": 0.17, "query": LOW, "key": LOW, "value": TURN},
    {"duration": 0.13, "heads": [{"value": -1.0}, {"query": TURN}]},
    {"duration": 0.08},
    {"duration": 9.0, "value": -1.0},
]
MODELS = {
    "layers": {"layers": LAYERS},
    "random values": {"random_values": {"seed": 1, "duration": 0.11}},
    "sinkhorn": {"law": "sinkhorn"},
    "layers and a drift": {"layers": LAYERS, "drift": {"linear": TURN}},
    "sinkhorn of tilted layers": {
        "law": "sinkhorn",
        "layers": [{"duration": 0.17, "query": TURN, "value": TURN}, {"duration": 1.0}],
    },
}


def case(
    end=0.6,
    beta=2.0,
    metrics=("harmonic", "w1"),
    number=60,
    model=None,
    integrator="adaptive",
    **output,
):
    output.setdefault("fields", ["none"])
    attention = {"beta": beta} | (model or {})
    drift = {"drift": attention.pop("drift")} if "drift" in attention else {}
    cap = {"kind": "von-mises-fisher", "mean": [0.0, 0.6, 0.8], "concentration": 4.0}
    return Case.from_dict(
        {
            "attention": attention,
            **drift,
            "initial": cap,
            "pde": {"refinement": 1, "degree": 1},
            "particles": {"number": number, "integrator": integrator},
            "compare": {"metrics": list(metrics)},
            "time": {"end": end, "sample_every": 0.1, "step": 0.05},
            "output": output,
        }
    )


def texts(folder):
    return {stem: (folder / f"{stem}.csv").read_bytes() for stem in TABLES}


def latest(folder):
    return json.loads((folder / "checkpoint" / "latest.json").read_text())


def slots(folder):
    return sorted(path.name for path in (folder / "checkpoint").iterdir() if path.is_dir())


@contextmanager
def after_steps(solver, count, action):
    """Do something after a number of steps of a kind of solver."""
    original, taken = solver.step, 0

    def step(self, until):
        nonlocal taken
        original(self, until)
        taken += 1
        if taken == count:
            action(self)

    solver.step = step
    try:
        yield
    finally:
        solver.step = original


def signal_on(rank, number=signal.SIGTERM):
    def action(solver):
        if rank == WORLD.rank:
            signal.raise_signal(number)

    return action


def stay(result, former):
    """The result's columns begin with those of the former."""
    for stem in TABLES:
        for name, values in getattr(former, stem).items():
            assert np.array_equal(
                getattr(result, stem)[name][: len(values)], values, equal_nan=True
            )


class TestGoingOn:
    @pytest.mark.mpi
    # The density is ahead; tokens are, between two samples; replicas are, some ahead of others.
    @pytest.mark.parametrize(
        "solver, count", [(DensitySolver, 5), (TokenSolver, 37), (TokenSolver, 45)]
    )
    def test_is_bit_for_bit_the_run_without_a_pause(self, solver, count, shared_tmp_path):
        whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
        uninterrupted = run(case(fields=["vtu", "vtx"]), whole)
        with after_steps(solver, count, signal_on(WORLD.size - 1)):
            first = run(case(fields=["vtu", "vtx"]), parts)
        assert first.status == first.summary["status"] == "interrupted"
        assert first.summary["reason"] == "SIGTERM received"
        assert first.summary["time"] == pytest.approx(0.2)
        result = run(case(fields=["vtu", "vtx"]), parts, resume=True)
        assert result.status == "done"
        assert result.summary["resumed_at"] == first.summary["time"]
        assert texts(parts) == texts(whole)
        for steps in ("steps", "refused_steps"):
            assert result.summary[steps] == uninterrupted.summary[steps]
        assert result.summary["final"] == uninterrupted.summary["final"]
        for stem in TABLES:
            columns, expected = getattr(result, stem), getattr(uninterrupted, stem)
            assert list(columns) == list(expected)
            assert all(np.array_equal(columns[n], expected[n], equal_nan=True) for n in columns)
        for series in ("density", "tokens"):
            assert (parts / f"{series}.pvd").read_bytes() == (whole / f"{series}.pvd").read_bytes()
            of_parts, of_whole = (
                {path.name: path.read_bytes() for path in (folder / series).iterdir()}
                for folder in (parts, whole)
            )
            assert of_parts == of_whole
        assert (parts / "density-2.bp").exists() and not (parts / "density-3.bp").exists()

    @pytest.mark.parametrize("solver, count", [(DensitySolver, 4), (TokenSolver, 35)])
    @pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
    def test_is_bit_for_bit_the_same_for_every_model(self, model, solver, count, shared_tmp_path):
        wanted = case(0.4, metrics=["harmonic"], model=model)
        whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
        uninterrupted = run(wanted, whole)
        assert uninterrupted.status == "done"
        with after_steps(solver, count, signal_on(WORLD.size - 1)):
            assert run(wanted, parts).status == "interrupted"
        result = run(wanted, parts, resume=True)
        assert 0 < result.summary["resumed_at"] < 0.4
        assert texts(parts) == texts(whole)
        assert result.summary["steps"] == uninterrupted.summary["steps"]

    def test_with_more_layers_of_random_values_keeps_the_former_ones(self, tmp_path):
        model = MODELS["random values"]
        run(case(0.2, metrics=["harmonic"], model=model), tmp_path / "parts")
        run(case(0.4, metrics=["harmonic"], model=model), tmp_path / "parts", resume=True)
        run(case(0.4, metrics=["harmonic"], model=model), tmp_path / "whole")
        assert texts(tmp_path / "parts") == texts(tmp_path / "whole")

    @pytest.mark.mpi
    def test_on_other_ranks_agrees_to_round_off(self, shared_tmp_path):
        former, longer = case(0.2, metrics=["harmonic"]), case(0.4, metrics=["harmonic"])
        folder, columns = shared_tmp_path / "run", None
        if WORLD.rank == 0:
            run(former, folder, MPI.COMM_SELF)
            shutil.copytree(folder, shared_tmp_path / "alone")
            alone = run(longer, shared_tmp_path / "alone", MPI.COMM_SELF, resume=True)
            columns = {stem: getattr(alone, stem) for stem in TABLES}
        columns = WORLD.bcast(columns)
        result = run(longer, folder, resume=True)
        assert result.summary["ranks"] == WORLD.size
        for stem in TABLES:
            for name, values in getattr(result, stem).items():
                expected = columns[stem][name]
                assert np.allclose(values, expected, rtol=1e-12, atol=1e-12, equal_nan=True), name

    @pytest.mark.mpi
    def test_on_other_ranks_fields_are_one_series(self, shared_tmp_path):
        whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
        run(case(0.4, metrics=["harmonic"], fields=["vtu"]), whole)
        run(case(0.2, metrics=["harmonic"], fields=["vtu"]), parts)
        if WORLD.rank == 0:
            # What a run may have written after its checkpoint.
            pieces = sorted((parts / "density").glob("00002*"))
            assert len(pieces) == 1 + WORLD.size
            for path in pieces:
                shutil.copy(path, path.with_name(path.name.replace("00002", "00003")))
            longer = case(0.4, metrics=["harmonic"], fields=["vtu"])
            run(longer, parts, MPI.COMM_SELF, resume=True)
            names = sorted(path.name for path in (parts / "density").glob("*.vtu"))
            before = [f"{n:05d}_{rank}.vtu" for n in range(3) for rank in range(WORLD.size)]
            assert names == [*before, "00003_0.vtu", "00004_0.vtu"]
            readers = [pv.get_reader(folder / "density.pvd") for folder in (whole, parts)]
            assert readers[0].time_values == readers[1].time_values == [0, 0.1, 0.2, 0.3, 0.4]
            for time in readers[0].time_values:
                grids = []
                for reader in readers:
                    reader.set_active_time_value(time)
                    grids.append(reader.read()[0])
                expected, found = (np.sort(grid["density"]) for grid in grids)
                assert np.allclose(found, expected, rtol=1e-11, atol=1e-12)

    @pytest.mark.mpi
    def test_to_other_ranks_and_back(self, shared_tmp_path):
        # Rows are in global order: nothing but their owner changes.
        run(case(0.2), shared_tmp_path)
        before = WORLD.bcast(checkpoint.read(shared_tmp_path) if WORLD.rank == 0 else None)
        if WORLD.rank == 0:
            state = run(case(0.2), shared_tmp_path, MPI.COMM_SELF, resume=True).state
            after = checkpoint.take(state, before.samples, before.sampled)
            assert after.arrays.keys() == before.arrays.keys()
            assert all(np.array_equal(after.arrays[k], before.arrays[k]) for k in before.arrays)

    def test_to_a_later_end_keeps_the_former_one(self, tmp_path):
        first = run(case(0.25), tmp_path / "run")
        result = run(case(0.5), tmp_path / "run", resume=True)
        assert result.pde["t"].tolist() == [0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5]
        stay(result, first)
        stored = Case.load(tmp_path / "run" / "case.toml")
        assert stored.time.end == 0.5

    def test_of_a_finished_run_is_done_at_once(self, tmp_path):
        first = run(case(0.3, fields=["vtu", "vtx"]), tmp_path)
        rows, before = texts(tmp_path), latest(tmp_path)
        result = run(case(0.3, fields=["vtu", "vtx"], directory="elsewhere"), tmp_path, resume=True)
        assert result.status == "done"
        assert result.summary["steps"] == first.summary["steps"]
        assert texts(tmp_path) == rows and latest(tmp_path) == before
        assert not (tmp_path / "density-2.bp").exists()

    def test_cuts_what_came_after_the_checkpoint(self, tmp_path):
        run(case(0.3), tmp_path)
        rows = texts(tmp_path)
        for stem in TABLES:
            with (tmp_path / f"{stem}.csv").open("ab") as file:
                file.write(rows[stem].splitlines(keepends=True)[-1] + b"0.5,0.99")
        run(case(0.3), tmp_path, resume=True)
        assert texts(tmp_path) == rows

    def test_with_other_distances_leaves_the_former_ones_empty(self, tmp_path):
        first = run(case(0.2, metrics=["harmonic"]), tmp_path)
        result = run(case(0.4, metrics=["w1"]), tmp_path, resume=True)
        assert result.status == "done"
        compare = result.compare
        assert np.array_equal(compare["harmonic"][:3], first.compare["harmonic"])
        assert np.all(np.isnan(compare["harmonic"][3:])) and np.all(np.isnan(compare["w1"][:3]))
        assert np.all(compare["w1"][3:] > 0)

    def test_needs_an_output_folder(self):
        with pytest.raises(ValueError, match="resume"):
            run(case(), None, resume=True)


class TestRefused:
    @pytest.fixture
    def folder(self, tmp_path):
        run(case(0.2), tmp_path / "run")
        return tmp_path / "run"

    def refused(self, folder, wanted=None):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(CaseError) as caught:
            run(wanted or case(0.4), folder, resume=True)
        assert before == {path: path.read_bytes() for path in before}
        return str(caught.value)

    def test_another_case(self, folder):
        message = self.refused(folder, case(0.4, beta=3.0, number=50, directory="elsewhere"))
        assert "attention.beta: 3.0; must be 2.0" in message
        assert "particles.number: 50; must be 60" in message
        assert "time.end" not in message and "output" not in message

    def test_another_layer(self, tmp_path):
        run(case(0.2, model=MODELS["layers"]), tmp_path / "run")
        layers = [*LAYERS[:2], {"duration": 0.1}, LAYERS[3]]
        message = self.refused(tmp_path / "run", case(0.4, model={"layers": layers}))
        assert "attention.layers[2].duration: 0.1; must be 0.08" in message
        assert message.count("must be") == 1

    def test_a_distance_that_needs_systems_from_the_start(self, tmp_path):
        run(case(0.2, metrics=["w1"]), tmp_path / "run")
        message = self.refused(tmp_path / "run", case(0.4, metrics=["w1", "harmonic"]))
        assert "replica_0.points" in message and "is needed to go on" in message

    def test_a_damaged_state(self, folder):
        path = folder / "checkpoint" / "0001" / "state.npz"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert "SHA-256" in self.refused(folder)

    @pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"slot": "0009", "sha256": ""}'])
    def test_a_damaged_pointer(self, folder, content):
        (folder / "checkpoint" / "latest.json").write_bytes(content)
        assert "cannot go on from" in self.refused(folder)

    def test_a_state_of_other_solvers(self, folder):
        found = checkpoint.read(folder)
        found.arrays["tokens.points"] = found.arrays["tokens.points"][:-1]
        checkpoint.write(folder, found)
        assert "tokens.points has shape (59, 3)" in self.refused(folder)

    def test_pickled_objects(self, folder):
        path = folder / "checkpoint" / "0001" / "state.npz"
        np.savez(path, anything=np.array([{}]), allow_pickle=True)
        record = latest(folder) | {"sha256": checkpoint._hash(path)}
        (folder / "checkpoint" / "latest.json").write_text(json.dumps(record))
        assert "allow_pickle=False" in self.refused(folder)

    def test_too_few_rows(self, folder):
        rows = (folder / "pde.csv").read_bytes().splitlines(keepends=True)
        (folder / "pde.csv").write_bytes(b"".join(rows[:-1]))
        assert "pde.csv: cannot go on from it: it has 2 rows, the checkpoint 3" in self.refused(
            folder
        )

    def test_an_end_between_the_solvers(self, tmp_path):
        with after_steps(DensitySolver, 3, signal_on(0)):
            run(case(), tmp_path)
        assert latest(tmp_path)["time"] == 0.1
        message = self.refused(tmp_path, case(0.11))
        assert "time.end: 0.11 is not allowed; must be at least 0.15" in message

    @pytest.mark.parametrize("missing", ["checkpoint/latest.json", "case.toml"])
    def test_on_the_command_line(self, folder, missing, capfd):
        path = folder / "case.toml"
        arguments = ["solve", str(path), "--output", str(folder), "--resume"]
        if missing == "case.toml":
            path = path.rename(folder.parent / "moved.toml")
            arguments[1] = str(path)
        else:
            (folder / missing).unlink()
        assert main(arguments) == 2
        assert f"{missing} is missing" in capfd.readouterr().err


class TestSlots:
    @pytest.mark.parametrize(
        "every, times", [(0.0, [0.6]), (0.25, [0.0, 0.3, 0.5, 0.6]), (0.01, np.arange(7) / 10)]
    )
    def test_when_they_are_written(self, every, times, tmp_path, monkeypatch):
        written, write = [], checkpoint.write
        monkeypatch.setattr(
            checkpoints, "write", lambda folder, one: (written.append(one.time), write(folder, one))
        )
        run(case(checkpoint_every=every), tmp_path)
        assert np.allclose(written, times)
        count = len(written)
        assert slots(tmp_path) == [f"{k:04d}" for k in (count - 1, count) if k]
        assert latest(tmp_path)["slot"] == slots(tmp_path)[-1]
        assert latest(tmp_path)["samples"] == 7

    @pytest.mark.parametrize("moment", range(1, 11))
    def test_one_is_good_at_any_moment(self, moment, tmp_path, monkeypatch):
        class Killed(BaseException):
            pass

        def at(k):
            return Checkpoint(k, 0.1 * k, {"a.time": np.array(0.1 * k), "a.points": np.full(9, k)})

        calls = 0

        def killing(function):
            def call(*arguments):
                nonlocal calls
                calls += 1
                if calls == moment:
                    raise Killed
                return function(*arguments)

            return call

        checkpoint.write(tmp_path, at(1))
        for name in ("mkdir", "fsync", "replace", "rmdir"):
            monkeypatch.setattr(os, name, killing(getattr(os, name)))
        with pytest.raises(Killed):
            checkpoint.write(tmp_path, at(2))
            checkpoint.write(tmp_path, at(3))
        monkeypatch.undo()
        found = checkpoint.read(tmp_path)
        assert found.samples in (1, 2, 3)
        assert np.all(found.arrays["a.points"] == found.samples)
        checkpoint.write(tmp_path, at(4))
        assert checkpoint.read(tmp_path).samples == 4
        assert len(slots(tmp_path)) == 2

    def test_the_one_before_the_last_can_be_chosen(self, tmp_path):
        run(case(0.4, checkpoint_every=0.1), tmp_path)
        rows = texts(tmp_path)
        folder = tmp_path / "checkpoint"
        (folder / "0005" / "state.npz").write_bytes(b"")
        (folder / "latest.json").write_bytes((folder / "0004" / "slot.json").read_bytes())
        run(case(0.4), tmp_path, resume=True)
        assert texts(tmp_path) == rows

    def test_one_that_cannot_be_written_ends_the_run(self, tmp_path, monkeypatch):
        def full(*arguments, **entries):
            raise OSError(28, "No space left on device")

        with after_steps(DensitySolver, 4, lambda _: monkeypatch.setattr(np, "save", full)):
            with pytest.raises(OSError, match="No space left") as caught:
                run(case(0.3, checkpoint_every=0.1), tmp_path / "run")
        assert caught.value.__notes__ == ["no checkpoint at t = 0.2; former ones are kept"]
        assert latest(tmp_path / "run")["samples"] == 2
        assert slots(tmp_path / "run") == ["0001", "0002"]
        monkeypatch.undo()
        assert run(case(0.3), tmp_path / "run", resume=True).status == "done"
        run(case(0.3), tmp_path / "whole")
        assert texts(tmp_path / "run") == texts(tmp_path / "whole")

    @pytest.mark.mpi
    @pytest.mark.parametrize("every, by_clock", [(None, True), (10.0, True), (0.0, False)])
    def test_are_written_every_two_minutes(self, every, by_clock, shared_tmp_path, monkeypatch):
        written, write = [], checkpoint.write
        monkeypatch.setattr(
            checkpoints, "write", lambda folder, one: (written.append(one), write(folder, one))
        )
        # Twenty seconds from one look at the clock to the next; on other ranks it goes faster.
        clock = itertools.count(0, 20 + WORLD.rank)
        monkeypatch.setattr(checkpoints, "monotonic", clock.__next__)
        output = {} if every is None else {"checkpoint_every": every}
        result = run(case(integrator="rk4", **output), shared_tmp_path)
        if WORLD.rank == 0:
            # It is looked at after every step, and when a checkpoint is written.
            steps = sum(result.summary["steps"].values())
            at_samples = 1 if every != 10.0 else 2
            assert len(written) == (steps // 6 if by_clock else 0) + at_samples

    # The last one is older by a step of the replicas, before a sample; by one of the tokens; by
    # one of the replicas.
    @pytest.mark.parametrize(
        "solver, count",
        [
            (DensitySolver, 5),
            (TokenSolver, 37),
            pytest.param(TokenSolver, 45, marks=pytest.mark.mpi),
        ],
    )
    def test_written_between_samples_are_good(self, solver, count, shared_tmp_path, monkeypatch):
        class Crash(Exception):
            pass

        def crash(_):
            raise Crash

        whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
        uninterrupted = run(case(), whole)
        with monkeypatch.context() as patch, after_steps(solver, count, crash):
            patch.setattr(checkpoints, "_SECONDS_BETWEEN", 0.0)
            with pytest.raises(Crash):
                run(case(), parts)
        result = run(case(), parts, resume=True)
        assert result.summary["resumed_at"] == pytest.approx(0.2)
        assert texts(parts) == texts(whole)
        assert result.summary["steps"] == uninterrupted.summary["steps"]

    @pytest.mark.mpi
    def test_a_run_that_stops_itself_keeps_the_last_good_one(self, shared_tmp_path):
        def spoil(solver):
            solver.points[:1] = np.nan

        whole, parts = shared_tmp_path / "whole", shared_tmp_path / "parts"
        run(case(), whole)
        with after_steps(TokenSolver, 60, spoil):
            stopped = run(case(checkpoint_every=0.2), parts)
        assert stopped.status == "stopped"
        assert latest(parts)["time"] == 0.2
        assert run(case(), parts, resume=True).status == "done"
        assert texts(parts) == texts(whole)


class TestSignals:
    def test_under_nohup_a_run_outlives_its_terminal(self, tmp_path):
        former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with after_steps(DensitySolver, 1, signal_on(0, signal.SIGHUP)):
                assert run(case(0.2), tmp_path / "run").status == "done"
        finally:
            signal.signal(signal.SIGHUP, former)

    @pytest.mark.mpi
    @pytest.mark.parametrize(
        "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]
    )
    def test_have_their_former_meaning_afterwards(self, number, shared_tmp_path):
        def note(*_):
            pass

        former = signal.signal(number, note)
        try:
            with after_steps(DensitySolver, 1, signal_on(0, number)):
                result = run(case(), shared_tmp_path)
            assert signal.getsignal(number) is note
        finally:
            signal.signal(number, former)
        assert result.status == "interrupted"
        assert result.summary["reason"] == f"{signal.Signals(number).name} received"

    @pytest.mark.mpi
    @pytest.mark.parametrize(
        "sent, name",
        [
            ([signal.SIGTERM, signal.SIGINT], "SIGINT"),
            ([signal.SIGTERM, signal.SIGUSR1], "SIGUSR1"),
            ([signal.SIGUSR1, signal.SIGTERM], "SIGUSR1"),
            ([signal.SIGTERM, signal.SIGHUP], "SIGHUP"),
        ],
    )
    def test_the_one_that_is_named_is_the_users(self, sent, name, shared_tmp_path):
        # mpirun tells other ranks SIGTERM.
        def action(solver):
            for each in sent if WORLD.rank == WORLD.size - 1 else sent[:1]:
                signal.raise_signal(each)

        with after_steps(DensitySolver, 1, action):
            result = run(case(), shared_tmp_path)
        assert result.summary["reason"] == f"{name} received"

    @pytest.mark.mpi
    def test_are_confirmed_at_once(self, shared_tmp_path, capfd):
        told = []

        def action(solver):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            told.append(capfd.readouterr().err)

        with after_steps(TokenSolver, 3, action):
            run(case(), shared_tmp_path)
        if WORLD.rank == 0:
            assert told[0].count("SIGTERM received: the run ends after the present step") == 1
        assert told[0].count("received") == (WORLD.rank == 0)

    def test_are_left_alone_without_output(self):
        seen = []
        before = signal.getsignal(signal.SIGTERM)
        with after_steps(DensitySolver, 1, lambda _: seen.append(signal.getsignal(signal.SIGTERM))):
            run(case(0.1))
        assert seen == [before]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 4), (signal.SIGKILL, -9)])
def test_a_killed_process(number, code, tmp_path):
    wanted = case(1.0, checkpoint_every=0.1)
    path, folder = tmp_path / "case.toml", tmp_path / "run"
    path.write_text(wanted.to_toml())
    arguments = ["solve", str(path), "--output", str(folder)]
    script = "from meanformer.scripts.main import main; raise SystemExit(main())"
    own = ("PMIX_", "OMPI_", "PRTE_")
    environment = {key: text for key, text in os.environ.items() if not key.startswith(own)}
    places = [str(Path(meanformer.__file__).parent.parent), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env=environment, stderr=subprocess.PIPE
    ) as process:
        until = monotonic() + 60
        while not (folder / "checkpoint" / "0003").exists():
            assert process.poll() is None and monotonic() < until
            sleep(0.002)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code
    assert ("--resume" in errors) == (number == signal.SIGTERM)
    assert main([*arguments, "--resume"]) == 0
    run(wanted, tmp_path / "whole")
    assert texts(folder) == texts(tmp_path / "whole")
