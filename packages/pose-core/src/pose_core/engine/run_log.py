"""A run's log.txt, metrics.jsonl and TensorBoard events, which a training never depends on.

Files are opened anew for each line. A line that cannot be written is a warning, once for each cause: a full disk costs
lines, not the training.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Collection, Mapping
from errno import ENOSPC
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

from pose_core.engine.run_folder import RunLock
from pose_core.errors import PoseError
from pose_core.files import open_in_place, write_text
from pose_core.outside import outside_cause
from pose_core.reading.printable import printable
from pose_core.verbosity import is_quiet


class RunLog:
    """A writer of log lines and metrics; does nothing in processes other than the first."""

    def __init__(
        self, folder: Path, *, is_main: bool, step: int = 0, due: Collection[int] = (), lock: RunLock | None = None
    ) -> None:
        """Begin to write; metrics beyond ``step``, from which a resumed run continues, are dropped.

        So are those of evaluations that are ``due``, by step: they are repeated.
        """
        self.folder, self.is_main, self.lock = folder, is_main, lock
        self.refused: set[str] = set()
        """Causes that the user has been warned of."""
        if not is_main:
            return
        self.log, self.metrics = folder / "log.txt", folder / "metrics.jsonl"
        self.board = folder / f"tensorboard/events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self.board_start = _board_start(step)
        config = folder / "config.yaml"
        self.config = config.read_bytes() if config.is_file() else None
        try:
            if self.metrics.is_file():
                lines = self.metrics.read_text("utf-8", "replace").splitlines()
                write_text(self.metrics, "".join(f"{line}\n" for line in lines if _precedes(line, step, due)))
        except (OSError, PoseError) as error:
            self._warn(self.metrics, error)

    def say(self, text: str, *, always: bool = False) -> None:
        """Write a line to log.txt and, unless quiet, to the terminal; ``always`` also if quiet."""
        if self.is_main:
            from tqdm import tqdm

            if always or not is_quiet():
                tqdm.write(text, file=sys.stdout)
            self._append(self.log, printable(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n").encode())

    def record(self, split: str, step: int, epoch: int, values: Mapping[str, Any], prefix: str = "") -> None:
        """Write the values of a step: a line in metrics.jsonl, and TensorBoard tags ``split/prefix…``."""
        if not self.is_main:
            return
        line = json.dumps({"split": split, "step": step, "epoch": epoch, **values}) + "\n"
        self._append(self.metrics, line.encode())
        numbers = {f"{split}/{prefix}{name}": value for name, value in values.items() if isinstance(value, int | float)}
        self._append(self.board, _board_record(step, numbers), self.board_start)

    def restore_folder(self) -> bool:
        """Make the run's folder again if it has been deleted, and return whether it had been.

        Raise ConfigError if another process has begun a run there.
        """
        if not self.is_main or self.lock is None or not self.lock.renew():
            return False
        config = self.folder / "config.yaml"
        if self.config is not None and not config.exists():
            write_text(config, self.config.decode())
        self._tell(
            f"warning: the run folder {self.folder} was deleted or moved during the training. It has been made again, "
            "and training goes on; the log, metrics, results and checkpoints so far are no longer in it"
        )
        return True

    def _append(self, file: Path, data: bytes, start: bytes = b"") -> None:
        try:
            try:
                _append(file, data, start)
            except FileNotFoundError:
                self.restore_folder()
                file.parent.mkdir(parents=True, exist_ok=True)
                _append(file, data, start)
        except (OSError, PoseError) as error:
            self._warn(file, error)

    def _warn(self, file: Path, error: OSError | PoseError) -> None:
        cause = str(error)
        if isinstance(error, OSError):
            cause = outside_cause(error, place=False) or error.strerror or cause
        if cause in self.refused:
            return
        self.refused.add(cause)
        self._tell(
            f"warning: cannot write {file}: {cause}. Training goes on, and writes what it can: log.txt, metrics.jsonl "
            "and TensorBoard's curves may have gaps"
        )

    def _tell(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_main and error is not None and not isinstance(error, KeyboardInterrupt):
            self._append(self.log, printable(f"stopped by {type(error).__name__}: {error}\n").encode())


def _append(path: Path, data: bytes, start: bytes) -> None:
    """Append to a file, which begins with ``start``; what is not written completely is taken back."""
    with open_in_place(path) as file:
        length = file.seek(0, os.SEEK_END)
        data = data if length else start + data
        if (file.write(data) or 0) < len(data):
            file.truncate(length)
            raise OSError(ENOSPC, os.strerror(ENOSPC))


def _board_start(step: int) -> bytes:
    """Return the beginning of a file of TensorBoard events; a resumed run's hides what followed ``step``."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    events = [Event(wall_time=time.time(), step=step + 1 if step else 0, file_version="brain.Event:2")]
    if step:
        events.append(Event(wall_time=time.time(), step=step + 1, session_log=SessionLog(status=SessionLog.START)))
    return b"".join(map(_framed, events))


def _board_record(step: int, values: Mapping[str, float]) -> bytes:
    """Return a TensorBoard event with the values of a step, by tag."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return _framed(Event(wall_time=time.time(), step=step, summary=Summary(value=found)))


def _framed(event: Any) -> bytes:
    """Return an event with its length and checksums, as it stands in a file."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


def _precedes(line: str, step: int, due: Collection[int]) -> bool:
    """Return whether a metrics line is from before a checkpoint; a line cut off by a crash is not."""
    try:
        row = json.loads(line)
        return bool(row["step"] <= step and not (row["split"] == "val" and row["step"] in due))
    except (ValueError, RecursionError, KeyError, TypeError):
        return False
