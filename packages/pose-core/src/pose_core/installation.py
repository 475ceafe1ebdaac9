"""Commands to print for the reader's shell: to run a script of this environment, and to install what it lacks."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from importlib.metadata import Distribution, requires
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def shell_command(script: str) -> str:
    """Return the command that runs a script of this environment: its name, ``uv run NAME``, or its path."""
    # `uv run` puts the environment on the PATH of what it starts, not of the shell that it was typed in.
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return f"uv run {script}"
    found = shutil.which(script)
    if found and Path(found).parent.resolve() == Path(sys.prefix, SCRIPTS).resolve():
        return script
    return shlex.quote(str(Path(sys.prefix, SCRIPTS, script)))


def install_hint(extra: str) -> str:
    """Return the command that installs the packages of an extra of pose-core."""
    ending = re.compile(rf"\s*;\s*extra == ['\"]{re.escape(extra)}['\"]$")
    wanted = [ending.sub("", line) for line in requires("pose-core") or () if ending.search(line)]
    if not wanted:
        raise ValueError(f"pose-core has no extra {extra!r}")
    return f"{_installer()} {' '.join(map(shlex.quote, wanted))}"


def package_hint(package: str) -> str:
    """Return the command that installs one of the method packages, from where pose-core was installed."""
    origin = json.loads(Distribution.from_name("pose-core").read_text("direct_url.json") or "{}")
    url = urlparse(origin.get("url", ""))
    if url.scheme != "file":
        return f"{_installer()} {package}"
    place = Path(url2pathname(url.path))
    if "dir_info" in origin:
        if not (place.parent / package).is_dir():  # a package of somebody else's
            return f"{_installer()} {package}"
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"{_installer()} {editable}{shlex.quote(str(place.parent / package))}"
    # The wheel beside ours; the shell completes its version.
    return f"{_installer()} {shlex.quote(str(place.parent))}/{package.replace('-', '_')}-*.whl"


def _installer() -> str:
    """Return the start of a command that installs into this environment."""
    if find_spec("pip") is None:
        here = Path.cwd() / ".venv"
        where = "" if here.resolve() == Path(sys.prefix).resolve() else f" --python {shlex.quote(sys.prefix)}"
        return f"uv pip install{where}"
    found = shutil.which("python")
    own = found is not None and Path(found).parent.resolve() == Path(sys.executable).parent.resolve()
    return f"{'python' if own else shlex.quote(sys.executable)} -m pip install"
