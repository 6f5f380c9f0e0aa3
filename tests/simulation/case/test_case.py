"""The case file: what is refused and how, what is accepted, and what it becomes."""

import pickle
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from meanformer.attention.laws import LAWS
from meanformer.simulation.case.attention import AttentionTable
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.initial import (
    Harmonic,
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
)
from meanformer.simulation.case.space import unit
from meanformer.tests.simulation.case.wrong_cases import WRONG

TWO_CAPS = Path(__file__).parents[3] / "cases" / "two-caps.toml"

MINIMAL = """
attention.beta = 4.0
initial.kind = "uniform"
time.end = 1.0
particles = {}
"""


LOW = [[1.0, 0.0, 0.1]]
LAYERS = [{"duration": 0.1}, {"duration": 0.2, "heads": [{"query": LOW, "key": LOW}, {}]}]
RANDOM = {"seed": 3, "duration": 0.1}


def minimal(**tables):
    return {**tomllib.loads(MINIMAL), **tables}


def with_initial(**initial):
    return Case.from_dict(minimal(initial=initial)).initial


def reload(case):
    return Case.from_dict(tomllib.loads(case.to_toml()))


def problems_of(data):
    with pytest.raises(CaseError) as caught:
        Case.from_dict(data)
    return caught.value.problems


class TestWrongCases:
    @pytest.mark.parametrize("name", WRONG)
    def test_refused_by_name(self, name, tmp_path):
        wrong = WRONG[name]
        path = tmp_path / "case.toml"
        path.write_text(wrong["case"], encoding="utf-8")
        with pytest.raises(CaseError) as caught:
            Case.load(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        told = [line for line in caught.value.problems if wrong["key"] in line]
        assert told, message
        if "line" not in wrong["key"]:
            assert told[0].startswith(f"{wrong['key']}: "), message
            assert "must " in told[0] or "allowed: " in told[0], message
        if "nearest" in wrong:
            assert f"did you mean '{wrong['nearest']}'?" in told[0], message
        else:
            assert "did you mean" not in message
        for internal in ("pydantic", "Input should", "literal[", "tuple[", "uniform.", "_MISSING"):
            assert internal not in message

    @pytest.mark.parametrize("name", WRONG)
    def test_one_mistake_is_one_problem(self, name):
        if WRONG[name]["key"] == "line 2":
            return
        problems = problems_of(tomllib.loads(WRONG[name]["case"]))
        others = [line for line in problems if not line.startswith(f"{WRONG[name]['key']}: ")]
        assert len(problems) == 1 + len(others)
        # A required key that is misspelt is also missing.
        assert all(": missing; " in line for line in others)
        assert not others or name.startswith("misspelt")

    def test_all_problems_at_once(self):
        data = minimal(time={"end": -1, "step": 0}, pde={"degree": 9, "refinment": 1})
        problems = problems_of(data)
        keys = [line.split(":")[0] for line in problems]
        assert keys == ["pde.degree", "pde.refinment", "time.end", "time.step"]

    def test_message_is_stated_in_full(self):
        data = minimal(pde={"degre": 2}, attention={"beta": float("nan"), "law": "softmaxx"})
        del data["time"]
        assert problems_of(data) == (
            "attention.law: 'softmaxx' is not allowed; allowed: softmax, unnormalised, linear, l2, "
            "sigmoid, sinkhorn, hardmax, feature-map; did you mean 'softmax'?",
            "attention.beta: nan is not allowed; must be a finite number",
            "pde.degre: unknown key; allowed: boundary, degree, half_width, largest_outflow, "
            "largest_unresolved, mesh, refinement, scheme; did you mean 'degree'?",
            "time.end: missing; must be a number > 0",
        )

    def test_long_values_are_cut(self):
        (problem,) = problems_of(minimal(title=list(range(100_000))))
        assert len(problem) < 120
        (problem,) = problems_of(minimal(attention={"beta": 16**5000}))
        assert "20001 bits" in problem

    def test_odd_keys_are_quoted(self):
        assert problems_of(minimal(**{"a.b": 1}))[0].startswith('"a.b": unknown key')

    @pytest.mark.parametrize("data", [[], None, "attention", 3])
    def test_not_a_mapping(self, data):
        assert "mapping" in problems_of(data)[0]

    def test_error_survives_pickling(self):
        error = CaseError(["time.end: missing"], "case.toml")
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error) == "case.toml: 1 problem\n  time.end: missing"


class TestUnreadableFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(CaseError, match=r"nowhere\.toml"):
            Case.load(tmp_path / "nowhere.toml")

    def test_folder(self, tmp_path):
        with pytest.raises(CaseError, match="folder"):
            Case.load(tmp_path)

    def test_null_in_name(self):
        with pytest.raises(CaseError):
            Case.load("a\0b.toml")

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"title = '\xff'", "UTF-8"),
            (b"\x00\x01", "TOML"),
            (b"a = " + b"[" * 5000, "TOML"),
            (b"a = " + b"9" * 5000, "TOML"),
            (b"a = 1\nb = 1\nb = 2\n", "line 3"),
        ],
        ids=["encoding", "binary", "nesting", "digits", "line"],
    )
    def test_content(self, tmp_path, content, word):
        path = tmp_path / "case.toml"
        path.write_bytes(content)
        with pytest.raises(CaseError, match=word) as caught:
            Case.load(path)
        assert str(path) in str(caught.value)


class TestDefaults:
    def test_of_a_file(self, tmp_path):
        path = tmp_path / "small.toml"
        path.write_text(MINIMAL + "pde = {}\n")
        case = Case.load(str(path))
        assert case.title == "small"
        assert (case.space.kind, case.space.dimension, case.space.rescaled) == ("sphere", 3, False)
        assert case.attention.law == "softmax"
        assert case.attention.query == case.attention.key == case.attention.value == "identity"
        assert case.attention.causal is False
        assert case.noise.temperature == 0.0
        assert (case.pde.scheme, case.pde.degree, case.pde.refinement) == ("dg", 2, 4)
        assert (case.particles.number, case.particles.seed) == (20000, 0)
        assert case.particles.sampling == "iid"
        assert (case.time.step, case.time.sample_every) == ("auto", 0.1)
        assert case.compare.metrics == ("harmonic", "w1")
        assert (case.output.directory, case.output.fields) == ("runs/small", ("vtu",))
        assert case.output.checkpoint_every is None

    def test_of_a_dictionary(self):
        case = Case.from_dict(minimal())
        assert case.title == ""
        assert case.pde is None and case.compare is None
        assert case.output.directory == "runs/case"

    def test_data_is_left_alone(self):
        data = minimal(initial={"kind": "harmonic", "degree": 2, "amplitude": 0.1})
        before = repr(data)
        Case.from_dict(data)
        assert repr(data) == before

    def test_a_byte_order_mark_is_skipped(self, tmp_path):
        path = tmp_path / "case.toml"
        path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
        assert Case.load(path).attention.beta == 4.0


class TestTypes:
    def test_integers_are_numbers(self):
        case = Case.from_dict(minimal(attention={"beta": -4, "value": -1}, time={"end": 2}))
        assert type(case.attention.beta) is float and case.attention.beta == -4.0
        assert type(case.attention.value) is float
        assert type(case.time.end) is float

    def test_numpy_values(self):
        attention = {"beta": np.float64(1.0), "key": np.eye(3)}
        case = Case.from_dict(minimal(attention=attention, particles={"number": np.int64(7)}))
        assert case.particles.number == 7
        assert case.attention.key == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def test_frozen_and_hashable(self):
        case = Case.load(TWO_CAPS)
        for table, key in [(case, "title"), (case.pde, "degree"), (case.initial, "components")]:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(table, key, 1)
        with pytest.raises(ValidationError):
            case.other = 1
        assert {case: 1}[Case.load(TWO_CAPS)] == 1

    def test_matrices(self):
        rows = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
        attention = Case.from_dict(
            minimal(attention={"beta": 1, "key": 2, "value": rows})
        ).attention
        assert (attention.query, attention.key) == ("identity", 2.0)
        assert np.array_equal(attention.value, rows)

    def test_samples_may_be_rarer_than_the_end(self):
        case = Case.from_dict(minimal(time={"end": 1.0, "sample_every": 5.0, "step": 1}))
        assert case.time.sample_every == 5.0 and case.time.step == 1.0

    def test_fields_none(self):
        assert Case.from_dict(minimal(output={"fields": ["none"]})).output.fields == ("none",)


