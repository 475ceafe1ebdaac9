"""Write MATLAB files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from pose_core.files import whole_file


def write_mat(file: Path, content: dict[str, Any]) -> None:
    """Write variables into a MATLAB file."""
    from scipy.io import savemat  # slow to import

    buffer = BytesIO()  # scipy does not accept a named temporary file
    savemat(buffer, content, do_compression=True)
    with whole_file(file) as opened:
        opened.write(buffer.getvalue())
