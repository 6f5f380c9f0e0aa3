"""Orders that are not to be believed, and why."""

import numpy as np
import pytest

from meanformer.simulation import Case, converge
from meanformer.simulation.studies.credibility import (
    GROWS,
    TOO_FLAT,
    TOO_STEEP,
    doubt_between,
    doubts,
    expected_orders,
)
from meanformer.simulation.studies.orders import fit_order, order_between
from meanformer.simulation.studies.quantities import Quantity
from meanformer.simulation.studies.study import Expected, Row

H = 2.0 ** -np.arange(2, 7)
THREE = Expected(3.0, 3.0, "degree + 1")
HALF = Expected(0.5, 0.5, "independent tokens")


def doubts_of(errors, expected=THREE, key="pde.refinement", sizes=H):
    rows = [Row(2, sizes[0], errors[0], np.nan, 1.0, "done")]
    for i in range(1, len(errors)):
        pair = slice(i - 1, i + 1)
        order = order_between(sizes[pair], errors[pair])
        doubt = doubt_between(errors[pair], order, expected)
        rows.append(Row(i + 2, sizes[i], errors[i], order, 1.0, "done", doubt=doubt))
    return doubts(key, rows, fit_order(sizes, errors).order, expected)


class TestDoubts:
    @pytest.mark.parametrize("order", [1.6, 3.0, 3.9])
    def test_none_of_a_clean_order(self, order):
        assert doubts_of(2.0 * H**order) == ()
        assert doubts_of(2.0 * H**order, None) == ()

    def test_none_of_an_order_that_settles(self):
        assert doubts_of(H**3 * (1 + 2 * H)) == ()

    def test_none_of_the_scatter_of_samples(self):
        sizes = 10.0 ** -np.arange(2, 7)
        errors = np.sqrt(sizes) * [1.46, 0.88, 1.06, 1.13, 0.83]
        assert doubts_of(errors, HALF, "particles.number", sizes) == ()

    def test_too_steep(self):
        (doubt,) = doubts_of(H**7.4)
        assert doubt == "it is above 4, one more than expected: the coarse runs are too coarse"
        assert doubts_of(H**7.4, None) == ()

    def test_saturated_at_the_fine_end(self):
        (doubt,) = doubts_of(H**3 + 4e-5)
        assert doubt.startswith("from pde.refinement = 5 on errors fall at less than order 1.5: ")
        assert "round-off" in doubt

    def test_saturated_everywhere(self):
        (doubt,) = doubts_of(H**0.1, None, "particles.number")
        assert doubt.startswith("from particles.number = 2 on errors fall at less than order 0.25:")
        assert "the distance itself" in doubt

    def test_noise_at_the_fine_end_grows(self):
        (doubt,) = doubts_of(np.array([1e-3, 1e-4, 1e-5, 3e-5, 2.9e-5]))
        assert "from pde.refinement = 4 on" in doubt

    def test_not_monotone(self):
        (doubt,) = doubts_of(np.array([1e-3, 2e-3, 1e-4, 1e-5, 1e-6]))
        assert doubt == "errors are not monotone: they grow from 2 to 3"

    def test_not_yet_one_power(self):
        (doubt,) = doubts_of(np.array([1.0, 0.3, 0.05, 0.05 / 8, 0.05 / 64]))
        assert doubt.startswith("orders between neighbours, 1.74 to 3.00, differ by more than 1: ")

    def test_some_keys_have_no_known_floor(self):
        (doubt,) = doubts_of(H**0.1, None, "attention.beta")
        assert doubt.endswith("what is left is an error that is not that of this key")


def test_between_two_runs():
    assert doubt_between((1.0, 2.0**-7.4), 7.4, THREE) == TOO_STEEP
    assert doubt_between((1.0, 0.9), 0.15, THREE) == TOO_FLAT
    assert doubt_between((1.0, 0.9), 0.2, None) == TOO_FLAT
    # Relative to the finest run, errors that grow have the order 0.
    assert doubt_between((1.0, 1.1), 0.0, THREE) == GROWS
    assert doubt_between((1.0, 0.125), 3.0, THREE) == ""
    assert doubt_between((np.nan, 0.1), np.nan, THREE) == ""


CIRCLE = {
    "space": {"dimension": 2},
    "attention": {"beta": 0.0},
    "initial": {"kind": "poisson-kernel", "a": [0.3, 0.4]},
    "pde": {"degree": 2},
    "particles": {"number": 100},
    "time": {"end": 0.5},
}


