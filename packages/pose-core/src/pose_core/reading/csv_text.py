"""CSV, within limits: rows of text, with errors that name the file and the line."""

from __future__ import annotations

import csv
from pathlib import Path

from pose_core.errors import DataError
from pose_core.plurals import counted, size_text
from pose_core.reading.regular import read_regular

MAX_BYTES = 500_000_000
"""The largest file: a million frames of 50 joints."""
MAX_CELLS = 100_000_000
"""Most cells of a file."""
MAX_COLUMNS = 100_000
"""Most cells of a row: 100 individuals with 300 joints."""


def read_csv(file: Path, what: str) -> list[list[str]]:
    """Return the rows of a file, without empty ones; raise a DataError if it is missing, malformed or too large.

    ``what`` describes the file at the start of messages.
    """
    content = read_regular(file, what, limit=MAX_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise DataError(f"{what} {file} is not UTF-8 text: {reason.reason} at byte {reason.start}") from None
    if "\0" in text:
        raise DataError(f"{what} {file} is not CSV: it holds a zero character")
    rows: list[list[str]] = []
    cells = 0
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for row in reader:
            cells += len(row)
            if len(row) > MAX_COLUMNS or cells > MAX_CELLS:
                raise DataError(
                    f"{what} {file} is too large at line {reader.line_num}: {counted(cells, 'cell')}, of at most "
                    f"{MAX_COLUMNS} in a row and {MAX_CELLS} in all ({size_text(len(content))})"
                )
            if any(row):
                rows.append(row)
    except csv.Error as reason:
        raise DataError(f"{what} {file} is not CSV: line {reader.line_num}: {reason}") from None
    return rows
