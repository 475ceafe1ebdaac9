"""A run's folder: the resolved config, log.txt, metrics.jsonl, TensorBoard events, checkpoints, results."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pose_core.config import Experiment, dump_config
from pose_core.errors import ConfigError
from pose_core.files import write_text
from pose_core.verbosity import is_quiet


def run_path(config: Experiment) -> Path:
    """Return the run folder of a config."""
    return Path(config.run.dir) / (config.run.name or config.name)


Resume = bool | Literal["auto"]
"""Whether to continue a run; ``auto`` starts one where there is none yet."""


def prepare(folder: Path, config: Experiment, *, resume: Resume, overwrite: bool) -> bool:
    """Prepare the folder and return whether there is a run to resume.

    A folder that already holds a run is overwritten only if asked for; and only ``auto`` starts a run that was to be
    resumed, unless it was stopped before its first checkpoint.
    """
    checkpoint = folder / "last.pt"
    if resume and checkpoint.exists():
        return True
    if resume is True and not (folder / "config.yaml").exists():
        raise ConfigError(
            f"--resume: there is no run in {folder}{_near_runs(folder)}. To start it, run the same command without "
            "--resume; a job that may be restarted can use --auto-resume"
        )
    has_run = (folder / "metrics.jsonl").exists() or checkpoint.exists()
    if has_run and not (overwrite or resume):
        raise ConfigError(
            f"{folder} already holds a run: continue it with --resume, replace it with --overwrite, "
            "or choose another folder with run.name=…"
        )
    if has_run:
        for name in ("last.pt", "best.pt", "metrics.jsonl", "log.txt", "config.yaml"):
            (folder / name).unlink(missing_ok=True)
        for name in ("results", "tensorboard"):
            shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", dump_config(config))
    return False


def _near_runs(folder: Path) -> str:
    """Return a remark that names the most similar folders next to ``folder`` with a run to resume."""
    found = {checkpoint.parent.name: checkpoint.parent for checkpoint in folder.parent.glob("*/last.pt")}
    near = get_close_matches(folder.name, found, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(str(found[name]) for name in near)} (run.name=…)?"
    return f"; the runs in {folder.parent} are {', '.join(sorted(found)[:5])}" if found else ""


class RunLog:
    """A writer of log lines and metrics; does nothing in processes other than the first."""

    def __init__(self, folder: Path, *, is_main: bool, step: int = 0) -> None:
        """Open the files; metrics beyond ``step``, from which a resumed run continues, are dropped."""
        self.is_main = is_main
        if not is_main:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.metrics_file = folder / "metrics.jsonl"
        if self.metrics_file.exists():
            lines = [line for line in self.metrics_file.read_text().splitlines() if _step_of(line) <= step]
            write_text(self.metrics_file, "".join(f"{line}\n" for line in lines))
        self.log = (folder / "log.txt").open("a", buffering=1)
        self.metrics = self.metrics_file.open("a", buffering=1)
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


def _step_of(line: str) -> float:
    """Return the step of a metrics line; infinity for a line cut off by a crash."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