class TestExpected:
    @pytest.mark.parametrize(
        "key, quantity, degree, orders",
        [
            ("pde.refinement", Quantity("l2", "pde"), 2, (3, 3)),
            ("pde.refinement", Quantity("pde.energy", "pde", ("energy",)), 2, (3, 5)),
            ("pde.refinement", Quantity("pde.energy", "pde", ("energy",)), 0, (1, 1)),
            ("time.step", Quantity("pde.energy", "pde", ("energy",)), 3, (4, 4)),
            ("time.step", Quantity("particles.energy", "particles", ("energy",)), 2, (4, 4)),
            ("particles.number", Quantity("compare.w1", "compare", ("w1",)), 2, (0.5, 0.5)),
        ],
    )
    def test_by_theory(self, key, quantity, degree, orders):
        tables = {"pde": {"degree": degree}, "particles": {"integrator": "rk4"}}
        expected = expected_orders(key, quantity, Case.from_dict(CIRCLE | tables))
        assert (expected.lowest, expected.highest) == orders

    @pytest.mark.parametrize("degree, order", [(1, 2), (2, 3), (3, 3)])
    def test_steps_with_noise(self, degree, order):
        tables = {"pde": {"degree": degree}, "particles": None, "noise": {"temperature": 0.1}}
        case = Case.from_dict({n: t for n, t in (CIRCLE | tables).items() if t is not None})
        expected = expected_orders("time.step", Quantity("pde.energy", "pde", ("energy",)), case)
        assert expected.lowest == expected.highest == order

    @pytest.mark.parametrize(
        "key, quantity",
        [
            ("pde.refinement", Quantity("pde.mass", "pde", ("mass",))),
            ("pde.refinement", Quantity("compare.w1", "compare", ("w1",))),
            ("attention.beta", Quantity("pde.energy", "pde", ("energy",))),
            ("time.step", Quantity("particles.energy", "particles", ("energy",))),
            ("particles.number", Quantity("particles.spread", "particles", ("spread",))),
            ("particles.number", Quantity("particles.clusters", "particles", ("clusters",))),
        ],
    )
    def test_where_theory_says_nothing(self, key, quantity):
        assert expected_orders(key, quantity, Case.from_dict(CIRCLE)) is None

    def test_means_over_systems(self):
        """Of many, their error is a bias of order 1/n; of few, sampling noise of n^{-1/2}."""
        tables = {name: table for name, table in CIRCLE.items() if name != "pde"}
        quantity = Quantity("particles.energy", "particles", ("energy",))
        one, many = (
            expected_orders(
                "particles.number",
                quantity,
                Case.from_dict(tables | {"particles": {"systems": systems}}),
            )
            for systems in (1, 100)
        )
        assert one.lowest == one.highest == 0.5 and many is None


def test_a_study_whose_coarse_meshes_are_too_coarse():
    data = CIRCLE | {"initial": {"kind": "poisson-kernel", "a": [0.72, 0.54]}}
    study = converge(Case.from_dict(data), "pde.refinement", [1, 2, 3, 4], "mean_1")
    assert study.order > 6 and study.rows[-1].doubt == TOO_STEEP
    assert study.doubts[0].startswith("it is above 6, one more than expected")
    fine = converge(Case.from_dict(data), "pde.refinement", [4, 5, 6])
    assert fine.doubts == () and all(row.doubt == "" for row in fine.rows)
    assert fine.order == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("ends", [[0.1, 0.2, 0.4], [0.4, 0.2, 0.1]])
def test_the_order_in_which_values_are_given_does_not_matter(ends):
    data = CIRCLE | {"pde": {"refinement": 2, "degree": 1}}
    study = converge(Case.from_dict(data), "time.end", ends, "mean_1")
    assert study.symbol == "end" and study.order == pytest.approx(1.7, abs=0.1)
    assert study.doubts == () and all(row.doubt == "" for row in study.rows)


def test_a_study_of_a_distance_that_is_saturated():
    study = converge(Case.from_dict(CIRCLE | {"time": {"end": 0.01}}), "particles.number",
                     [1000, 4000, 16000], "w1")  # fmt: skip
    assert study.expected.lowest == 0.5 and abs(study.order) < 0.25
    assert any("the distance itself" in doubt for doubt in study.doubts)
    assert study.rows[-1].doubt in (TOO_FLAT, GROWS)
