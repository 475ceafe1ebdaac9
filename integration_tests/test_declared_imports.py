"""Each package declares what it imports, and imports what it declares: nothing is there by another package's favor."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
NOT_DECLARED = {
    "triton": "comes with PyTorch's builds for GPUs on Linux; the kernels are used only where it is",
    "mmcv": "needs a compiler; an alternative to our operator for those who have it already",
    "ipython": "only a notebook shows images in this way, and it brings IPython",
    "pillow": "a window of the system's viewer shows images where there is no matplotlib, and a bundle's script reads "
    "images where there is no OpenCV",
    "pandas": "for those who ask for a data frame, and so have it",
    "supervision": "for those who ask for its key points, and so have it",
}
"""Distributions that are imported, inside functions only, or in modules that only run with them, and why no package
requires them."""
NOT_IMPORTED: dict[str, str] = {}
"""Distributions that are required but not imported, and why."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def installed() -> dict[str, str]:
    return {module: normal(names[0]) for module, names in packages_distributions().items()}


def distribution_of(module: str) -> str:
    """Return the distribution of a top-level module; one that is not installed is taken to have the same name."""
    return installed().get(module, normal(module))


class Imports(ast.NodeVisitor):
    """The top-level modules that a file imports: when it is imported, and otherwise (in functions, and for types)."""

    def __init__(self) -> None:
        self.at_once: set[str] = set()
        self.later: set[str] = set()
        self._deferred = False

    def visit_Import(self, node: ast.Import) -> None:
        self._add(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._add([node.module or ""])

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit_deferred(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            self._visit_deferred(node)
        else:
            self.generic_visit(node)

    def _visit_deferred(self, node: ast.AST) -> None:
        before, self._deferred = self._deferred, True
        self.generic_visit(node)
        self._deferred = before

    def _add(self, names: object) -> None:
        assert hasattr(names, "__iter__")
        found = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
        (self.later if self._deferred else self.at_once).update(found)


@cache
def imports(package: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the distributions that a package imports when its modules are imported, and those that it imports later.

    Modules that are only imported where Triton is count as later.
    """
    at_once: set[str] = set()
    later: set[str] = set()
    for path in (ROOT / "packages" / package / "src").rglob("*.py"):
        found = Imports()
        found.visit(ast.parse(path.read_text("utf-8")))
        if "triton" in found.at_once:
            found.at_once.discard("triton")
            found.later.add("triton")
        at_once |= {distribution_of(module) for module in found.at_once}
        later |= {distribution_of(module) for module in found.later}
    return frozenset(at_once - {package}), frozenset(later - at_once - {package})


@cache
def declared(package: str) -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    """Return the requirements of a package, and those of its extras, by name."""
    project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
    extras = [text for group in project.get("optional-dependencies", {}).values() for text in group]

    def by_name(texts: list[str]) -> dict[str, Requirement]:
        return {normal(requirement.name): requirement for requirement in map(Requirement, texts)}

    return by_name(project["dependencies"]), by_name(extras)


def test_the_check_tells_what_is_imported_when(tmp_path: Path) -> None:
    found = Imports()
    found.visit(
        ast.parse(
            "import a.b, os\nfrom __future__ import x\nif TYPE_CHECKING:\n    import t\n"
            "def f():\n    from c import d\n    class C:\n        import e\nclass D:\n    import g\n"
            "try:\n    import h\nexcept ImportError:\n    pass\nasync def k():\n    import m\n"
        )
    )
    assert found.at_once == {"a", "g", "h"}
    assert found.later == {"t", "c", "e", "m"}
    assert distribution_of("yaml") == "pyyaml"
    assert distribution_of("cv2") == "opencv-python-headless"
    assert distribution_of("no_such_module") == "no-such-module"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package: str) -> None:
    required, extras = declared(package)
    at_once, later = imports(package)
    assert not at_once - required.keys(), "imported with the package, but not among its dependencies"
    assert not later - required.keys() - extras.keys() - NOT_DECLARED.keys(), "imported, but not declared"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_declared_is_imported(package: str) -> None:
    required, extras = declared(package)
    at_once, later = imports(package)
    assert not (required.keys() | extras.keys()) - at_once - later - NOT_IMPORTED.keys(), "declared, but not imported"


def test_every_exception_is_needed() -> None:
    used = set[str]().union(*(later for _, later in map(imports, PACKAGES)))
    assert NOT_DECLARED.keys() <= used
    assert not NOT_DECLARED.keys() & {name for package in PACKAGES for group in declared(package) for name in group}


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "pose-core"])
def test_a_method_has_the_core_s_bounds(package: str) -> None:
    core, own = declared("pose-core")[0], declared(package)[0]
    assert {name: str(own[name]) for name in own.keys() & core.keys()} == {
        name: str(core[name]) for name in own.keys() & core.keys()
    }