class TestAttention:
    def attention(self, **keys):
        return Case.from_dict(minimal(attention={"beta": 1, **keys})).attention

    def test_laws_are_those_of_the_model(self):
        allowed = AttentionTable.model_fields["law"].annotation
        assert get_args(allowed) == tuple(LAWS)

    @pytest.mark.parametrize("law", LAWS)
    def test_keys_of_one_law_alone(self, law):
        attention = self.attention(law=law)
        assert attention.offset == (0.0 if law == "sigmoid" else None)
        assert attention.tie_tolerance == (1e-12 if law == "hardmax" else None)

    def test_rectangular_query_and_key(self):
        rows = [[1, 2, 3], [4, 5, 6]]
        attention = self.attention(query=rows, key=rows)
        assert np.shape(attention.query) == (2, 3)
        high = np.ones((5, 3))
        assert np.shape(self.attention(query=high, key=high).key) == (5, 3)
        # A multiple of the identity has as many rows as columns.
        assert self.attention(query=np.eye(3), key=2).key == 2.0

    def test_heads(self):
        attention = self.attention(heads=[{"value": -1}, {"query": 2, "key": np.eye(3)}])
        assert attention.query is attention.key is attention.value is None
        first, second = attention.heads
        assert (first.query, first.key, first.value) == ("identity", "identity", -1.0)
        assert (second.query, second.value) == (2.0, "identity")
        assert len(second.key) == 3

    def test_layers(self):
        layers = [{"duration": 1, "value": -1}, {"duration": 0.5, "heads": [{}, {"key": 3}]}]
        attention = self.attention(layers=layers)
        assert attention.value is None
        first, second = attention.layers
        assert (first.duration, first.query, first.value) == (1.0, "identity", -1.0)
        assert second.query is None
        assert [head.key for head in second.heads] == ["identity", 3.0]

    def test_random_values_leave_no_value(self):
        attention = self.attention(random_values={"seed": 0, "duration": 0.1})
        assert attention.value is None and attention.key == "identity"
        assert attention.random_values.scale == 1.0
        attention = self.attention(heads=[{}], random_values={"seed": 0, "duration": 0.1})
        assert attention.heads[0].value is None and attention.heads[0].query == "identity"

    def test_too_many_layers(self):
        attention = {"beta": 1, "layers": [{"duration": 1}] * 100_001}
        (problem,) = problems_of(minimal(attention=attention))
        assert problem.startswith("attention.layers: ")
        assert "must be a non-empty list of at most 100000 entries" in problem

    def test_wrong_shapes_are_told_in_a_line(self):
        attention = {"beta": 1, "query": np.ones((5000, 2)), "key": np.ones((2, 3))}
        assert problems_of(minimal(attention=attention)) == (
            "attention.query: has shape (5000, 2); must be a matrix of 3 columns",
        )
        attention = {"beta": 1, "query": np.ones((4, 3)), "key": np.ones((2, 3))}
        assert problems_of(minimal(attention=attention)) == (
            "attention.key: has shape (2, 3); must have as many rows as the query, 4",
        )


