"""The Hungarian algorithm in its textbook steps (Munkres), which decide between equally good assignments.

The published grouping solves its assignments by these steps. Rounded costs make ties, and of equally good assignments
another solver may take another one: with it, joints go to other people.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

SURPLUS = 1e10
"""Cost of a row without a column."""


def cheapest_columns(cost: Array) -> list[int]:
    """Return the column of each row in the cheapest assignment of finite costs ``(C, P)``, or −1.

    Rows that are too many cost 1e10 each, as published.
    """
    rows, columns = cost.shape
    size = max(rows, columns)
    square = np.full((rows, size), SURPLUS)
    square[:, :columns] = cost
    reduced = np.zeros((size, size))
    reduced[:rows] = square - square.min(1, keepdims=True)
    column_of, row_of, free = [-1] * size, [-1] * size, (1 << size) - 1
    zeros = _zeros(reduced)
    for row, places in enumerate(zeros):
        if places & free:
            column = _lowest(places & free)
            column_of[row], row_of[column] = column, row
            free ^= 1 << column
    while -1 in column_of:
        zeros = _augment(reduced, zeros, column_of, row_of)
    return [column if column < columns else -1 for column in column_of[:rows]]


def _zeros(reduced: Array) -> list[int]:
    """Return the columns of each row's zeros, as the bits of an integer."""
    size = len(reduced)
    is_zero = np.zeros((size, -size % 64 + size), bool)
    np.equal(reduced, 0, out=is_zero[:, :size])
    words = np.packbits(is_zero, 1, "little").view("<u8").T.tolist()
    zeros = words[0]
    for number, more in enumerate(words[1:], 1):
        zeros = [low | high << 64 * number for low, high in zip(zeros, more, strict=True)]
    return zeros


def _lowest(places: int) -> int:
    return (places & -places).bit_length() - 1


def _augment(reduced: Array, zeros: list[int], column_of: list[int], row_of: list[int]) -> list[int]:
    """Give one more row a column, and reduce the costs where that takes it; return the zeros of ``reduced``."""
    size = len(reduced)
    columns_open = sum(1 << column for column, row in enumerate(row_of) if row < 0)
    row_open, prime = [True] * size, [-1] * size
    # The same for NumPy.
    is_closed, is_open = np.zeros((size, 1), bool), np.array(row_of) < 0
    row = column = 0
    while True:
        # The search goes on from the last place, around the matrix, and takes the last zero of a row.
        for line in (*range(row, size), *range(row)):
            if zeros[line] & columns_open and row_open[line]:
                break
        else:
            least = np.where(is_closed | ~is_open, np.inf, reduced).min()
            # A number in a closed row and an open column is rounded twice, as in the published solver.
            reduced += is_closed * least
            reduced -= is_open * least
            zeros = _zeros(reduced)
            row = column = 0
            continue
        row, places = line, zeros[line] & columns_open
        before = places & ((1 << column) - 1)
        column = (before or places).bit_length() - 1
        prime[row] = column
        if column_of[row] < 0:
            break
        column = column_of[row]
        row_open[row], is_closed[row] = False, True
        columns_open |= 1 << column
        is_open[column] = True
    while row >= 0:
        column = prime[row]
        column_of[row], row_of[column], row = column, row, row_of[column]
    return zeros
