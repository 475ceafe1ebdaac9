"""The tests that `tox -e fast` selects."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pose_testing.changed import changed_files, select_tests

CORE, LITE = "packages/pose-core/tests", "packages/pose-lite/tests"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in (CORE, LITE):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["packages/pose-lite/src/pose_lite/models.py"], [LITE]),
        (["packages/pose-lite/src/pose_lite/configs/quick.yaml"], [LITE]),
        (["packages/pose-lite/pyproject.toml"], [LITE]),
        ([f"{LITE}/test_a.py", f"{LITE}/test_b.py"], [f"{LITE}/test_a.py", f"{LITE}/test_b.py"]),
        ([f"{LITE}/conftest.py", f"{LITE}/test_a.py"], [LITE]),
        (["shared/golden/lite/lpn_18.json.gz"], [CORE, LITE]),
        (["shared/testing/src/pose_testing/tiny.py"], [CORE, LITE]),
        (["integration_tests/test_a.py"], ["integration_tests/test_a.py"]),
        (["integration_tests/conftest.py"], ["integration_tests"]),
        (["README.md", "packages/pose-lite/README.md", "packages/pose-lite/LICENSE", ".github/workflows/ci.yml"], []),
    ],
)
def test_changed_files_select_tests(root: Path, files: list[str], expected: list[str]) -> None:
    assert select_tests(files, root) == expected


def test_commits_edits_and_new_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], check=True, capture_output=True)

    git("init", "-b", "main")
    for name in ("kept", "edited", "deleted"):
        Path(name).write_text(name)
    git("add", ".")
    git("commit", "-m", "first")
    git("switch", "-c", "branch")
    Path("committed").write_text("new")
    git("add", ".")
    git("commit", "-m", "second")
    Path("edited").write_text("changed")
    Path("deleted").unlink()
    Path("untracked").write_text("new")
    assert sorted(changed_files("main")) == ["committed", "edited", "untracked"]
