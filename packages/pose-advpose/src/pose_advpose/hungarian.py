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
    column_of, row_of = [-1] * size, [-1] * size
    zeros = _zeros(reduced)
    for row, places in enumerate(zeros):
        free = next((column for column in places if row_of[column] < 0), -1)
        if free >= 0:
            column_of[row], row_of[free] = free, row
    while -1 in column_of:
        zeros = _augment(reduced, zeros, column_of, row_of)
    return [column if column < columns else -1 for column in column_of[:rows]]


def _zeros(reduced: Array) -> list[list[int]]:
    """Return the columns of each row's zeros, ascending."""
    places: list[list[int]] = [[] for _ in reduced]
    for row, column in np.argwhere(reduced == 0).tolist():
        places[row].append(column)
    return places


def _augment(reduced: Array, zeros: list[list[int]], column_of: list[int], row_of: list[int]) -> list[list[int]]:
    """Give one more row a column, and reduce the costs where that takes it; return the zeros of ``reduced``."""
    size = len(reduced)
    row_open, column_open = [True] * size, [row < 0 for row in row_of]
    prime = [-1] * size
    row = column = 0
    while True:
        # The search goes on from the last place, around the matrix, and takes the last zero of a row.
        for line in (*range(row, size), *range(row)):
            places = [place for place in zeros[line] if column_open[place]] if row_open[line] else []
            if places:
                break
        else:
            lines, open_columns = np.array(row_open), np.array(column_open)
            least = reduced[lines][:, open_columns].min()
            # A number in a closed row and an open column is rounded twice, as in the published solver.
            reduced[~lines] += least
            reduced[:, open_columns] -= least
            zeros = _zeros(reduced)
            row = column = 0
            continue
        row = line
        column = next((place for place in reversed(places) if place < column), places[-1])
        prime[row] = column
        if column_of[row] < 0:
            break
        column = column_of[row]
        row_open[row], column_open[column] = False, True
    while row >= 0:
        column = prime[row]
        column_of[row], row_of[column], row = column, row, row_of[column]
    return zeros
