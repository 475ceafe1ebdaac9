"""What must hold of a package whose place is kept but which is not built yet."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points, requires
from pathlib import Path


def check_unbuilt(name: str) -> None:
    """It installs on the core alone, exports nothing, adds no command, and its README says so."""
    module = import_module(f"pose_{name}")
    assert module.__all__ == []
    assert [name for name in vars(module) if not name.startswith("_")] == []
    assert requires(f"pose-{name}") == ["pose-core<0.2,>=0.1"]
    assert not [point for point in entry_points(group="pose.methods") if point.name == name]
    assert not [point for point in entry_points(group="console_scripts") if point.name == f"pose-{name}"]
    readme = Path(__file__).parents[4] / "packages" / f"pose-{name}" / "README.md"
    assert "not built yet" in readme.read_text()
