"""Built wheels in a fresh environment: one method and the core, and nothing of the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def run(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


BUILT = tuple(sorted(path.parents[2].name for path in (ROOT / "packages").glob("pose-*/src/*/experiments")))
"""The method packages that have experiments."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if UV is None:
        pytest.skip("uv is not installed; it builds the wheels")
    folder = tmp_path_factory.mktemp("wheels")
    for package in ("pose-core", *BUILT):
        run(UV, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT / "packages" / package))
    return folder


@pytest.mark.parametrize("package", BUILT)
def test_wheels_hold_experiments_types_and_bounds(package: str, wheels: Path) -> None:
    module = package.replace("-", "_")
    with zipfile.ZipFile(next(wheels.glob(f"{module}-*.whl"))) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert f"{module}/py.typed" in names
    pages = (ROOT / "packages" / package / "src" / module / "experiments").glob("*.yaml")
    assert {f"{module}/experiments/{page.name}" for page in pages} <= set(names)
    assert not any("tests/" in name for name in names)
    assert "Requires-Dist: pose-core<0.2,>=0.1" in metadata


@pytest.mark.slow
def test_one_method_installs_alone_and_works(wheels: Path, tmp_path: Path) -> None:
    assert UV is not None
    environment = tmp_path / "env"
    run(UV, "venv", "--quiet", "--python", sys.executable, str(environment))
    python = environment / "bin" / "python"
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        *(str(next(wheels.glob(f"{name}-*.whl"))) for name in ("pose_core", "pose_lite")),
    )
    listed = run(UV, "pip", "list", "--python", str(python), "--format", "freeze")
    ours = {line.split("==")[0] for line in listed.splitlines() if line.startswith("pose")}
    assert ours == {"pose-core", "pose-lite"}

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
    run(
        script, "predict", *cfg, "model.input_size=[64, 64]", "--weights", weights, images, "--out", "out", cwd=tmp_path
    )
    assert list((tmp_path / "out").rglob("*.jpg"))
