"""Published packages: wheels and source distributions, and installing one method with only the core."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
METHODS = [name for name in PACKAGES if name != "pose-core"]
PYTHONS = os.environ.get("POSE_TEST_INSTALLS", "").split()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LICENSE = (ROOT / "LICENSE").read_bytes()
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def run(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None, umask: int = -1) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, env=env, umask=umask)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a wheel and a source distribution of each package."""
    if UV is None:
        pytest.skip("uv is not installed; it builds the wheels")
    folder = tmp_path_factory.mktemp("dists")
    build(folder, ROOT)
    return folder


def build(folder: Path, root: Path, **more: int | dict[str, str]) -> None:
    """Build a wheel and a source distribution of each package of a workspace."""
    assert UV is not None
    run(UV, "build", "--all-packages", "--quiet", "--out-dir", str(folder), str(root), **more)  # type: ignore[arg-type]


def read_wheel(dists: Path, package: str) -> dict[str, bytes]:
    """Return the files of a package's wheel, by name."""
    file = next(dists.glob(f"{package.replace('-', '_')}-*.whl"))
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(dists: Path, package: str) -> Message:
    files = read_wheel(dists, package)
    return Parser().parsestr(files[next(name for name in files if name.endswith(".dist-info/METADATA"))].decode())


def tracked_sources(package: str) -> set[str]:
    """Return a package's files that git tracks or would track, relative to its src folder."""
    source = ROOT / "packages" / package / "src"
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.splitlines() if (source / name).is_file()}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_the_tracked_sources_and_nothing_else(package: str, dists: Path) -> None:
    names = {name for name in read_wheel(dists, package) if ".dist-info/" not in name}
    module = package.replace("-", "_")
    assert names == tracked_sources(package)
    assert {name.split("/")[0] for name in names} == {module}
    assert f"{module}/py.typed" in names
    assert not any(part == "tests" or part.startswith("test_") for name in names for part in name.split("/"))
    assert package == "pose-core" or any(name.endswith(".yaml") for name in names), "no experiments"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_license_text_is_in_the_wheel_and_the_sdist(package: str, dists: Path) -> None:
    files = read_wheel(dists, package)
    assert [text for name, text in files.items() if name.endswith(".dist-info/licenses/LICENSE")] == [LICENSE]
    with tarfile.open(next(dists.glob(f"{package.replace('-', '_')}-*.tar.gz"))) as archive:
        member = archive.extractfile(
            next(name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/LICENSE"))
        )
        assert member is not None
        assert member.read() == LICENSE


@pytest.mark.parametrize("package", PACKAGES)
def test_metadata_says_what_a_user_looks_for(package: str, dists: Path) -> None:
    found = metadata(dists, package)
    assert found["License-Expression"] == "MIT"
    assert found["Description-Content-Type"] == "text/markdown"
    assert str(found.get_payload()).strip() == (ROOT / "packages" / package / "README.md").read_text().strip()
    urls = dict(line.split(", ", 1) for line in found.get_all("Project-URL", []))
    assert urls.keys() == {"Homepage", "Changelog", "Issues"}
    assert all(url.startswith(PROJECT["urls"]["Homepage"]) for url in urls.values())
    assert {"Summary", "Keywords", "Author"} <= set(found.keys())
    versions = {line.removeprefix("Programming Language :: Python :: ") for line in found.get_all("Classifier", [])}
    assert versions >= {"3.11", "3.12", "3.13"}


def test_built_elsewhere_at_another_time_each_file_has_the_same_bytes(dists: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path / "another folder"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("shared/golden"):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod(0o600)
            os.utime(target, (1e9, 1e9))
    elsewhere = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    build(tmp_path / "dists", copy, env={**elsewhere, "TZ": "Pacific/Auckland", "LC_ALL": "C"}, umask=0o077)
    files = sorted(file.name for file in dists.iterdir() if file.suffix in {".whl", ".gz"})
    assert len(files) >= 2 * len(PACKAGES)
    assert [name for name in files if (dists / name).read_bytes() != (tmp_path / "dists" / name).read_bytes()] == []


@pytest.mark.parametrize("package", METHODS)
def test_a_method_bounds_the_core_on_both_sides(package: str, dists: Path) -> None:
    requirements = map(Requirement, metadata(dists, package).get_all("Requires-Dist", []))
    core = next(requirement for requirement in requirements if requirement.name == "pose-core")
    assert {bound.operator for bound in core.specifier} == {">=", "<"}
    assert Version(metadata(dists, "pose-core")["Version"]) in core.specifier


def test_twine_finds_no_fault(dists: Path) -> None:
    pytest.importorskip("twine", reason="twine is not installed")
    files = [str(file) for file in sorted(dists.iterdir()) if file.suffix in {".whl", ".gz"}]
    checked = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files)
    assert checked.count("PASSED") == len(files) >= 2 * len(PACKAGES)


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda file: file.name)
def test_workflows_use_pinned_actions_and_may_only_read(file: Path) -> None:
    text = file.read_text()
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in content["jobs"].values())
    used = re.findall(r"uses: *(\S+)(.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) and "# v" in version for action, version in used)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


@pytest.mark.parametrize("file", ["CITATION.cff", ".github/SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"])
def test_there_is_one_project_address(file: str) -> None:
    assert PROJECT["urls"]["Homepage"] in (ROOT / file).read_text()


def install_alone(package: str, dists: Path, environment: Path, python: str) -> Path:
    """Install the wheels of a package and of the core into a fresh environment; return its folder of scripts."""
    assert UV is not None
    run(UV, "venv", "--quiet", "--python", python, str(environment))
    scripts = environment / "bin"
    wheels = [str(next(dists.glob(f"{name.replace('-', '_')}-*.whl"))) for name in sorted({"pose-core", package})]
    run(UV, "pip", "install", "--quiet", "--python", str(scripts / "python"), *wheels)
    return environment


def check_installed(package: str, environment: Path, folder: Path) -> None:
    """Run what needs no data, from another folder than the repository's."""
    scripts = environment / "bin"
    modules = {f"pose_{path.name[5:].replace('-', '_')}" for path in ROOT.glob("packages/pose-*")}
    listing = "from importlib.metadata import distributions; print({d.name for d in distributions()})"
    installed = ast.literal_eval(run(str(scripts / "python"), "-c", listing, cwd=folder))
    assert {name for name in installed if name.replace("-", "_") in modules} == {"pose-core", package}
    run(str(scripts / "python"), "-c", f"import {package.replace('-', '_')}", cwd=folder)
    script = str(scripts / ("pose" if package == "pose-core" else package))
    assert "usage: " in run(script, "--help", cwd=folder)
    if package != "pose-core":
        assert run(script, "configs", cwd=folder).strip()
    assert "no problems" in run(str(scripts / "pose"), "doctor", cwd=folder)
    assert f"| {package} | " in run(str(scripts / "pose"), "doctor", "--licenses", "--sbom", "sbom.json", cwd=folder)


@pytest.mark.slow
@pytest.mark.skipif(not PYTHONS, reason="POSE_TEST_INSTALLS names no Pythons, such as '3.11 3.13'")
@pytest.mark.parametrize("python", PYTHONS or [None])
@pytest.mark.parametrize("package", PACKAGES)
def test_each_wheel_installs_alone(package: str, python: str, dists: Path, tmp_path: Path) -> None:
    environment = install_alone(package, dists, tmp_path / "env", python)
    try:
        check_installed(package, environment, tmp_path)
    finally:
        shutil.rmtree(environment)  # gigabytes, where file systems have no hard links


@pytest.mark.slow
def test_one_method_installs_alone_and_works(dists: Path, tmp_path: Path) -> None:
    environment = install_alone("pose-lite", dists, tmp_path / "env", sys.executable)
    check_installed("pose-lite", environment, tmp_path)
    script = str(environment / "bin" / "pose-lite")
    data, cfg = tmp_path / "data", ["--cfg", "synthetic_quick", f"data.root={tmp_path / 'data'}"]
    small = ["model.input_size=[64, 64]", "train.epochs=1", "train.batch_size=8", "train.workers=0", "test.workers=0",
             "run.device=cpu"]  # fmt: skip
    run(str(environment / "bin" / "pose"), "data", "synth", "--out", str(data), "--images", "10", "--size", "160x120",
        cwd=tmp_path)  # fmt: skip
    run(script, "train", *cfg, *small, cwd=tmp_path)
    weights = str(tmp_path / "runs/synthetic_quick/best.pt")
    assert "Average Precision" in run(script, "eval", *cfg, *small, "--weights", weights, cwd=tmp_path)
    images = str(data / "images" / "val2017")
    run(script, "predict", "--weights", weights, images, "--boxes", "gt", "--out", "out", cwd=tmp_path)
    assert list((tmp_path / "out").rglob("*.jpg"))
