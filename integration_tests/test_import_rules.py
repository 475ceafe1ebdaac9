"""The dependency rules of the house, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = ("asda", "advpose", "mrpose", "dekr", "lite")
ROOMS = {
    "errors": 0, "files": 0, "skeleton": 1, "geometry": 1, "structures": 1, "ops": 2, "codecs": 3, "data": 4,
    "models": 5, "evaluation": 6, "engine": 7, "inference": 8, "visualise": 8, "tasks": 9, "benchmark": 9,
    "config": 10, "method": 10, "convert": 10, "cli": 11,
}  # fmt: skip
# Plain settings and the plug-in table are read everywhere; they themselves import nothing from the rooms at top level.
ANYWHERE = {"config", "method"}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(package: str) -> list[Path]:
    return sorted((ROOT / "packages" / f"pose-{package}" / "src").rglob("*.py"))


@pytest.mark.parametrize("package", METHODS)
def test_a_method_imports_no_other_method(package: str) -> None:
    others = {f"pose_{name}" for name in METHODS if name != package}
    for path in sources(package):
        assert not others & {name.split(".")[0] for name in imports(path)}, path


def test_the_core_imports_no_method() -> None:
    methods = {f"pose_{name}" for name in METHODS}
    for path in sources("core"):
        assert not methods & {name.split(".")[0] for name in imports(path)}, path


def test_inside_the_core_imports_point_one_way() -> None:
    base = ROOT / "packages/pose-core/src/pose_core"
    wrong = []
    for path in sources("core"):
        room = path.relative_to(base).parts[0].removesuffix(".py")
        if room not in ROOMS:
            continue
        for name in imports(path, top_level_only=True):
            parts = name.split(".")
            if parts[0] != "pose_core" or len(parts) < 2 or parts[1] not in ROOMS:
                continue
            if parts[1] != room and parts[1] not in ANYWHERE and ROOMS[parts[1]] > ROOMS[room]:
                wrong.append(f"{path.relative_to(base)} imports {name}")
    assert not wrong


def test_every_room_is_known() -> None:
    base = ROOT / "packages/pose-core/src/pose_core"
    found = {p.stem for p in base.iterdir() if p.suffix == ".py" or p.is_dir()} - {
        "__init__",
        "__main__",
        "__pycache__",
    }
    assert found - {"py"} == set(ROOMS)


@pytest.mark.parametrize(
    "statement",
    [
        "import pose_core",
        "import pose_core.config",
        "import pose_lite",
        "import pose_core.cli",
        "import pose_core.evaluation",
    ],
)
def test_light_imports_load_no_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_loads_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys; from pose_core.cli import main; main(['--help']); main(['train', '--help']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pydantic', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_top_level_holds_what_it_should() -> None:
    allowed = {"packages", "shared", "integration_tests", "tox.ini", "pyproject.toml", "README.md", "LICENSE",
               "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"}  # fmt: skip
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= allowed
    assert "uv.lock" not in top
