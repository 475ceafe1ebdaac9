"""A run's folder: the resolved config, log.txt, metrics.jsonl, TensorBoard events, checkpoints, results."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from errno import EACCES, EAGAIN
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pose_core.config import Experiment, dump_config
from pose_core.errors import ConfigError
from pose_core.files import lock_file, write_text
from pose_core.verbosity import is_quiet


def run_path(config: Experiment) -> Path:
    """Return the run folder of a config."""
    return Path(config.run.dir) / (config.run.name or config.name)


Resume = bool | Literal["auto"]
"""Whether to continue a run; ``auto`` starts one where there is none yet."""


CHECKPOINT = "last.pt"
BELONGINGS = ("config.yaml", "log.txt", "metrics.jsonl", CHECKPOINT, "best.pt", "results", "tensorboard")
"""What a run writes to its folder, besides earlier checkpoints and weights to evaluate."""


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run that can be resumed, newest first: last.pt, last-1.pt, …"""
    earlier = {
        int(found[1]): path for path in folder.glob("last-*.pt") if (found := re.fullmatch(r"last-(\d+)", path.stem))
    }
    last = folder / CHECKPOINT
    return [*([last] if last.exists() else []), *(earlier[number] for number in sorted(earlier))]


def weights_file(folder: Path, step: int) -> Path:
    """Return the file for the weights of a step that another process is to evaluate."""
    return folder / f"evaluate-{step}.pt"


def outstanding(folder: Path) -> dict[int, Path]:
    """Return the files of weights to evaluate in a run's folder by step, in order."""
    found = {
        int(match[1]): path
        for path in folder.glob("evaluate-*.pt")
        if (match := re.fullmatch(r"evaluate-(\d+)", path.stem))
    }
    return dict(sorted(found.items()))


def holds_run(folder: Path, *, resume: Resume, overwrite: bool) -> bool:
    """Return whether there is a run to resume in a folder; raise ConfigError if this is not what is asked for.

    Nothing is written. A folder that already holds a run is given to another only if asked for; and only ``auto``
    starts a run that was to be resumed, unless it was stopped before its first checkpoint.
    """
    if resume and checkpoints(folder):
        return True
    if resume is True and not (folder / "config.yaml").exists():
        raise ConfigError(
            f"--resume: there is no run in {folder}{_near_runs(folder)}. To start it, run the same command without "
            "--resume; a job that may be restarted can use --resume=auto"
        )
    trained = [name for name in (CHECKPOINT, "best.pt", "metrics.jsonl") if _has_content(folder / name)]
    if trained and resume:
        hint = f"; train --init {folder / 'best.pt'} run.name=… starts another run from its best weights"
        raise ConfigError(
            f"--resume: {folder} holds {' and '.join(trained)}, but no {CHECKPOINT} to continue from"
            f"{hint if 'best.pt' in trained else ''}. To start over, use --overwrite without --resume"
        )
    if trained and not overwrite:
        raise ConfigError(
            f"{folder} already holds a run: continue it with --resume, replace it with --overwrite, "
            "or choose another folder with run.name=…"
        )
    return False


def start(folder: Path, config: Experiment) -> Path | None:
    """Begin a run in a folder, and return where the run that was there is now; None if there was none."""
    moved = None
    old = [path for name in BELONGINGS if (path := folder / name).exists()]
    old += [*checkpoints(folder)[1:], *outstanding(folder).values()]
    if any(path.name != "config.yaml" for path in old):
        moved = next(
            path for number in count(1) if not (path := folder.with_name(f"{folder.name}.old-{number}")).exists()
        )
        moved.mkdir()
        for path in dict.fromkeys(old):
            path.rename(moved / path.name)
    write_text(folder / "config.yaml", dump_config(config))
    return moved


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which is made if needed; raise ConfigError if another process holds it.

    The lock ends with the process, however that ends. Temporary files that killed processes left are removed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write to the run folder {folder}: {error.strerror}; choose another with run.dir=…"
        ) from None
    with file:
        try:
            lock_file(file)
        except OSError as error:
            if error.errno not in {EACCES, EAGAIN}:
                warnings.warn(f"{folder} cannot be locked ({error.strerror}): start no other run there", stacklevel=2)
            else:
                file.seek(0)
                raise ConfigError(
                    f"{folder} is in use by {file.read().strip() or 'another process'}: wait until it has ended, or "
                    "choose another folder with run.name=…"
                ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        for path in folder.glob(".*.pt.*"):
            path.unlink()
        yield


def _has_content(file: Path) -> bool:
    """Return whether a file exists and is not empty, as metrics are before a run's first checkpoint."""
    return file.exists() and file.stat().st_size > 0


def _near_runs(folder: Path) -> str:
    """Return a remark that names the most similar folders next to ``folder`` with a run to resume."""
    found = {checkpoint.parent.name: checkpoint.parent for checkpoint in folder.parent.glob("*/last.pt")}
    near = get_close_matches(folder.name, found, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(str(found[name]) for name in near)} (run.name=…)?"
    return f"; the runs in {folder.parent} are {', '.join(sorted(found)[:5])}" if found else ""


class RunLog:
    """A writer of log lines and metrics; does nothing in processes other than the first."""

    def __init__(self, folder: Path, *, is_main: bool, step: int = 0, due: Collection[int] = ()) -> None:
        """Open the files; metrics beyond ``step``, from which a resumed run continues, are dropped.

        So are those of evaluations that are ``due``, by step: they are repeated.
        """
        self.is_main = is_main
        if not is_main:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.metrics_file = folder / "metrics.jsonl"
        if self.metrics_file.exists():
            lines = [
                line
                for line in self.metrics_file.read_text("utf-8", "replace").splitlines()
                if _precedes(line, step, due)
            ]
            write_text(self.metrics_file, "".join(f"{line}\n" for line in lines))
        self.log = (folder / "log.txt").open("a", buffering=1, encoding="utf-8")
        self.metrics = self.metrics_file.open("a", buffering=1, encoding="utf-8")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def say(self, text: str, *, always: bool = False) -> None:
        """Write a line to log.txt and, unless quiet, to the terminal; ``always`` also if quiet."""
        if self.is_main:
            from tqdm import tqdm

            if always or not is_quiet():
                tqdm.write(text, file=sys.stdout)
            self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def record(self, split: str, step: int, epoch: int, values: Mapping[str, Any], prefix: str = "") -> None:
        """Write the values of a step: a line in metrics.jsonl, and TensorBoard tags ``split/prefix…``."""
        if not self.is_main:
            return
        self.metrics.write(json.dumps({"split": split, "step": step, "epoch": epoch, **values}) + "\n")
        for name, value in values.items():
            if isinstance(value, int | float):
                self.board.add_scalar(f"{split}/{prefix}{name}", value, step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.is_main:
            if error is not None and not isinstance(error, KeyboardInterrupt):
                self.log.write(f"stopped by {type(error).__name__}: {error}\n")
            self.board.close()
            self.log.close()
            self.metrics.close()


def _precedes(line: str, step: int, due: Collection[int]) -> bool:
    """Return whether a metrics line is from before a checkpoint; a line cut off by a crash is not."""
    try:
        row = json.loads(line)
        return bool(row["step"] <= step and not (row["split"] == "val" and row["step"] in due))
    except (json.JSONDecodeError, KeyError, TypeError):
        return False
