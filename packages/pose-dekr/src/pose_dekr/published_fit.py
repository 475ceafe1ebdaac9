"""The published fit of Gaussians to heatmap windows: one by one, by MINPACK, with its fault at the map's border."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import leastsq
from torch import Tensor

MAX_EVALUATIONS = 300
"""A fit that needs more has failed."""


def fit_as_published(windows: Tensor, valid_y: Tensor, valid_x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Fit Gaussians as `pose_dekr.fit.fit_gaussians` does, step by step as the published code.

    A window that the border clips to ``h`` × ``w`` has coordinates of ``w`` rows and ``h`` columns there: unless it is
    square, the fit is to a scrambled window. Return ``(M, 4)`` and which fits converged, ``(M,)``.
    """
    middle = windows.shape[1] // 2
    known: dict[bytes, tuple[np.ndarray, bool]] = {}
    found = [
        _fit(
            window[inside_y][:, inside_x],
            middle - int(inside_y.argmax()),
            middle - int(inside_x.argmax()),
            sigma,
            known,
        )
        for window, inside_y, inside_x in zip(
            windows.double().cpu().numpy(), valid_y.cpu().numpy(), valid_x.cpu().numpy(), strict=True
        )
    ]
    values = torch.from_numpy(np.stack([value for value, _ in found])).to(windows.device)
    return values, torch.tensor([converged for _, converged in found], device=windows.device)


def _fit(
    window: np.ndarray, row: int, column: int, sigma: float, known: dict[bytes, tuple[np.ndarray, bool]]
) -> tuple[np.ndarray, bool]:
    """Return height, row and column relative to the start at (``row``, ``column``), and sigma; whether it converged.

    People share joints' peaks, so that the same window often comes again: ``known`` are those done.
    """
    key = b"%d %d %d " % (len(window), row, column) + window.tobytes()
    if key not in known:
        height, width = window.shape
        rows, columns = (axis.ravel() for axis in np.mgrid[0.0:width, 0.0:height])
        data = window.ravel()

        def residuals(at: np.ndarray) -> np.ndarray:
            a, y, x, s = at
            found: np.ndarray = a * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * s**2)) - data
            return found

        start = [window[row, column], row, column, sigma]
        with np.errstate(all="ignore"):
            at, _, _, _, status = leastsq(residuals, start, full_output=True, maxfev=MAX_EVALUATIONS)
        known[key] = at - [0, row, column, 0], status in (1, 2, 3, 4)
    return known[key]
