"""The table of layouts, by name. A new data set needs one file next to this one, and one row here."""

from __future__ import annotations

from pathlib import Path

from pose_core.errors import ConfigError
from pose_core.layouts.coco import COCO
from pose_core.layouts.crowdpose import CROWDPOSE
from pose_core.layouts.layout import Layout
from pose_core.layouts.lsp import LSP
from pose_core.layouts.lsp_mpii import LSP_MPII
from pose_core.layouts.mpii import MPII
from pose_core.suggestions import did_you_mean

__all__ = ["LAYOUTS", "get_layout", "looks_like"]

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (COCO, CROWDPOSE, MPII, LSP, LSP_MPII)}


def looks_like(root: Path, asked: Layout, setting: str) -> str:
    """Return a remark on a folder without the file that was asked for, or an empty text.

    It lists the usual splits that are there, or else names the layouts whose files are, which ``setting`` chooses.
    """
    there = {
        layout.name: [split for split in layout.splits if layout.annotation_file(root, split).exists()]
        for layout in LAYOUTS.values()
    }
    if there.get(asked.name):
        return f"this folder has the splits {', '.join(there[asked.name])}"
    names = [name for name, splits in there.items() if splits]
    return f"this folder looks like the layout {' or '.join(names)} ({setting})" if names else ""


def get_layout(name: str) -> Layout:
    """Return a layout by name; for an unknown name, raise a ConfigError with the nearest and all known names."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    raise ConfigError(f"unknown layout {name!r}{did_you_mean(name, LAYOUTS) or '.'} Known: {', '.join(LAYOUTS)}")
