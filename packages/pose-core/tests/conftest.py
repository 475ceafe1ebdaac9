"""Fixtures of the core's suite."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["reference", "fast"])
def ops_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on both paths of every op."""
    monkeypatch.setenv("POSE_OPS", request.param)
    return str(request.param)
