"""Compiled loops of the direct sums: groups of targets times runs of points.

Logits are b_j + <xi_i, y_j>. Points are stored by rows, one coordinate after another, so that the
loops over them become vector code: three coordinates, and four columns of values, a pass. In three
dimensions all of a pair's work is then done in registers. Rows of zeros fill up the last pass, and
points that weigh nothing the last vector.

A compiled loop is a closure over the kernel's ``term``, a plain function of this module, so that
numba finds the compiled code again in later processes. All they call is in this module, too: numba
compiles anew when a module changes, but not when another does from which it imports.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, register_jitable

#: Coordinates, columns of values and points come in multiples of these.
COORDINATES, COLUMNS, LANES = 3, 4, 32
#: Points in a leaf, and targets in a strip, for which leaves are kept or left out together.
LEAF, STRIP = 128, 64
# Three coordinates and four columns of a tile fill two thirds of 48 KiB of L1 cache.
_TILE = 512

# Rows of fewer numbers are no vectors.
_VECTOR = 8

# Minimax polynomial of 2^r, |r| <= 1/2, by Remez exchange of the relative error: 2.1e-16. Constant
# term last.
_POWER = (
    7.037279530582804e-09,
    1.0208537904552164e-07,
    1.3215662831846104e-06,
    1.5252658116561384e-05,
    0.00015403529961135955,
    0.0013333558228561476,
    0.00961812910803459,
    0.05550410866445883,
    0.24022650695908768,
    0.6931471805599497,
    1.0,
)


@register_jitable(fastmath={"contract"})
def power_of_two(t):  # type: ignore[no-untyped-def]
    """2^t to round-off, for t below 1000; 2^-1021 in place of less."""
    t = max(t, -1021.0)
    k = np.rint(t)
    r = t - k
    p = _POWER[0]
    for coefficient in _POWER[1:]:
        p = p * r + coefficient
    # 2^r 2^k: k is added to the exponent, which begins at bit 52.
    return np.int64(np.float64(p).view(np.int64) + (np.int64(k) << 52)).view(np.float64)


@register_jitable(error_model="numpy")
def logistic(t):  # type: ignore[no-untyped-def]
    """1 / (1 + 2^-t)."""
    power = power_of_two(-abs(t))
    return (power if t < 0 else 1.0) / (1 + power)


@register_jitable
def indicator(t):  # type: ignore[no-untyped-def]
    """1 for t >= 0, else 0."""
    return 1.0 if t >= 0 else 0.0


@register_jitable
def itself(t):  # type: ignore[no-untyped-def]
    """The logit."""
    return t


@intrinsic
def larger(typing, first, second):  # type: ignore[no-untyped-def]
    """The larger of two numbers of one type, neither of which is nan.

    Python's ``max`` has an order of its arguments that vector code cannot keep.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        number = arguments[0].type
        function = builder.module.declare_intrinsic(
            "llvm.maxnum", (number,), ir.FunctionType(number, (number, number))
        )
        return builder.call(function, arguments, fastmath=("nnan", "nsz"))

    return first(first, first), generate


# Without leave to reorder: hardmax compares logits with a maximum computed elsewhere.
@register_jitable(fastmath={"contract"})
def _add_product(t, x0, x1, x2, y0, y1, y2):  # type: ignore[no-untyped-def]
    """Three coordinates more: t + <x, y>."""
    return t + x0 * y0 + x1 * y1 + x2 * y2


@register_jitable
def _logits(query, keys, bias, start, stop, logits):  # type: ignore[no-untyped-def]
    """The logits of one query and a tile of points."""
    b, size = bias[start:stop], stop - start
    for j in range(size):
        logits[j] = b[j]
    for k in range(0, len(query), COORDINATES):
        x0, x1, x2 = query[k], query[k + 1], query[k + 2]
        # Slices of C-contiguous rows: numba knows that they have unit stride.
        y0, y1, y2 = keys[k, start:stop], keys[k + 1, start:stop], keys[k + 2, start:stop]
        for j in range(size):
            logits[j] = _add_product(logits[j], x0, x1, x2, y0[j], y1[j], y2[j])


