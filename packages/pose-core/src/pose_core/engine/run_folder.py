"""A run's folder: what is in it, whether there is a run, and who may write there."""

from __future__ import annotations

import os
import platform
import re
import warnings
from contextlib import ExitStack
from errno import EACCES, EAGAIN
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, Literal

from pose_core.config import Experiment, dump_config
from pose_core.errors import ConfigError
from pose_core.files import IS_A_LINK, lock_file, open_in_place, write_text
from pose_core.folders import check_folder_name
from pose_core.suggestions import similar


def run_path(config: Experiment) -> Path:
    """Return the run folder of a config; raise ConfigError if its name is no name of a folder.

    Schemas refuse such a name, but a config may have been given another one since.
    """
    name = config.run.name or config.name
    try:
        return Path(config.run.dir) / check_folder_name(name)
    except ValueError as error:
        raise ConfigError(f"the run's name {name!r} {error}; set another with run.name=…") from None


Resume = bool | Literal["auto"]
"""Whether to continue a run; ``auto`` starts one where there is none yet."""


CHECKPOINT = "last.pt"
BELONGINGS = (
    "config.yaml", "log.txt", "metrics.jsonl", CHECKPOINT, "best.pt", "results", "tensorboard", "report.html",
    "report.json",
)  # fmt: skip
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


class RunLock:
    """The lock of a run's folder, which is made if needed; it ends with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = ExitStack()

    def __enter__(self) -> None:
        """Lock the folder, and remove temporary files that killed processes left there.

        Raise ConfigError if another process holds the lock.
        """
        self._lock()
        for path in chain(self.folder.iterdir(), (self.folder / "results").glob(".*")):
            if re.fullmatch(r"\.(.+\.pt|config\.yaml|.+\.jsonl?)\..+", path.name) and path.is_file():
                path.unlink()

    def __exit__(self, *_: object) -> None:
        self.files.close()

    def renew(self) -> bool:
        """Lock the folder again if it has been deleted or moved since; return whether it had been.

        Raise ConfigError if another process has begun a run there.
        """
        try:
            if os.path.samestat(os.fstat(self.file.fileno()), (self.folder / ".lock").stat()):
                return False
            lost = False  # only the lock's file was replaced
        except FileNotFoundError:
            lost = not self.folder.exists()
        except OSError:  # the file system does not answer
            return False
        self._lock()
        return lost

    def _lock(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.files.enter_context(open_in_place(self.folder / ".lock"))
        except OSError as error:
            if error.strerror == IS_A_LINK:
                raise ConfigError(
                    f"{self.folder / '.lock'}: {IS_A_LINK}, or choose another folder with run.name=…"
                ) from None
            raise ConfigError(
                f"cannot write to the run folder {self.folder}: {error.strerror}; choose another with run.dir=…"
            ) from None
        try:
            lock_file(file)
        except OSError as error:
            if error.errno not in {EACCES, EAGAIN}:
                warnings.warn(
                    f"{self.folder} cannot be locked ({error.strerror}): start no other run there", stacklevel=3
                )
            else:
                file.seek(0)
                raise ConfigError(
                    f"{self.folder} is in use by {_holder(file)}: wait until it has ended, "
                    "or choose another folder with run.name=…"
                ) from None
        self.file = file
        try:
            file.truncate(0)
            os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
        except OSError:  # a full disk: the lock holds, without the name of who holds it
            pass


def _holder(file: BinaryIO) -> str:
    """Return who holds a lock, as it has written to the lock's file."""
    text = file.read(200).decode(errors="replace").strip()
    return text if re.fullmatch(r"process \d+ on [\w.-]+", text) else "another process"


def _has_content(file: Path) -> bool:
    """Return whether a file exists and is not empty, as metrics are before a run's first checkpoint."""
    return file.exists() and file.stat().st_size > 0


def _near_runs(folder: Path) -> str:
    """Return a remark that names the most similar folders next to ``folder`` with a run to resume."""
    found = {checkpoint.parent.name: checkpoint.parent for checkpoint in folder.parent.glob("*/last.pt")}
    near = similar(folder.name, found, 3, 0.5)
    if near:
        return f"; did you mean {' or '.join(str(found[name]) for name in near)} (run.name=…)?"
    return f"; the runs in {folder.parent} are {', '.join(sorted(found)[:5])}" if found else ""
