"""What attention refuses, and that all ranks hear of it."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, AttentionDomainError, Euclidean, Sphere

LAWS = ["softmax", "unnormalised"]
POINTS = np.eye(3)
ONES = np.full(3, 1 / 3)


class TestConstruction:
    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            ({"law": "hard"}, "law"),
            ({"law": None}, "law"),
            ({"beta": np.nan}, "beta"),
            ({"beta": np.inf}, "beta"),
            ({"beta": "4"}, "beta"),
            ({"query": np.ones(3)}, "query"),
            ({"key": np.ones((2, 3))}, "key"),
            ({"value": np.ones((3, 3, 2))}, "value"),
            ({"query": np.ones((3, 3, 3))}, "query"),
            ({"query": np.inf}, "query"),
            ({"key": [[1.0, np.nan], [0.0, 1.0]]}, "key"),
            ({"value": -np.inf}, "value"),
        ],
    )
    def test_names_what_is_wrong(self, wrong, name):
        with pytest.raises(ValueError, match=name):
            Attention(**wrong)

    @pytest.mark.parametrize("name", ["query", "key", "value"])
    def test_matrices_must_fit_the_space(self, name):
        attention = Attention(**{name: np.eye(2)})
        with pytest.raises(ValueError, match=name):
            attention.velocity(POINTS, POINTS, ONES, Sphere(3))


class TestArguments:
    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("name", ["targets", "points"])
    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            (np.eye(4), "shape"),
            (np.ones(3) / np.sqrt(3), "shape"),
            (np.full((3, 3), np.nan), "finite"),
            (np.diag([1.0, 1.0, np.inf]), "finite"),
            (2 * np.eye(3), "unit"),
            (np.diag([1.0, 1.0, 0.0]), "unit"),
            (np.diag([1.0, 1.0, 1 + 2e-6]), "unit"),
        ],
    )
    def test_positions(self, law, name, wrong, reason):
        arguments = {"targets": POINTS, "points": POINTS, name: wrong}
        with pytest.raises(ValueError, match=rf"{name}.*{reason}"):
            Attention(law).velocity(weights=ONES, space=Sphere(3), **arguments)

    @pytest.mark.parametrize(
        ("weights", "reason"),
        [
            (np.ones(2), "shape"),
            (np.ones((3, 1)), "shape"),
            (np.array([1.0, np.nan, 1.0]), "finite"),
            (np.array([1.0, np.inf, 1.0]), "finite"),
        ],
    )
    def test_weights(self, weights, reason):
        with pytest.raises(ValueError, match=rf"weights.*{reason}"):
            Attention().velocity(POINTS, POINTS, weights, Sphere(3))

    @pytest.mark.parametrize("tolerance", [0.0, -1e-10, np.nan])
    def test_tolerance(self, tolerance):
        with pytest.raises(ValueError, match="tolerance"):
            Attention().velocity(POINTS, POINTS, ONES, Sphere(3), tolerance)

    def test_any_length_is_fine_in_euclidean_space(self):
        Attention().velocity(3 * POINTS, 0 * POINTS, ONES, Euclidean(3))


@pytest.mark.parametrize("count", [4, 20_000])
class TestDomain:
    """With few pairs and with many: both backends."""

    def test_softmax_of_a_negative_measure(self, on_sphere, count):
        with pytest.raises(AttentionDomainError, match="not positive"):
            Attention().velocity(on_sphere(1, count), POINTS, -ONES, Sphere(3))

    def test_softmax_of_no_mass(self, on_sphere, count):
        with pytest.raises(AttentionDomainError, match="not positive"):
            Attention().velocity(on_sphere(1, count), POINTS, 0 * ONES, Sphere(3))

    def test_softmax_of_no_points(self, on_sphere, count):
        with pytest.raises(AttentionDomainError, match="not positive"):
            Attention().velocity(on_sphere(1, count), POINTS[:0], ONES[:0], Sphere(3))

    def test_says_at_how_many_targets(self, on_sphere, count):
        # Z = e^{<x,e1>} - e^{<x,e2>} is negative for half of the targets.
        targets = on_sphere(1, count)
        negative = np.count_nonzero(targets[:, 0] < targets[:, 1])
        with pytest.raises(AttentionDomainError, match=rf"\b{negative} targets"):
            Attention().velocity(targets, POINTS[:2], np.array([1.0, -1.0]), Sphere(3))

    def test_unnormalised_takes_negative_weights(self, on_sphere, count):
        targets, law = on_sphere(1, count), Attention("unnormalised")
        positive = law.velocity(targets, POINTS, ONES, Sphere(3))
        negative = law.velocity(targets, POINTS, -ONES, Sphere(3))
        assert np.abs(positive + negative).max() < 1e-12

    def test_unnormalised_overflow(self, on_sphere, count):
        targets = np.concatenate([POINTS, on_sphere(1, count)])
        with pytest.raises(AttentionDomainError, match="exceeds"):
            Attention("unnormalised", 800.0).velocity(targets, POINTS, ONES, Sphere(3))


@pytest.mark.mpi
@pytest.mark.parametrize("count", [4, 20_000])
class TestOneRankAlone:
    """What goes wrong on the last rank is raised on every rank, and nobody waits for ever."""

    COMM = MPI.COMM_WORLD

    def raises(self, error, match, count, law=None, **wrong):
        arguments = {"targets": np.tile(POINTS, (count, 1)), "points": POINTS, "weights": ONES}
        if self.COMM.rank == self.COMM.size - 1:
            arguments |= wrong
        law = law or Attention()
        with pytest.raises(error, match=match):
            law.velocity(space=Sphere(3), comm=self.COMM, **arguments)
        assert self.COMM.allreduce(1) == self.COMM.size

    def test_wrong_shape(self, count):
        self.raises(ValueError, "targets.*shape", count, targets=np.eye(2))

    def test_not_finite(self, count):
        self.raises(ValueError, "points.*finite", count, points=np.full((3, 3), np.nan))

    def test_not_a_unit_vector(self, count):
        self.raises(ValueError, "targets.*unit", count, targets=2 * POINTS)

    def test_weights_of_another_length(self, count):
        self.raises(ValueError, "weights.*shape", count, weights=np.ones(5))

    def test_weights_not_finite(self, count):
        self.raises(ValueError, "weights.*finite", count, weights=ONES * np.nan)

    def test_partition_not_positive(self, count):
        # The measure is e1 - e2 / size in all: Z < 0 close to e2, which one rank asks for.
        size = self.COMM.size
        measure = {"points": POINTS[:2], "weights": np.array([1.0, -1.0]) / size}
        near_first = np.tile(POINTS[:1], (count, 1))
        near_second = np.tile(POINTS[1:2], (count, 1))
        last = self.COMM.rank == size - 1
        with pytest.raises(AttentionDomainError, match="not positive"):
            Attention().velocity(
                near_second if last else near_first, space=Sphere(3), comm=self.COMM, **measure
            )
        assert self.COMM.allreduce(1) == size

    def test_overflow(self, count):
        size = self.COMM.size
        last = self.COMM.rank == size - 1
        targets = np.tile(POINTS[:1] if last else POINTS[1:2], (count, 1))
        with pytest.raises(AttentionDomainError, match="exceeds"):
            Attention("unnormalised", 800.0).velocity(
                targets, POINTS[:1], ONES[:1], Sphere(3), comm=self.COMM
            )
        assert self.COMM.allreduce(1) == size
