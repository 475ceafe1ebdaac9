"""A name that starts with an underscore is imported only in its own folder, and by the core's tests of it."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN_TESTS = {
    "test_bottomup_dataset.py": "pose_core.data.images",
    "test_decode_heatmaps.py": "pose_core.ops.decoding",
    "test_deform_conv.py": "pose_core.ops.deformable",
    "test_gaussian_heatmaps.py": "pose_core.ops.heatmaps",
    "test_pck_and_suppression.py": "pose_core.ops.suppression",
    "test_triton_compiles.py": "pose_core.ops",
    "test_triton_kernels.py": "pose_core.ops",
}
"""The private names that some tests of the core may import, mostly to compare the implementations of an op."""


def private_imports(file: Path) -> set[str]:
    """Return the private names of our packages that a file imports, with their modules: `pose_core.ops.tags._fast`."""
    names = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = [name.split(".") for name in names if name.startswith("pose_")]
    firsts = [next((i for i, part in enumerate(parts) if is_private(part)), None) for parts in ours]
    return {".".join(parts[: first + 1]) for parts, first in zip(ours, firsts, strict=True) if first is not None}


def is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines()]


def allowed_home(file: Path) -> str:
    """Return the package whose private names a file may import."""
    parts = file.relative_to(ROOT).parts
    if "src" in parts:
        return ".".join(parts[parts.index("src") + 1 : -1])
    return OWN_TESTS.get(file.name, "") if parts[:2] == ("packages", "pose-core") else ""


def test_private_names_are_imported_only_where_they_are_defined() -> None:
    seen, wrong = 0, []
    for file in tracked_files():
        home = allowed_home(file)
        for name in private_imports(file):
            seen += 1
            if not home or not f"{name.rpartition('.')[0]}.".startswith(f"{home}."):
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert seen > 20
    assert not wrong
