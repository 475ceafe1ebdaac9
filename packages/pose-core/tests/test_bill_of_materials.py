"""The table of licenses and the bill of materials, of packages that exist only in a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pose_core.cli import main
from pose_core.cli.bill_of_materials import Component, components, cyclonedx, license_table, own_packages, summary

DIGEST = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing


def install(
    site: Path, name: str, version: str = "1.0", *lines: str, files: Mapping[str, str] | None = None, points: str = ""
) -> None:
    """Write the metadata of an installed package; ``files`` are names with digests of its record."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    (folder / "METADATA").write_text("\n".join([*head, *lines]) + "\n\nText\n")
    rows = [f"{file},{f'sha256={digest}' if digest else ''},0" for file, digest in (files or {}).items()]
    for file in files or {}:  # files that do not exist are left out
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()
    (folder / "RECORD").write_text("".join(f"{row}\n" for row in rows))
    (folder / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    install(
        folder, "Demo.Method", "0.1",
        "License-Expression: MIT", "Provides-Extra: video", "Provides-Extra: Fast",
        "Requires-Dist: Base_Library[quick] (>=1)", 'Requires-Dist: demo-av>=1 ; extra == "video"',
        "Requires-Dist: demo-absent; extra == 'Fast'",
        points="[pose.methods]\ndemo = demo:METHOD\n",
    )  # fmt: skip
    install(
        folder, "base-library", "2.0+local",
        "License: BSD\n        many\n        lines", "Classifier: License :: OSI Approved :: BSD License",
        "Classifier: License :: OSI Approved", "Provides-Extra: quick", "Provides-Extra: other",
        "Requires-Dist: demo-quick; extra == 'quick'", "Requires-Dist: demo-other; extra == 'other'",
        "Requires-Dist: Demo.Method",
    )  # fmt: skip
    install(
        folder, "demo-av", "18.1", "License-Expression: BSD-3-Clause",
        files={"av.libs/libx264-1a.so.165": DIGEST, "av.libs/libavcodec-2b.so.62": "", "demo/__init__.py": ""},
    )  # fmt: skip
    install(folder, "demo-quick", "1.0", "License: Apache 2.0", files={"demo.libs/libavcodec-2b.so": DIGEST})
    install(folder, "demo-other")
    monkeypatch.syspath_prepend(folder)
    return folder


def by_name(found: list[Component]) -> dict[str, Component]:
    return {each.name: each for each in found}


def test_all_that_is_required_is_found_with_the_extras_that_are_asked_for(site: Path) -> None:
    found = by_name(components(["demo_method"]))
    assert list(found) == ["base-library", "demo-av", "demo-method", "demo-quick"]
    assert found["demo-method"].requires == ("base-library", "demo-av")
    assert found["base-library"].requires == ("demo-method", "demo-quick")
    assert list(by_name(components(["base-library"]))) == [
        "base-library", "demo-method", "demo-other", "demo-quick",
    ]  # fmt: skip
    assert components(["demo-absent"]) == []


def test_licenses_are_as_the_packages_state_them(site: Path) -> None:
    install(site, "demo-nvidia", "1", "License: NVIDIA Proprietary Software")
    install(site, "demo-many", "1", "License-Expression: MIT AND Zlib", *(f"License-File: {n}" for n in range(20)))
    found = by_name(components(["demo-method", "demo-other", "demo-nvidia", "demo-many"]))
    stated = {name: (each.license, each.is_expression) for name, each in found.items()}
    assert stated == {
        "base-library": ("BSD License", False),
        "demo-av": ("BSD-3-Clause", True),
        "demo-many": ("MIT AND Zlib", True),
        "demo-method": ("MIT", True),
        "demo-nvidia": ("NVIDIA Proprietary Software", False),
        "demo-other": ("not stated", False),
        "demo-quick": ("Apache 2.0", False),
    }
    assert "bundles FFmpeg with libx264, which are GPL-2.0-or-later" in found["demo-av"].remark
    assert "LGPL" in found["demo-quick"].remark
    assert "20 license texts" in found["demo-many"].remark
    assert "proprietary" in found["demo-nvidia"].remark
    assert found["demo-av"].bundled == (("libavcodec-2b.so.62", ""), ("libx264-1a.so.165", HEX))
    listed = list(found.values())
    assert "| demo-av | 18.1 | BSD-3-Clause | the wheel bundles" in license_table(listed)
    assert [line.split(":")[0].strip() for line in summary(listed).splitlines() if line[2] != " "] == [
        "demo-av", "demo-nvidia", "demo-quick",
    ]  # fmt: skip


def test_the_document_is_complete_and_the_same_each_time(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    found = components(["demo-method"])
    document = cyclonedx(found, ["demo-method"])
    assert document == cyclonedx(components(["demo-method"]), ["Demo.Method"])
    assert document["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    purls = {each["name"]: each["purl"] for each in document["components"]}
    assert purls["base-library"] == "pkg:pypi/base-library@2.0%2Blocal"
    edges = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert edges["pose"] == [purls["demo-method"]]
    assert set(edges) == {"pose", *purls.values()}
    described = {each["name"]: each for each in document["components"]}
    assert described["demo-av"]["licenses"] == [{"expression": "BSD-3-Clause", "acknowledgement": "declared"}]
    assert described["base-library"]["licenses"][0]["license"]["name"] == "BSD License"
    assert described["demo-av"]["components"][1]["hashes"] == [{"alg": "SHA-256", "content": HEX}]
    serial = document["serialNumber"]
    install(site, "demo-absent", "1")
    assert cyclonedx(components(["demo-method"]), ["demo-method"])["serialNumber"] != serial


def test_the_pose_packages_are_found_by_their_methods(site: Path) -> None:
    assert {"pose-core", "demo-method"} <= set(own_packages())


def test_the_command_prints_the_table_and_writes_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new" / "sbom.json"
    assert main(["doctor", "--licenses", "--sbom", str(file)]) == 0
    out = capsys.readouterr().out
    assert "| torch | " in out
    assert f"written: {file}, " in out
    content = json.loads(file.read_text())
    refs = [each["bom-ref"] for each in content["components"]]
    assert len(set(refs)) == len(refs)
    assert all(set(each["dependsOn"]) <= set(refs) for each in content["dependencies"])
    assert {"pose-core", "torch", "numpy", "pydantic-core"} <= {each["name"] for each in content["components"]}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    assert main(["doctor", "--sbom", str(file)]) == 2
    assert "SOURCE_DATE_EPOCH='today' must be a number of seconds" in capsys.readouterr().err


def test_a_folder_of_caches_that_others_may_write_to_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSE_HOME", str(tmp_path))
    tmp_path.chmod(0o777)
    assert main(["doctor"]) == 1
    assert f"other users may write to {tmp_path}" in capsys.readouterr().out
    tmp_path.chmod(0o755)
    main(["doctor"])
    assert "other users" not in capsys.readouterr().out
