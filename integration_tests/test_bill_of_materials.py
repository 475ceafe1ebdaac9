"""The bill of materials of this environment, by the rules of CycloneDX's own schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pose_core.cli import main


def test_the_bill_of_materials_is_valid_and_names_what_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    file = tmp_path / "sbom.json"
    assert main(["doctor", "--sbom", str(file)]) == 0
    text = file.read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"expression": "MIT"', '"expression": 5', 1)) is not None
    components = {each["name"]: each for each in json.loads(text)["components"]}
    assert {"pose-core", "pose-lite", "pose-dekr", "torch", "av"} <= components.keys()
    bundled = [each["name"] for each in components["av"].get("components", ())]
    if any(name.startswith("libx264") for name in bundled):  # as in the published wheels
        assert "GPL-2.0-or-later" in components["av"]["properties"][0]["value"]
