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
    return [int.from_bytes(row, "little") for row in np.packbits(reduced == 0, 1, "little")]


def _lowest(places: int) -> int:
    return (places & -places).bit_length() - 1


def _augment(reduced: Array, zeros: list[int], column_of: list[int], row_of: list[int]) -> list[int]:
    """Give one more row a column, and reduce the costs where that takes it; return the zeros of ``reduced``."""
    size = len(reduced)
    row_open, columns_open = [True] * size, sum(1 << column for column, row in enumerate(row_of) if row < 0)
    prime = [-1] * size
    row = column = 0
    while True:
        # The search goes on from the last place, around the matrix, and takes the last zero of a row.
        for line in (*range(row, size), *range(row)):
            if row_open[line] and zeros[line] & columns_open:
                break
        else:
            closed_rows = ~np.array(row_open)
            open_columns = np.array([columns_open >> column & 1 for column in range(size)], bool)
            least = np.where(closed_rows[:, None] | ~open_columns, np.inf, reduced).min()
            # A number in a closed row and an open column is rounded twice, as in the published solver.
            reduced += (closed_rows * least)[:, None]
            reduced -= open_columns * least
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
        row_open[row] = False
        columns_open |= 1 << column
    while row >= 0:
        column = prime[row]
        column_of[row], row_of[column], row = column, row, row_of[column]
    return zeros
