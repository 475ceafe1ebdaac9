"""The microbenchmarks do the work they are named after."""

from __future__ import annotations

import torch

from pose_asda import METHOD
from pose_asda.microbenchmarks import BATCH, PART, SIDE, SLOTS, parted


def test_microbenchmarks_paste_and_differentiate() -> None:
    pasting, learning = METHOD.microbenchmarks(torch.device("cpu"))
    images = parted(BATCH)[0]
    pasted = pasting.run()
    assert isinstance(pasted, torch.Tensor)
    assert len(pasted) == pasting.count == learning.count == BATCH
    changed = (pasted != images).any(1).float().mean()
    # Parts may overlap one another, or an edge.
    assert 0.1 < changed * SIDE**2 / (SLOTS * PART**2) < 1
    gradient = learning.run()
    assert isinstance(gradient, torch.Tensor)
    assert gradient.shape == (BATCH, 25, 3)
    assert (gradient != 0).flatten(1).any(1).all()
