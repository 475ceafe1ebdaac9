"""The installed packages that the pose packages are made of: a table of licenses, and a CycloneDX document (SBOM).

Everything comes from the metadata of the packages that are installed here.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import platform
import re
import textwrap
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from pose_core.errors import ConfigError

CORE = "pose-core"
NOT_STATED = "not stated"
WIDTH = 120
MANY = 10
"""A package with more license texts than this holds the code of many others."""
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]+)['"]""")
_GPL = ("libx264", "libx265")


@dataclass(frozen=True)
class Component:
    """An installed package.

    ``requires`` are names of components. ``bundled`` are the native libraries in its wheel, by name, with the SHA-256
    that its record states, in hexadecimal digits ("" if none).
    """

    name: str
    version: str
    license: str
    is_expression: bool
    """Whether ``license`` is an SPDX expression."""
    remark: str
    requires: tuple[str, ...]
    bundled: tuple[tuple[str, str], ...]

    @property
    def purl(self) -> str:
        """The package's URL, which names it in a bill of materials."""
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='.-_~')}"


def own_packages() -> list[str]:
    """Return the names of the installed pose packages."""
    found = {point.dist.name for point in entry_points(group="pose.methods") if point.dist is not None}
    return sorted({CORE, *map(_normal, found)})


def components(roots: Iterable[str]) -> list[Component]:
    """Return ``roots`` and all that they require, also by their extras, as far as it is installed, by name.

    Of a requirement's conditions only that on an extra is evaluated: what another condition excludes is usually not
    installed.
    """
    extras: dict[str, set[str]] = {}
    found: dict[str, Distribution] = {}
    left: list[tuple[str, set[str] | None]] = [(_normal(name), None) for name in roots]
    while left:
        name, wanted = left.pop()
        try:
            dist = distribution(name)
        except PackageNotFoundError:
            continue
        wanted = {*(dist.metadata.get_all("Provides-Extra") or ())} if wanted is None else wanted
        new = {each.lower() for each in wanted} - extras.get(name, set())
        if name in found and not new:
            continue
        found[name] = dist
        extras.setdefault(name, set()).update(new)
        left += _requirements(dist, extras[name])
    return [
        _component(name, dist, {each for each, _ in _requirements(dist, extras[name])} & found.keys())
        for name, dist in sorted(found.items())
    ]


def license_table(found: Sequence[Component]) -> str:
    """Return a table of packages, versions, licenses and remarks, as Markdown shows it."""
    lines = ["| package | version | license | remark |", "| --- | --- | --- | --- |"]
    lines += [f"| {each.name} | {each.version} | {each.license} | {each.remark} |" for each in found]
    return "\n".join(lines)


def summary(found: Sequence[Component]) -> str:
    """Return what to mind about the licenses, in lines of text."""
    remarks = [
        f"{each.name}: {each.remark}" for each in found if any(name in each.remark for name in ("GPL", "NVIDIA"))
    ]
    shown = dict.fromkeys(re.sub(r"^nvidia-[\w-]+:", "nvidia-…:", remark) for remark in remarks)
    return "\n".join(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ") for line in shown)


def cyclonedx(found: Sequence[Component], roots: Sequence[str]) -> dict[str, Any]:
    """Return a CycloneDX 1.6 document of the components, of which ``roots`` are the product's own.

    The same packages give the same document, except its time, which is ``SOURCE_DATE_EPOCH`` if that is set.
    """
    purls = {each.name: each.purl for each in found}
    own = [name for name in map(_normal, roots) if name in purls]
    product = {"type": "application", "bom-ref": "pose", "name": "pose"}
    listed = [_described(each) for each in found]
    depends = [{"ref": "pose", "dependsOn": sorted(purls[name] for name in own)}]
    depends += [{"ref": each.purl, "dependsOn": sorted(purls[name] for name in each.requires)} for each in found]
    epoch = os.environ.get("SOURCE_DATE_EPOCH", str(int(time.time())))
    if not re.fullmatch(r"[0-9]{1,11}", epoch):
        raise ConfigError(f"SOURCE_DATE_EPOCH={epoch!r} must be a number of seconds since 1970, or not be set")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([listed, depends]))}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(epoch))),
            "tools": {"components": [{"type": "application", "name": CORE, "version": _version(found, CORE)}]},
            "component": product,
            "properties": [
                {"name": "python", "value": platform.python_version()},
                {"name": "platform", "value": f"{platform.system()} {platform.machine()}"},
            ],
        },
        "components": listed,
        "dependencies": depends,
    }