@register_jitable
def _run(kept, leaf):  # type: ignore[no-untyped-def]
    """The next kept leaf from here, and the one after the last of its neighbours kept with it."""
    while leaf < len(kept) and not kept[leaf]:
        leaf += 1
    end = leaf
    while end < len(kept) and kept[end]:
        end += 1
    return leaf, end


@numba.njit(nogil=True, cache=True)
def raise_to_maxima(queries, keys, bias, kept, maxima):  # type: ignore[no-untyped-def]
    """Raise each target's maximum to its largest logit over some leaves.

    Args:
        queries: xi, ``shape=(m, r)``, r a multiple of ``COORDINATES``.
        keys: y, ``shape=(r, n)``.
        bias: b, ``shape=(n,)``, finite.
        kept: Which leaves each strip of targets meets, ``shape=(strips, k)``.
        maxima: ``shape=(m,)``.
    """
    logits = np.empty(_TILE)
    for strip in range(len(kept)):
        leaf, end = _run(kept[strip], 0)
        while leaf < end:
            last = min(end * LEAF, len(bias))
            for start in range(leaf * LEAF, last, _TILE):
                stop = min(start + _TILE, last)
                for i in range(strip * STRIP, min(strip * STRIP + STRIP, len(queries))):
                    _logits(queries[i], keys, bias, start, stop, logits)
                    top = logits[0]
                    for j in range(stop - start):
                        top = larger(top, logits[j])
                    maxima[i] = max(maxima[i], top)
            leaf, end = _run(kept[strip], end)