class TestInitial:
    def test_uniform(self):
        assert isinstance(with_initial(kind="uniform"), Uniform)

    def test_von_mises_fisher_is_normalised(self):
        initial = with_initial(kind="von-mises-fisher", mean=[0, 3, 4], concentration=0)
        assert isinstance(initial, VonMisesFisher)
        assert initial.mean == pytest.approx((0.0, 0.6, 0.8))

    def test_poisson_kernel(self):
        initial = with_initial(kind="poisson-kernel", a=[0, 0, -0.3])
        assert isinstance(initial, PoissonKernel)
        assert initial.a == (0.0, 0.0, -0.3)
        assert with_initial(kind="poisson-kernel", vector=[0, 0, -0.3]) == initial

    def test_harmonic_axis(self):
        initial = with_initial(kind="harmonic", degree=3, amplitude=-1)
        assert isinstance(initial, Harmonic)
        assert initial.axis == (0.0, 0.0, 1.0)
        initial = with_initial(kind="harmonic", degree=3, amplitude=-1, axis=[2, 0, 0])
        assert initial.axis == (1.0, 0.0, 0.0)

    def test_mixture(self):
        parts = [
            {"kind": "uniform"},
            {"kind": "harmonic", "degree": 1, "amplitude": 0.5, "weight": 3},
            {"kind": "von-mises-fisher", "mean": [1, 0, 0], "concentration": 2, "weight": 0.5},
            {"kind": "poisson-kernel", "a": [0.1, 0, 0]},
        ]
        initial = with_initial(kind="mixture", components=parts)
        assert isinstance(initial, Mixture)
        assert [part.weight for part in initial.components] == [1.0, 3.0, 0.5, 1.0]
        kinds = [Uniform, Harmonic, VonMisesFisher, PoissonKernel]
        assert all(isinstance(p, k) for p, k in zip(initial.components, kinds, strict=True))
        assert initial.components[1].axis == (0.0, 0.0, 1.0)

    @pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e200, 1e308])
    def test_unit_is_idempotent(self, scale):
        for vector in np.random.default_rng(0).uniform(-1, 1, (200, 3)) * scale:
            once = unit(tuple(vector.tolist()))
            assert np.linalg.norm(once) == pytest.approx(1.0, abs=1e-14)
            assert unit(once) == once