def _described(component: Component) -> dict[str, Any]:
    """Return a component as CycloneDX describes it."""
    result: dict[str, Any] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    }
    if component.is_expression:
        result["licenses"] = [{"expression": component.license, "acknowledgement": "declared"}]
    elif component.license != NOT_STATED:
        result["licenses"] = [{"license": {"name": component.license, "acknowledgement": "declared"}}]
    if component.remark:
        result["properties"] = [{"name": "remark", "value": component.remark}]
    if component.bundled:
        result["components"] = [
            {
                "type": "file",
                "bom-ref": f"{component.purl}#{name}",
                "name": name,
                **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {}),
            }
            for name, digest in component.bundled
        ]
    return result


def _requirements(dist: Distribution, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    """Yield the names that a distribution requires with its ``extras``, and the extras that it asks of them."""
    for text in dist.requires or ():
        match = _REQUIREMENT.match(text)
        conditions = {each.lower() for each in _EXTRA.findall(text.partition(";")[2])}
        if match is not None and (not conditions or conditions & extras):
            yield _normal(match[1]), {each.strip() for each in (match[2] or "").split(",") if each.strip()}


def _component(name: str, dist: Distribution, requires: set[str]) -> Component:
    stated, is_expression = _license(dist)
    bundled = tuple(sorted(dict(_bundled(dist)).items()))
    return Component(
        name, dist.version, stated, is_expression, _remark(dist, stated, bundled), tuple(sorted(requires)), bundled
    )


def _license(dist: Distribution) -> tuple[str, bool]:
    """Return the license that a distribution states, and whether it is an SPDX expression."""
    metadata = dist.metadata
    expressions = metadata.get_all("License-Expression")
    if expressions:
        return expressions[0], True
    text = (metadata.get_all("License") or [""])[0].strip()
    classes = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    words = [line.rpartition("::")[2].strip() for line in classes if not line.endswith("OSI Approved")]
    first = text.partition("\n")[0].rpartition("::")[2].strip()
    if first and "\n" not in text and len(first) <= 60:
        return first, False
    return ", ".join(words) or (first if 0 < len(first) <= 60 else NOT_STATED), False


def _bundled(dist: Distribution) -> Iterator[tuple[str, str]]:
    """Yield the names of the native libraries that a wheel has brought from elsewhere, and their SHA-256."""
    for file in dist.files or ():
        folder = PurePosixPath(file).parent
        if folder.name.endswith((".libs", ".dylibs")) and ("." in file.name):
            digest = ""
            if file.hash is not None and file.hash.mode == "sha256":
                try:
                    digest = base64.urlsafe_b64decode(file.hash.value + "==").hex()
                except (ValueError, binascii.Error):
                    digest = ""
            yield file.name, digest


def _remark(dist: Distribution, stated: str, bundled: Sequence[tuple[str, str]]) -> str:
    names = [name for name, _ in bundled]
    gpl = [part for part in _GPL if any(name.startswith(part) for name in names)]
    texts = len(dist.metadata.get_all("License-File") or ())
    if gpl:
        return (
            f"the wheel bundles FFmpeg with {' and '.join(gpl)}, which are GPL-2.0-or-later: do not redistribute it, "
            "or a bundle that contains it, under another license"
        )
    if any(name.startswith(("libavcodec", "opencv_videoio_ffmpeg")) for name in names):
        return "the wheel bundles FFmpeg, which is LGPL-2.1-or-later"
    if "nvidia" in stated.lower():
        return "proprietary: NVIDIA's license agreement says what may be redistributed"
    if texts > MANY:
        return f"the wheel has the code of many others: read its {texts} license texts before you redistribute it"
    if stated == NOT_STATED:
        return "its metadata state no license: see its home page"
    return ""


def _version(found: Sequence[Component], name: str) -> str:
    return next((each.version for each in found if each.name == name), "")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
