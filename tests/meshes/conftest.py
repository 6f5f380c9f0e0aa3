"""What the tests of all meshes ask: sizes, shapes of cells, facets, and the same on any ranks."""

from itertools import combinations

import basix
import numpy as np
import pytest

from meanformer.meshes import compat


@pytest.fixture
def turn():
    """A rotation of R^d."""

    def make(dimension, seed=1):
        q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))
        q *= np.sign(np.diag(r))
        q[0] *= np.sign(np.linalg.det(q))
        return q

    return make


@pytest.fixture
def corners():
    """Vertices of the cells here, in their original order, ``shape=(cells, tdim + 1, gdim)``."""
    return _corners


@pytest.fixture
def jacobians():
    """Jacobian determinants at quadrature points of degree 6 and the corners, and the weights."""
    return _jacobians


@pytest.fixture
def measure():
    """Length, area or volume on all ranks."""

    def of(domain):
        determinants, weights = _jacobians(domain)
        owned = domain.topology.index_map(domain.topology.dim).size_local
        return domain.comm.allreduce((np.abs(determinants[:owned]) @ weights).sum())

    return of


@pytest.fixture
def aspect_ratio():
    """Longest edge over smallest height, for each cell here."""

    def of(domain):
        x = _corners(domain)
        tdim = x.shape[1] - 1
        edges = [
            np.linalg.norm(x[:, i] - x[:, j], axis=1) for i, j in combinations(range(tdim + 1), 2)
        ]
        bases = [_content(np.delete(x, k, axis=1)) for k in range(tdim + 1)]
        return np.max(edges, axis=0) * np.max(bases, axis=0) / _content(x)

    return of


@pytest.fixture
def facet_counts():
    """Numbers of facets on all ranks with one cell, and with two."""

    def of(domain):
        tdim = domain.topology.dim
        domain.topology.create_connectivity(tdim - 1, tdim)
        links = domain.topology.connectivity(tdim - 1, tdim)
        owned = domain.topology.index_map(tdim - 1).size_local
        sharing = np.diff(links.offsets)[:owned]
        counts = [domain.comm.allreduce(int((sharing == k).sum())) for k in (1, 2)]
        total = domain.topology.index_map(tdim - 1).size_global
        return tuple(counts) if sum(counts) == total else None

    return of


@pytest.fixture
def boundary_nodes():
    """Geometry nodes of the facets with one cell, ``shape=(facets, nodes, gdim)``; on one rank."""

    def of(domain):
        tdim = domain.topology.dim
        domain.topology.create_connectivity(tdim - 1, tdim)
        domain.topology.create_connectivity(tdim, tdim - 1)
        sharing = np.diff(domain.topology.connectivity(tdim - 1, tdim).offsets)
        facets = domain.topology.connectivity(tdim, tdim - 1).array.reshape(-1, tdim + 1)
        local = np.array(_element(domain).entity_closure_dofs[tdim - 1])
        cell, which = np.nonzero(sharing[facets] == 1)
        return _nodes(domain)[cell[:, None], local[which], : domain.geometry.dim]

    return of


@pytest.fixture
def ordered_nodes():
    """Geometry nodes in the order of the construction, ``shape=(nodes, gdim)``; on one rank."""

    def of(domain):
        geometry = domain.geometry
        ordered = np.empty((len(geometry.x), geometry.dim))
        ordered[geometry.input_global_indices] = geometry.x[:, : geometry.dim]
        return ordered

    return of


@pytest.fixture
def euler_characteristic():
    """Vertices less edges plus faces, on all ranks."""

    def of(domain):
        topology = domain.topology
        for k in range(topology.dim):
            topology.create_entities(k)
        return sum((-1) ** k * topology.index_map(k).size_global for k in range(topology.dim + 1))

    return of


@pytest.fixture
def cells_differ():
    """The largest distance of a corner or a node of a shared mesh from that of one on one rank.

    It is infinite on all ranks if the shared one has a wrong number on some rank, or if some
    facet of a cell of that rank lacks its second cell there.
    """

    def of(shared, alone):
        tdim = shared.topology.dim
        owned = shared.topology.index_map(tdim).size_local
        numbers = shared.topology.original_cell_index
        total = shared.comm.allgather(numbers[:owned])
        expected = np.arange(alone.topology.index_map(tdim).size_local)
        one, other = _nodes(shared), np.empty_like(_nodes(alone))
        other[alone.topology.original_cell_index] = _nodes(alone)
        worst = 0.0
        if not np.array_equal(np.sort(np.concatenate(total)), expected):
            worst = np.inf
        elif len(numbers):
            worst = np.abs(one - other[numbers]).max()
        if _lonely_facets(shared) != _lonely_facets(alone):
            worst = np.inf
        return max(shared.comm.allgather(worst))

    return of


def _lonely_facets(domain):
    """Facets of owned cells that have one cell here, on all ranks."""
    topology = domain.topology
    tdim = topology.dim
    topology.create_connectivity(tdim - 1, tdim)
    topology.create_connectivity(tdim, tdim - 1)
    sharing = np.diff(topology.connectivity(tdim - 1, tdim).offsets)
    owned = topology.index_map(tdim).size_local
    links = topology.connectivity(tdim, tdim - 1).array[: owned * (tdim + 1)]
    return domain.comm.allreduce(int((sharing[links] == 1).sum()))


def _nodes(domain):
    """Geometry nodes of the cells here, ``shape=(cells, nodes, 3)``."""
    return domain.geometry.x[compat.geometry_dofmap(domain)]


def _corners(domain):
    return _nodes(domain)[:, : domain.topology.dim + 1, : domain.geometry.dim]


def _element(domain):
    per_cell = _nodes(domain).shape[1]
    cell = getattr(basix.CellType, domain.topology.cell_name())
    elements = [
        basix.create_element(basix.ElementFamily.P, cell, k, basix.LagrangeVariant.gll_warped)
        for k in (1, 2, 3)
    ]
    return next(element for element in elements if element.dim == per_cell)


def _jacobians(domain):
    nodes = _nodes(domain)[..., : domain.geometry.dim]
    element = _element(domain)
    points, weights = basix.make_quadrature(element.cell_type, 6)
    corners = basix.geometry(element.cell_type)
    gradients = element.tabulate(1, np.concatenate([points, corners]))[1:, :, :, 0]
    spans = np.einsum("dpi,cig->cpdg", gradients, nodes)
    if spans.shape[2] == spans.shape[3]:
        determinants = np.linalg.det(spans)
    else:
        determinants = np.sqrt(np.linalg.det(np.einsum("cpig,cpjg->cpij", spans, spans)))
    return determinants, np.append(weights, np.zeros(len(corners)))


def _content(x):
    """(corners - 1)! times the content of simplices."""
    spans = x[:, 1:] - x[:, :1]
    gram = np.einsum("cik,cjk->cij", spans, spans)
    return np.sqrt(np.linalg.det(gram)) if spans.shape[1] else np.ones(len(x))