class TestRoundTrip:
    def test_two_caps(self, tmp_path):
        case = Case.load(TWO_CAPS)
        assert case.title == "Two caps on the sphere"
        assert case.attention.beta == 4.0 and case.time.end == 4.0
        assert [part.weight for part in case.initial.components] == [0.6, 0.4]
        assert case.output.directory == "runs/two-caps"
        assert case.output.checkpoint_every == 1.0
        path = tmp_path / "resolved.toml"
        path.write_text(case.to_toml(), encoding="utf-8")
        assert Case.load(path) == case
        assert Case.load(path).to_toml() == case.to_toml()
        assert pickle.loads(pickle.dumps(case)) == case

    @pytest.mark.parametrize(
        "data",
        [
            minimal(),
            minimal(pde={}),
            minimal(pde={}, compare={"metrics": ["w1"]}),
            minimal(title='a "title"\n\\ with é'),
            minimal(attention={"beta": 0.1, "query": 1e-300, "value": [[0.1] * 3] * 3}),
            minimal(initial={"kind": "harmonic", "degree": 2, "amplitude": 0.1}),
            minimal(initial={"kind": "von-mises-fisher", "mean": [1, 2, 3], "concentration": 1}),
            minimal(particles={"seed": 2**100}),
            minimal(attention={"beta": 1, "law": "sigmoid", "offset": -3}),
            minimal(attention={"beta": 1, "law": "hardmax"}),
            minimal(attention={"beta": 1, "heads": [{"query": LOW, "key": LOW}, {"value": -1}]}),
            minimal(attention={"beta": 1, "layers": LAYERS}),
            minimal(attention={"beta": 1, "random_values": RANDOM}),
            minimal(attention={"beta": 1, "heads": [{"query": 2}, {}], "random_values": RANDOM}),
        ],
        ids=[
            *("minimal", "both", "compare", "title", "matrices", "harmonic", "mean", "seed"),
            *("sigmoid", "hardmax", "heads", "layers", "random", "random heads"),
        ],
    )
    def test_of_a_dictionary(self, data):
        case = Case.from_dict(data)
        assert reload(case) == case and hash(reload(case)) == hash(case)

    def test_nothing_is_left_out(self):
        resolved = tomllib.loads(Case.load(TWO_CAPS).to_toml())
        assert resolved["space"] == {"kind": "sphere", "dimension": 3, "rescaled": False}
        assert resolved["attention"]["causal"] is False


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "read", "value"),
        [
            ("pde.refinement=5", lambda c: c.pde.refinement, 5),
            (" pde . refinement = 5 ", lambda c: c.pde.refinement, 5),
            ("compare.metrics=['w1']", lambda c: c.compare.metrics, ("w1",)),
            ("time.step=auto", lambda c: c.time.step, "auto"),
            ("time.step=1e-2", lambda c: c.time.step, 0.01),
            ("title=a = b", lambda c: c.title, "a = b"),
            ('title="1"', lambda c: c.title, "1"),
            ("title=", lambda c: c.title, ""),
            ("output.directory=runs/x", lambda c: c.output.directory, "runs/x"),
            ("initial.components[1].weight=2", lambda c: c.initial.components[1].weight, 2.0),
            ("noise={temperature=0}", lambda c: c.noise.temperature, 0.0),
        ],
    )
    def test_applied(self, override, read, value):
        assert read(Case.load(TWO_CAPS, [override])) == value

    def test_missing_table_is_created(self, tmp_path):
        path = tmp_path / "case.toml"
        path.write_text(MINIMAL)
        case = Case.load(path, ["pde.refinement=0", "particles.number=100", "particles.seed=1"])
        assert case.pde.refinement == 0
        assert (case.particles.number, case.particles.seed) == (100, 1)

    def test_heads_and_layers(self, tmp_path):
        path = tmp_path / "case.toml"
        path.write_text(MINIMAL)
        heads = ["attention.heads=[{}, {}]", "attention.heads[1].value=2"]
        assert Case.load(path, heads).attention.heads[1].value == 2.0
        random = ["attention.random_values.seed=4", "attention.random_values.duration=1"]
        assert Case.load(path, random).attention.random_values.seed == 4

    def test_last_one_wins(self):
        assert Case.load(TWO_CAPS, ["time.end=1", "time.end=2"]).time.end == 2.0

    @pytest.mark.parametrize(
        "override",
        [
            "pde.refinement",
            "",
            "=3",
            ".refinement=3",
            "pde.=3",
            "pde..degree=3",
            "pde refinement=3",
            "title.part=3",
            "attention.beta.x=3",
            "pde[0].degree=3",
            "initial.components[2].weight=1",
            "initial.components.weight=1",
        ],
    )
    def test_malformed(self, override):
        with pytest.raises(CaseError) as caught:
            Case.load(TWO_CAPS, [override, "time.end=1"])
        assert repr(override) in str(caught.value)

    def test_wrong_value_names_the_key(self):
        with pytest.raises(CaseError, match=r"pde\.degree: 'two' is not allowed"):
            Case.load(TWO_CAPS, ["pde.degree=two"])
        with pytest.raises(CaseError, match=r"pde\.degre: unknown key.*'degree'"):
            Case.load(TWO_CAPS, ["pde.degre=2"])
        with pytest.raises(CaseError, match=r"initial\.components: unknown key"):
            Case.load(TWO_CAPS, ["initial.kind=uniform"])
        with pytest.raises(CaseError, match=r"time\.end: '1\\nx = 2' is not allowed"):
            Case.load(TWO_CAPS, ["time.end=1\nx = 2"])
