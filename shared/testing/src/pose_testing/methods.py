"""Methods that exist only in a test, found like installed ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pose_core.plugins import method
from pose_core.plugins.method import Method, installed_methods


@contextmanager
def installed(methods: Mapping[str, Method]) -> Iterator[None]:
    """Make ``methods``, by name, the only installed methods."""
    points = [SimpleNamespace(name=name, load=lambda each=each: each) for name, each in methods.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "entry_points", lambda group: points)
        installed_methods.cache_clear()
        try:
            yield
        finally:
            installed_methods.cache_clear()
