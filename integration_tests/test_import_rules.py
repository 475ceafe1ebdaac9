"""The rules of imports, checked on every import of the sources: deferred and typing-only ones too, without exceptions.

python integration_tests/test_import_rules.py     # print what each subpackage of pose-core imports
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = ("asda", "advpose", "mrpose", "dekr", "lite")
LAYERS = (
    ("errors", "installation", "outside", "verbosity", "plurals", "suggestions", "text_tables", "digests", "files",
     "folders", "reading", "downloads", "photos", "timing", "machine", "measurements"),
    ("geometry", "joint_maps", "skeleton"),
    ("config",), ("ops",), ("drawing",), ("structures",), ("synthetic",), ("models",), ("runtimes",), ("data",),
    ("evaluation",), ("layouts",), ("engine",), ("topdown", "bottomup"), ("plugins",), ("inference",), ("report",),
    ("benchmark",), ("cli",),
    ("__main__", "pose_core"),
)  # fmt: skip
"""The subpackages and top-level modules of pose-core, lowest first: each imports from lower layers only.

Those of one layer do not import each other, except the first two. ``pose_core`` is the package's own ``__init__``.
"""
SIBLINGS = [{"topdown", "bottomup"}]
LOCATION = re.compile(r"pose_[a-z]+(\.[a-z_]+)+(:\w+)?")
NAMED = re.compile(r"(?<![a-z])(asda|advpose|mrpose|dekr|lpn)(?![a-z])")


@cache
def sources(package: str) -> dict[str, Path]:
    """Return the modules of a distribution, ``lite``, by dotted name."""
    base = ROOT / "packages" / f"pose-{package}" / "src"
    modules = {}
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imported_names(path: Path) -> Iterator[str]:
    """Yield every name that a file imports, wherever the import is in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def graph(package: str) -> dict[str, set[str]]:
    """Return which modules of a distribution each of its modules imports."""
    modules = sources(package)

    def module_of(name: str) -> str | None:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name or None

    return {
        module: {found for name in imported_names(path) if (found := module_of(name)) not in (None, module)}
        for module, path in modules.items()
    }


def subpackage(module: str) -> str:
    """Return ``ops`` of ``pose_core.ops.pasting``, and ``pose_core`` of the package itself."""
    return ([*module.split("."), "pose_core"])[1] if "." in module else module


@cache
def subpackage_graph() -> dict[str, set[str]]:
    """Return which subpackages of pose-core each of them imports."""
    arrows: dict[str, set[str]] = {}
    for module, others in graph("core").items():
        own = subpackage(module)
        arrows.setdefault(own, set()).update({subpackage(other) for other in others} - {own})
    return arrows


def cycles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other (strongly connected components of more than one node)."""
    reach = {node: reachable(arrows, node) for node in arrows}
    groups = {frozenset({node} | {other for other in reach[node] if node in reach[other]}) for node in arrows}
    return [sorted(group) for group in groups if len(group) > 1]


def reachable(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        for node in arrows[left.pop()] - found:
            found.add(node)
            left.append(node)
    return found


def test_the_check_sees_deferred_and_typing_imports(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "if TYPE_CHECKING:\n    import a.b\ndef f():\n    from c import d\n    class C:\n        import e\n"
    )
    assert set(imported_names(file)) == {"a.b", "c.d", "e"}
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


@pytest.mark.parametrize("package", METHODS)
def test_a_method_imports_no_other_method(package: str) -> None:
    others = {f"pose_{name}" for name in METHODS if name != package}
    for path in sources(package).values():
        assert not others & {name.split(".")[0] for name in imported_names(path)}, path


def test_the_core_imports_no_method() -> None:
    methods = {f"pose_{name}" for name in METHODS}
    for path in sources("core").values():
        assert not methods & {name.split(".")[0] for name in imported_names(path)}, path


def test_the_core_names_no_method_in_its_code() -> None:
    # Examples in docstrings and the suggestion to install a method are for people.
    named = []
    for module, path in sources("core").items():
        tree = ast.parse(path.read_text("utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                text = node.value
            else:
                text = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None) or ""
            if isinstance(text, str) and NAMED.search(text.lower().replace("_", " ")):
                named.append(f"{module}:{getattr(node, 'lineno', 0)} {text!r}")
    assert not [each for each in named if "'lpn*'" not in each]


def test_every_subpackage_has_a_layer() -> None:
    assert set(subpackage_graph()) == {name for layer in LAYERS for name in layer}


def test_inside_the_core_imports_point_downwards() -> None:
    rank = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{module} imports {other}"
        for module, others in graph("core").items()
        for other in sorted(others)
        if subpackage(other) != subpackage(module)
        and (rank[subpackage(other)] > rank[subpackage(module)] or {subpackage(module), subpackage(other)} in SIBLINGS)
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["core", *METHODS])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert cycles(graph(package)) == []


@pytest.mark.parametrize("package", ["core", *METHODS])
def test_no_code_is_named_by_a_string(package: str) -> None:
    # Tools see imports and attributes; "module:attribute" they do not.
    found = []
    for module, path in sources(package).items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and LOCATION.fullmatch(node.value):
                found.append(f"{module}:{node.lineno} {node.value!r}")
    assert not found


@pytest.mark.parametrize(
    "statement",
    [
        "import pose_core",
        "import pose_core.config",
        "import pose_lite",
        "import pose_core.cli",
        "import pose_core.evaluation",
        "import pose_core; pose_core.list_models()",
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


def print_graph() -> None:
    """Print what every subpackage imports, and how many files and lines are behind a command."""
    arrows = subpackage_graph()
    for layer in LAYERS:
        for name in layer:
            print(f"{name:<12}{', '.join(sorted(arrows[name])) or '-'}")
    circles = [circle for package in ("core", *METHODS) for circle in cycles(graph(package))]
    print(f"{len(graph('core'))} modules of pose-core; cycles of modules in the six packages: {circles or 'none'}")


if __name__ == "__main__":
    print_graph()
