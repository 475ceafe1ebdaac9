"""What the benchmark measures does the work it names."""

from __future__ import annotations

import torch

from pose_asda import METHOD
from pose_asda.microbenchmarks import BATCH, PART, SIDE, SLOTS, parted


def test_microbenchmarks_paste_and_teach() -> None:
    pasting, teaching = METHOD.microbenchmarks(torch.device("cpu"))
    images = parted(BATCH)[0]
    found = pasting.run()
    assert isinstance(found, torch.Tensor)
    assert len(found) == pasting.count == teaching.count == BATCH
    changed = (found != images).any(1).float().mean()
    # Parts may lie over one another, or beyond an edge.
    assert 0.1 < changed * SIDE**2 / (SLOTS * PART**2) < 1
    gradient = teaching.run()
    assert isinstance(gradient, torch.Tensor)
    assert gradient.shape == (BATCH, 25, 3)
    assert (gradient != 0).flatten(1).any(1).all()