def _accumulation(term: Callable) -> Callable:
    """The loop that adds sum_j term(logit_ij - reference_i) values_j, for one kernel."""

    @register_jitable(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
    def in_registers(query, c, keys, bias, values, start, stop, sums):  # type: ignore[no-untyped-def]
        x0, x1, x2 = query[0], query[1], query[2]
        y0, y1, y2 = keys[0, start:stop], keys[1, start:stop], keys[2, start:stop]
        v0, v1 = values[0, start:stop], values[1, start:stop]
        v2, v3 = values[2, start:stop], values[3, start:stop]
        b, s0 = bias[start:stop], 0.0
        s1, s2, s3 = s0, s0, s0
        for j in range(stop - start):
            e = term(_add_product(b[j], x0, x1, x2, y0[j], y1[j], y2[j]) - c)
            s0 += e * v0[j]
            s1 += e * v1[j]
            s2 += e * v2[j]
            s3 += e * v3[j]
        sums[0] += s0
        sums[1] += s1
        sums[2] += s2
        sums[3] += s3

    @register_jitable(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
    def in_passes(query, c, keys, bias, values, start, stop, terms, sums):  # type: ignore[no-untyped-def]
        _logits(query, keys, bias, start, stop, terms)
        for j in range(stop - start):
            terms[j] = term(terms[j] - c)
        for k in range(len(values)):
            column, total = values[k, start:stop], 0.0
            for j in range(stop - start):
                total += terms[j] * column[j]
            sums[k] += total

    @numba.njit(
        nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy"
    )
    def accumulate(queries, references, keys, bias, values, kept, sums):  # type: ignore[no-untyped-def]
        terms = np.empty(_TILE)
        small = queries.shape[1] == COORDINATES and len(values) == COLUMNS
        for strip in range(len(kept)):
            leaf, end = _run(kept[strip], 0)
            while leaf < end:
                last = min(end * LEAF, len(bias))
                for start in range(leaf * LEAF, last, _TILE):
                    stop = min(start + _TILE, last)
                    for i in range(strip * STRIP, min(strip * STRIP + STRIP, len(queries))):
                        query, c = queries[i], references[i]
                        if small:
                            in_registers(query, c, keys, bias, values, start, stop, sums[i])
                        else:
                            in_passes(query, c, keys, bias, values, start, stop, terms, sums[i])
                leaf, end = _run(kept[strip], end)

    return accumulate


#: Add sum_j k(logit_ij - reference_i) values_j to the sums, for k(t) = 2^t, 1 / (1 + 2^-t) and
#: t >= 0. Arguments, besides those of ``raise_to_maxima``: references, ``shape=(m,)``, values,
#: ``shape=(c, n)``, and the sums, ``shape=(m, c)``.
add_exponentials = _accumulation(power_of_two)
add_logistics = _accumulation(logistic)
add_indicators = _accumulation(indicator)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def multiply(first, second, product):  # type: ignore[no-untyped-def]
    """Stacked products, ``shape=(s, m, r)`` times ``(s, r, n)``, all C-contiguous."""
    stacks, rows, inner = first.shape
    columns = product.shape[2]
    for s in range(stacks):
        for i in range(rows):
            if columns < _VECTOR:
                for j in range(columns):
                    total = 0.0
                    for k in range(inner):
                        total += first[s, i, k] * second[s, k, j]
                    product[s, i, j] = total
                continue
            row = product[s, i]
            row[:] = 0.0
            for k in range(inner):
                factor, other = first[s, i, k], second[s, k]
                for j in range(columns):
                    row[j] += factor * other[j]


def _weighing(term: Callable, local: bool) -> Callable:
    """The loop that turns logits of small systems into weights; ``local`` as of ``Kernel``."""

    @numba.njit(
        nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy"
    )
    def weigh(logits, slack, bias, factors, seen, references, totals):  # type: ignore[no-untyped-def]
        systems, targets, points = logits.shape
        for s in range(systems):
            b = bias[s]
            for i in range(targets):
                row, c, count = logits[s, i], references[s, i], seen[i]
                for j in range(count):
                    row[j] += b[j]
                if local:
                    for j in range(count):
                        c = larger(c, row[j])
                    references[s, i] = c
                    c -= slack[s, i]
                for j in range(count):
                    row[j] -= c
                row[count:] = 0.0
        # Rows may be too short for vectors, but all of them together are not.
        terms = logits.reshape(systems * targets * points)
        for j in range(len(terms)):
            terms[j] = term(terms[j])
        for s in range(systems):
            f = factors[s]
            for i in range(targets):
                row, total, count = logits[s, i], 0.0, seen[i]
                for j in range(count):
                    row[j] *= f[j]
                    total += row[j]
                totals[s, i] = total
                row[count:] = 0.0

    return weigh


#: Turn logits, ``shape=(s, m, n)``, of each system into f_j k(logit_ij + b_j - reference_i) in
#: place, zero but for the first ``seen`` points j, and set totals to their sums, for k(t) = 2^t,
#: 1 / (1 + 2^-t), t >= 0 and t. For local kernels references are raised to the largest logit
#: first, and lowered by the slack for terms. Arguments besides logits: slack, ``shape=(s, m)``,
#: bias and factors, ``(s, n)``, seen, ``(m,)``, references and totals, ``(s, m)``.
weigh_exponentials = _weighing(power_of_two, True)
weigh_logistics = _weighing(logistic, False)
weigh_indicators = _weighing(indicator, True)
weigh_logits = _weighing(itself, False)


@numba.njit(nogil=True, cache=True)
def raise_to_row_maxima(logits, bias, maxima):  # type: ignore[no-untyped-def]
    """Raise maxima, ``shape=(m,)``, to those of logits plus bias, ``shape=(m, n)`` and ``(n,)``."""
    for i in range(len(logits)):
        row = logits[i]
        top = row[0] + bias[0]
        for j in range(len(row)):
            top = larger(top, row[j] + bias[j])
        maxima[i] = max(maxima[i], top)


def _turning(term: Callable) -> Callable:
    """The loop that turns logits into terms of one kernel, and adds them to the totals."""

    @numba.njit(
        nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy"
    )
    def turn(logits, bias, factors, references, totals):  # type: ignore[no-untyped-def]
        for i in range(len(logits)):
            row, c, total = logits[i], references[i], 0.0
            for j in range(len(row)):
                row[j] = factors[j] * term((row[j] + bias[j]) - c)
                total += row[j]
            totals[i] += total

    return turn


#: Turn logits, ``shape=(m, n)``, into terms f_j k(logit_ij + b_j - reference_i) in place, and add
#: their sums to the totals, ``shape=(m,)``.
turn_exponentials = _turning(power_of_two)
turn_logistics = _turning(logistic)
turn_indicators = _turning(indicator)
