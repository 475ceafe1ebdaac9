"""The layouts that are known, by name. A new data set is one file beside this one, and one row here."""

from __future__ import annotations

from difflib import get_close_matches

from pose_core.errors import ConfigError
from pose_core.layouts.coco import COCO
from pose_core.layouts.crowdpose import CROWDPOSE
from pose_core.layouts.layout import Layout
from pose_core.layouts.lsp import LSP
from pose_core.layouts.lsp_mpii import LSP_MPII
from pose_core.layouts.mpii import MPII

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (COCO, CROWDPOSE, MPII, LSP, LSP_MPII)}


def get_layout(name: str) -> Layout:
    """Return a layout by name; a ConfigError names the nearest one and all that are known."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    near = get_close_matches(name, LAYOUTS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ConfigError(f"layout {name!r} is not known{hint} Known: {', '.join(LAYOUTS)}")
