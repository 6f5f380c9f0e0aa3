"""The figures that there are, by name."""

from meanformer.scripts.reproduce.boolean import Boolean
from meanformer.scripts.reproduce.diagrams.diagram import Diagram
from meanformer.scripts.reproduce.diagrams.phases import Phases
from meanformer.scripts.reproduce.diagrams.random_pairs import RandomPairs
from meanformer.scripts.reproduce.figure import Figure
from meanformer.scripts.reproduce.hardmax import Hardmax
from meanformer.scripts.reproduce.hyperplanes import Hyperplanes
from meanformer.scripts.reproduce.low_rank import LowRank
from meanformer.scripts.reproduce.polytopes import Polytope, Prism
from meanformer.scripts.reproduce.repulsive import Repulsive

#: Eigenvalues 1.35 and -0.07, as in the paper.
_OF_THE_PLANE = ((0.64709742, 0.81911926), (0.61210449, 0.63263484))
#: Eigenvalues 1.02 and -0.11 ± 0.47i.
_INWARDS = ((1.0, 0.3, -0.1), (0.2, -0.1, -0.5), (0.1, 0.5, -0.1))
#: Eigenvalues 0.89 and 0.31 ± 0.47i.
_OUTWARDS = ((0.9, 0.3, -0.1), (0.1, 0.3, -0.5), (0.1, 0.5, 0.3))

FIGURES: dict[str, Figure] = {
    "boolean": Boolean(
        title="V > 0 on the line: P(t) becomes Boolean",
        number=40,
        dimension=1,
        end=10.0,
        sample_every=0.2,
        shown=(0.0, 0.4, 1.0, 2.0, 10.0),
    ),
    "polytope-2d": Polytope(
        title="V = I in the plane: tokens go to a convex polygon",
        number=20,
        dimension=2,
        end=15.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 2.0, 15.0),
    ),
    "polytope-3d": Polytope(
        title="V = I in space: tokens go to a convex polytope",
        number=40,
        dimension=3,
        end=15.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 2.0, 15.0),
    ),
    "hyperplanes-2d": Hyperplanes(
        title="A simple leading eigenvalue: tokens go to parallel lines",
        number=40,
        dimension=2,
        end=15.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 3.0, 15.0),
        value=_OF_THE_PLANE,
    ),
    "hyperplanes-3d-negative": Hyperplanes(
        title="A leading eigenvalue, and two of negative real part",
        number=40,
        dimension=3,
        end=12.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 4.0, 12.0),
        value=_INWARDS,
    ),
    "hyperplanes-3d-positive": Hyperplanes(
        title="A leading eigenvalue, and two of positive real part",
        number=40,
        dimension=3,
        end=15.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 3.0, 15.0),
        value=_OUTWARDS,
    ),
    "polytope-subspace": Prism(
        title="V = diag(1, 1, -0.5): a polygon times a line",
        number=40,
        dimension=3,
        end=6.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 3.0, 6.0),
        diagonal=(1.0, 1.0, -0.5),
    ),
    "repulsive": Repulsive(
        title="V = -I: tokens go to the origin",
        number=40,
        dimension=2,
        end=200.0,
        sample_every=0.1,
        shown=(0.0, 1.0, 10.0),
    ),
    "low-rank": LowRank(
        title="Random Q, K, V: n = 40 tokens in 80 dimensions",
        number=40,
        dimension=80,
        end=11.0,
        sample_every=0.2,
        shown=(0.0, 2.0, 3.0, 4.0, 11.0),
        half_width=1.0,
        tolerance=1e-4,
    ),
    "low-rank-128": LowRank(
        title="Random Q, K, V: n = 128 tokens in 128 dimensions",
        number=128,
        dimension=128,
        end=11.0,
        sample_every=0.2,
        shown=(0.0, 2.0, 4.0, 6.0, 11.0),
        half_width=1.0,
        tolerance=1e-4,
    ),
    "hardmax": Hardmax(
        title="Hardmax layers, A = I: tokens go to leaders",
        number=60,
        dimension=2,
        end=15.0,
        sample_every=0.5,
        shown=(0.0, 0.5, 2.0, 15.0),
        matrix=((1.0, 0.0), (0.0, 1.0)),
        alpha=1.0,
    ),
    "hardmax-tilted": Hardmax(
        title="Hardmax layers, A with eigenvectors (1, 1) and (1, -1)",
        number=60,
        dimension=2,
        end=15.0,
        sample_every=0.5,
        shown=(0.0, 0.5, 2.0, 15.0),
        matrix=((1.0, 0.7), (0.7, 1.0)),
        alpha=1.0,
    ),
    "hardmax-flat": Hardmax(
        title="Hardmax layers, A = diag(1, 0.02): one direction decides",
        number=60,
        dimension=2,
        end=15.0,
        sample_every=0.5,
        shown=(0.0, 0.5, 2.0, 15.0),
        matrix=((1.0, 0.0), (0.0, 0.02)),
        alpha=1.0,
    ),
}

#: The diagrams that there are: each is many runs, and has no movie.
DIAGRAMS: dict[str, Diagram] = {
    "phase-diagram": Phases(title="32 tokens in 32 dimensions under softmax meet at one time"),
    "random-layers": RandomPairs(title="Two tokens under random layers end antipodal"),
}
