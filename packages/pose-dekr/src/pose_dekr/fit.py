"""Batched Levenberg-Marquardt fit of Gaussians to heatmap windows.

A Gaussian is separable in x and y, so every sum over a window is a product of two sums over its sides, and the data
enter only through a few moments: the cost of an iteration grows with a window's side, not its area, but for one
product.
All fits advance together, in arrays whose last axis counts them: a step is some hundred additions of rows, and no call
of a linear algebra library, whose cost for small matrices differs by an order of magnitude between machines.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray

TOLERANCE = 1e-6
"""A fit with a shorter step has converged; in pixels, and in heatmap units."""
RAISED = 0.1
"""Least damping after a step that failed. The first steps are successful, and then σ leaps below zero: raised by tens
from 1e-5, the damping would take as many steps again to prevent that."""
LOWEST = -350.0
"""Least exponent: with it squares of bells are still normal numbers. On some processors subnormal ones cost a hundred
times as much."""


class Windows(NamedTuple):
    """The data of M fits: ``values`` ``(S, S, M)``, zero where not valid, the axes' ``valid`` ``(2, S, M)``, y first.

    ``energy`` ``(M,)`` are the sums of the squared values.
    """

    values: Array
    valid: Array
    energy: Array

    def only(self, rows: Array) -> Windows:
        """Return the windows of some fits."""
        return Windows(self.values.take(rows, 2), self.valid.take(rows, 2), self.energy.take(rows))


def fit_gaussians(
    windows: Tensor, valid_y: Tensor, valid_x: Tensor, start: Tensor, sigma: float, *, steps: int = 60
) -> tuple[Tensor, Tensor]:
    """Fit ``A·exp(−((y−y₀)² + (x−x₀)²) / 2σ²)`` to ``windows`` ``(M, S, S)``, all four free; on the CPU.

    ``valid_y``, ``valid_x`` ``(M, S)`` are False beyond the map's border; ``start`` ``(M,)`` are the initial A; the
    initial (y₀, x₀) is the window's center. Return ``(M, 4)``: A, y₀ and x₀ relative to the center, σ; and which fits
    are finite, ``(M,)``.
    """
    valid = torch.stack([valid_y.T, valid_x.T]).cpu().double().numpy()
    values = windows.permute(1, 2, 0).cpu().double().numpy() * valid[0][:, None] * valid[1]
    at = np.zeros((4, len(windows)))
    at[0], at[3] = start.cpu().double().numpy(), sigma
    with np.errstate(all="ignore"):  # a fit may diverge
        found = _descend(Windows(values, valid, np.einsum("yxm,yxm->m", values, values)), at, steps)
    return torch.from_numpy(found.T.copy()).to(windows.device), torch.from_numpy(np.isfinite(found).all(0)).to(
        windows.device
    )


def _descend(windows: Windows, at: Array, steps: int) -> Array:
    """Return the parameters ``(4, M)`` at the minima that fits from ``at`` reach: A, y₀, x₀, σ."""
    final, active = at.copy(), np.arange(at.shape[1])
    damping, sums = np.full(at.shape[1], 1e-3), _sums(at, windows)
    for _ in range(steps):
        step = _step(at, sums, damping)
        tried = at + step
        new = _sums(tried, windows)
        better = new[-1] < sums[-1]
        np.copyto(at, tried, where=better)
        np.copyto(sums, new, where=better)
        damping = np.clip(np.where(better, damping / 10, np.maximum(damping * 10, RAISED)), 1e-12, 1e12)
        moving = (np.abs(step).max(0) > TOLERANCE) & (damping < 1e8)
        count = np.count_nonzero(moving)
        # A smaller copy of the windows pays off if it is much smaller.
        if 4 * count > 3 * len(active):
            continue
        final[:, active] = at
        rows = np.flatnonzero(moving)
        active, at, sums, damping = active[rows], at.take(rows, 1), sums.take(rows, 1), damping[rows]
        if not count:
            break
        windows = windows.only(rows)
    final[:, active] = at
    return final


def _sums(at: Array, windows: Windows) -> Array:
    """Return the sums ``(15, M)`` that a step needs, and last the cost.

    With the functions bell·(1, y, x, y² + x²): the ten products of two of them, row by row of the upper triangle, then
    the four products with the data.
    """
    height, sigma = at[0], at[3]
    side = len(windows.values)
    distance = (np.arange(side) - side // 2.0)[:, None] - at[1:3, None]
    exponent = np.square(distance)
    exponent *= -0.5 / np.square(sigma)
    bell = np.exp(np.maximum(exponent, LOWEST, out=exponent), out=exponent)
    bell *= windows.valid
    first = bell * distance
    second = first * distance
    t0, t1, t2, t3, t4 = (
        np.einsum("dsm,dsm->dm", a, b)
        for a, b in ((bell, bell), (bell, first), (first, first), (first, second), (second, second))
    )
    table = np.einsum("aym,yxm->axm", np.stack([bell[0], first[0], second[0]]), windows.values)
    along_y = np.einsum("axm,xm->am", table, bell[1])
    x1, x2 = np.einsum("xm,xm->m", table[0], first[1]), np.einsum("xm,xm->m", table[0], second[1])
    sums = np.empty((15, len(height)))
    sums[0] = t0[0] * t0[1]
    sums[1] = t1[0] * t0[1]
    sums[2] = t0[0] * t1[1]
    sums[4] = t2[0] * t0[1]
    sums[5] = t1[0] * t1[1]
    sums[6] = t3[0] * t0[1] + t1[0] * t2[1]
    sums[7] = t0[0] * t2[1]
    sums[8] = t2[0] * t1[1] + t0[0] * t3[1]
    sums[3] = sums[4] + sums[7]
    sums[9] = t4[0] * t0[1] + 2 * t2[0] * t2[1] + t0[0] * t4[1]
    sums[10], sums[11], sums[12], sums[13] = along_y[0], along_y[1], x1, along_y[2] + x2
    sums[14] = windows.energy + height * (height * sums[0] - 2 * sums[10])
    return sums


def _step(at: Array, sums: Array, damping: Array) -> Array:
    """Return the damped step ``(4, M)``; zero where the equations have no solution."""
    height, sigma = at[0], at[3]
    # The derivatives are these multiples of the four functions.
    slope = height / np.square(sigma)
    factor = np.stack([np.ones_like(height), slope, slope, slope / sigma])
    rows, columns = np.triu_indices(4)
    upper = np.empty((4, 4, len(height)))
    upper[rows, columns] = sums[:10] * factor[rows] * factor[columns]
    right = factor * (sums[10:14] - height * sums[:4])
    diagonal = np.arange(4)
    upper[diagonal, diagonal] += upper[diagonal, diagonal] * damping + 1e-30
    # Elimination in a symmetric matrix, of which only the upper triangle is kept.
    for i in range(3):
        for j in range(i + 1, 4):
            share = upper[i, j] / upper[i, i]
            upper[j, j:] -= share * upper[i, j:]
            right[j] -= share * right[i]
    step = np.empty_like(right)
    for i in (3, 2, 1, 0):
        known = sum((upper[i, j] * step[j] for j in range(i + 1, 4)), start=np.zeros_like(height))
        step[i] = (right[i] - known) / upper[i, i]
    return np.where(np.isfinite(step).all(0), step, 0)
