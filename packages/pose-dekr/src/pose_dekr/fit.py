"""Batched Levenberg-Marquardt fit of Gaussians to heatmap windows.

A Gaussian is separable in x and y, so every sum over a window is a product of two sums over its sides, and the data
enter only through five moments: the cost of an iteration grows with a window's side, not its area.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Powers of the distance, in y and in x, of the five basis functions of the derivatives.
POWERS_Y = (0, 1, 0, 2, 0)
POWERS_X = (0, 0, 1, 0, 2)
TOLERANCE = 1e-6
"""A fit with a shorter step has converged; in pixels, and in heatmap units."""


def fit_gaussians(
    windows: Tensor, valid_y: Tensor, valid_x: Tensor, start: Tensor, sigma: float, *, steps: int = 60
) -> tuple[Tensor, Tensor]:
    """Fit ``A·exp(−((y−y₀)² + (x−x₀)²) / 2σ²)`` to ``windows`` ``(M, S, S)``, all four free.

    ``valid_y``, ``valid_x`` ``(M, S)`` are False beyond the map's border; ``start`` ``(M,)`` are the initial A; the
    initial (y₀, x₀) is the window's center. Return ``(M, 4)``: A, y₀ and x₀ relative to the center, σ; and which fits
    are finite, ``(M,)``.
    """
    count, side, _ = windows.shape
    windows = windows.double() * (valid_y[:, :, None] & valid_x[:, None, :])
    reach = torch.arange(side, device=windows.device, dtype=torch.float64) - side // 2
    valid = torch.stack([valid_y, valid_x]).double()
    found = _start(start.double(), sigma)
    energy = windows.square().sum((1, 2))
    damping = torch.full((count,), 1e-3, device=windows.device, dtype=torch.float64)
    gram, moments = _sums(found, windows, valid, reach)
    cost = _cost(found, gram, moments, energy)
    final = found.clone()
    active = torch.arange(count, device=windows.device)
    for number in range(steps):
        step = _step(found, gram, moments, damping)
        tried = found + step
        new_gram, new_moments = _sums(tried, windows, valid, reach)
        new_cost = _cost(tried, new_gram, new_moments, energy)
        better = new_cost < cost
        found = torch.where(better[:, None], tried, found)
        gram = torch.where(better[:, None, None], new_gram, gram)
        moments = torch.where(better[:, None], new_moments, moments)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 10, damping * 10).clamp(1e-12, 1e12)
        if number % 3 == 2:
            # Most fits converge early: only the others continue.
            final[active] = found
            moving = (step.abs().amax(1) > TOLERANCE) & (damping < 1e8)
            rows = moving.nonzero()[:, 0]
            if not len(rows):
                break
            active, found, gram, moments = active[rows], found[rows], gram[rows], moments[rows]
            cost, damping, energy, windows, valid = (
                cost[rows],
                damping[rows],
                energy[rows],
                windows[rows],
                valid[:, rows],
            )
    else:
        final[active] = found
    return final, final.isfinite().all(1)


def _start(start: Tensor, sigma: float) -> Tensor:
    zero = torch.zeros_like(start)
    return torch.stack([start, zero, zero, zero + sigma], 1)


def _sums(at: Tensor, windows: Tensor, valid: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Return products of the five basis functions with each other, ``(M, 5, 5)``, and with the data, ``(M, 5)``."""
    distance = reach - at[:, 1:3].T[:, :, None]
    bell = torch.exp(-distance.square() / (2 * at[:, 3, None].square())) * valid
    squared = distance.square()
    powers = torch.stack([torch.ones_like(distance), distance, squared, squared * distance, squared.square()], -1)
    functions = bell[..., None] * powers[..., :3]
    totals = (bell.square()[..., None, :] @ powers)[..., 0, :]
    pairs_y = torch.tensor([[a + b for b in POWERS_Y] for a in POWERS_Y], device=at.device)
    pairs_x = torch.tensor([[a + b for b in POWERS_X] for a in POWERS_X], device=at.device)
    gram = totals[0][:, pairs_y] * totals[1][:, pairs_x]
    table = functions[0].transpose(1, 2) @ windows @ functions[1]
    return gram, table[:, list(POWERS_Y), list(POWERS_X)]


def _cost(at: Tensor, gram: Tensor, moments: Tensor, energy: Tensor) -> Tensor:
    height = at[:, 0]
    return energy - 2 * height * moments[:, 0] + height.square() * gram[:, 0, 0]


def _step(at: Tensor, gram: Tensor, moments: Tensor, damping: Tensor) -> Tensor:
    """Return the damped step; zero where the equations have no solution."""
    height, sigma = at[:, 0], at[:, 3]
    zero, one = torch.zeros_like(height), torch.ones_like(height)
    slope, spread = height / sigma.square(), height / sigma**3
    mix = torch.stack(
        [
            torch.stack([one, zero, zero, zero, zero], 1),
            torch.stack([zero, slope, zero, zero, zero], 1),
            torch.stack([zero, zero, slope, zero, zero], 1),
            torch.stack([zero, zero, zero, spread, spread], 1),
        ],
        1,
    )
    normal = mix @ gram @ mix.transpose(1, 2)
    right = (mix @ (moments - height[:, None] * gram[:, :, 0])[..., None])[..., 0]
    diagonal = normal.diagonal(dim1=1, dim2=2)
    damped = normal + torch.diag_embed(diagonal * damping[:, None] + 1e-30)
    step, _ = torch.linalg.solve_ex(damped, right)
    return torch.where(step.isfinite().all(1, keepdim=True), step, 0)
