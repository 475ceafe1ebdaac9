"""Run the tests of files that changed since a branch, from the repository's root.

    python -m pose_testing.changed [--since main] [PYTEST ARGUMENT ...]

A changed test file selects itself, any other change in a package selects the package's suite, and a change in
shared/golden or shared/testing selects every suite. The rest is left to `tox`: tests marked slow, the integration
tests, and the method packages where only the core changed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest


def changed_files(since: str) -> list[str]:
    """Return the files that differ from the merge base with `since`, untracked ones included."""
    commands = (
        ["git", "diff", "--name-only", "--diff-filter=d", "--merge-base", since],
        ["git", "ls-files", "--others", "--exclude-standard"],
    )
    outputs = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout for command in commands]
    return "".join(outputs).splitlines()


def select_tests(files: Iterable[str], root: Path) -> list[str]:
    """Return the test files and folders to run for changed `files`, sorted and relative to `root`, as `files` are."""
    selected: set[Path] = set()
    for path in map(Path, files):
        if path.suffix in {".md", ".cff", ""}:  # texts
            continue
        match path.parts:
            case ("packages", package, "tests", *_) if path.name.startswith("test_"):
                selected.add(path)
            case ("packages", package, _, *_):
                selected.add(Path("packages", package, "tests"))
            case ("integration_tests", name):
                selected.add(path if name.startswith("test_") else Path("integration_tests"))
            case ("shared", "golden" | "testing", *_):
                selected.update(folder.relative_to(root) for folder in root.glob("packages/*/tests"))
    return sorted(str(path) for path in selected if not selected.intersection(path.parents))


def main(words: list[str] | None = None) -> int:
    """Run pytest on the selected tests; return its exit code, or 0 if there are none."""
    parser = argparse.ArgumentParser(description="Run the tests of what changed.")
    parser.add_argument("--since", default="main", help="branch or commit to compare with (main)")
    args, pytest_words = parser.parse_known_args(words)
    tests = select_tests(changed_files(args.since), Path.cwd())
    if not tests:
        print(f"Nothing that has tests differs from {args.since}.")
        return 0
    print(f"Changed since {args.since}: {' '.join(tests)}", flush=True)
    return int(pytest.main(["-m", "not slow", *pytest_words, *tests]))


if __name__ == "__main__":
    sys.exit(main())
