"""The plan of a prediction in shards: which inputs each shard has, and with what they are predicted.

It is written once, by one process, and all processes of a job and of later ones follow it. ``plan.json`` holds the
settings; a file beside it holds the inputs, one on each line, of which a process reads its shards' only; and an index
says where each shard begins.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from pose_core.downloads import locked
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.files import whole_file, write_json
from pose_core.inference.shard_inputs import Unit, identity, name_from_json, name_to_json
from pose_core.plurals import counted
from pose_core.reading.json_text import read_json
from pose_core.reading.printable import shown
from pose_core.reading.regular import open_regular, read_regular
from pose_core.verbosity import no_bar

NAME = "plan.json"
Settings = Mapping[str, object]
"""What a prediction depends on, as JSON has it: the results of two predictions are the same if theirs are."""

_log = logging.getLogger(__name__)
_LONGEST_LINE = 100_000_000
_PATIENCE = 10.0
"""Seconds after which a process that waits says so."""


@dataclass(frozen=True)
class Plan:
    """What is predicted, shard by shard, with results below ``folder``.

    Relative names of inputs are below ``base``. ``index`` has two numbers for each shard and two after the last: where
    its first line begins, in bytes, and that line's number.
    """

    folder: Path
    settings: Settings
    base: Path
    inputs: Path
    index: Sequence[int]
    rows: int
    """Pictures and frames, of which some may turn out to be damaged."""

    @property
    def shards(self) -> int:
        """The number of shards."""
        return len(self.index) // 2 - 1

    @property
    def format(self) -> str:
        """The format of the shards."""
        return str(self.settings["format"])

    @property
    def shard_size(self) -> int:
        """The most rows of a shard; a video that is read as a whole may have more."""
        size = self.settings["shard_size"]
        return size if isinstance(size, int) else 1

    def file(self, shard: int) -> Path:
        """Return the file of a shard, which exists once it is complete."""
        return self.folder / "shards" / f"part-{shard:06d}.{self.format}"

    def manifest(self, shard: int) -> Path:
        """Return the file that says what a shard was made of."""
        return self.folder / "manifests" / f"part-{shard:06d}.json"

    def missing(self) -> list[int]:
        """Return the shards that are not complete."""
        with suppress(FileNotFoundError):
            there = set(os.listdir(self.folder / "shards"))  # noqa: PTH208  names alone
            return [shard for shard in range(self.shards) if self.file(shard).name not in there]
        return list(range(self.shards))

    def units(self, shard: int) -> Iterator[tuple[int, Unit]]:
        """Yield the inputs of a shard with their numbers in the plan."""
        start, first, _, end = self.index[2 * shard : 2 * shard + 4]
        with open_regular(self.inputs, "list of inputs") as file:
            file.seek(start)
            for number in range(first, end):
                line = file.readline(_LONGEST_LINE)
                yield number, Unit.from_line(line, f"{self.inputs}, line {number + 1}")


def read_plan(folder: Path) -> Plan | None:
    """Return the plan below a folder, None if there is none."""
    file = folder / NAME
    if not file.exists():
        return None
    content = read_json(file, "plan")
    try:
        inputs = folder / str(content["inputs"])
        index = array("Q", read_regular(inputs.with_suffix(".index"), "index of inputs", limit=_LONGEST_LINE))
        if len(index) < 4 or len(index) % 2 or inputs.stat().st_size != index[-2]:
            raise ValueError
        return Plan(
            folder, content["settings"], Path(name_from_json(content["base"])), inputs, index, int(content["rows"])
        )
    except (KeyError, TypeError, ValueError, OSError):
        raise DataError(f"{file} is damaged, or of another version: use another --out") from None


def shared_plan(folder: Path, settings: Settings, units: Iterable[Unit], shard_size: int, *, main: bool) -> Plan:
    """Return the plan below a folder, which the ``main`` process writes if there is none and the others wait for.

    Raise a ConfigError if it was made for other ``settings``. Several jobs may use one folder at the same time, if
    their settings are equal: each shard is then written by the last that is done, with the same content.
    """
    plan = read_plan(folder)
    if plan is None and main:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / NAME):
                plan = read_plan(folder) or write_plan(folder, settings, units, shard_size)
        except OSError as error:
            raise PoseError(f"cannot write {folder / NAME}: {error.strerror}") from None
    plan = plan or _wait(folder)
    difference = _difference(plan.settings, json.loads(json.dumps(settings)))
    if difference:
        raise ConfigError(
            f"{folder / NAME} was made with {difference}: give the same to continue, or another --out to begin anew"
        )
    return plan


def write_plan(folder: Path, settings: Settings, units: Iterable[Unit], shard_size: int) -> Plan:
    """Write the plan of ``units``, those that are there twice only once, with ``shard_size`` rows in each shard.

    Of each input eight bytes are kept in memory. The plan appears when all of it is written.
    """
    for left in (*folder.glob("inputs-*"), *folder.glob(".inputs*")):  # of a process that was killed
        left.unlink()
    bar = tqdm(desc="listing", unit="input", disable=no_bar(), file=sys.stderr)
    with tempfile.TemporaryFile(dir=folder) as found:
        codes = array("Q")
        for unit in units:
            found.write(unit.to_line())
            codes.append(_code(unit))
            bar.update()
        bar.close()
        if not codes:
            raise DataError("there is nothing to predict: the inputs have no image or video")
        found.seek(0)
        with whole_file(folder / "inputs.jsonl") as file:
            index, rows, digest = _write_units(file, _once(found, codes), shard_size)
    name = f"inputs-{digest[:16]}.jsonl"
    (folder / "inputs.jsonl").replace(folder / name)
    with whole_file((folder / name).with_suffix(".index")) as file:
        file.write(index.tobytes())
    content = {"settings": settings, "base": name_to_json(str(Path.cwd())), "inputs": name, "rows": rows}
    write_json(folder / NAME, content, indent=1)
    plan = read_plan(folder)
    if plan is None:
        raise PoseError(f"{folder / NAME} has vanished while it was written")
    return plan


def _write_units(file: IO[bytes], units: Iterable[Unit], shard_size: int) -> tuple[array[int], int, str]:
    """Write units, videos cut where a shard is full; return the index, the number of rows and the digest."""
    index, digest = array("Q", [0, 0]), hashlib.sha256()
    place = number = rows = room = 0
    room = shard_size
    for unit in units:
        left: Unit | None = unit
        while left is not None:
            part, left = _cut(left, room)
            line = part.to_line()
            file.write(line)
            digest.update(line)
            # How many frames a video has that is read as a whole shows when it is read: it ends the shard.
            size = len(part.ticks) or (room if part.video else 1)
            place, number, rows, room = place + len(line), number + 1, rows + size, room - size
            if not room:
                index.extend([place, number])
                room = shard_size
    if index[-2] != place:
        index.extend([place, number])
    return index, rows, digest.hexdigest()


def _cut(unit: Unit, room: int) -> tuple[Unit, Unit | None]:
    """Return the first ``room`` frames of a unit, and the rest."""
    if len(unit.ticks) <= room:
        return unit, None
    rest = replace(unit, first=unit.first + room, ticks=unit.ticks[room:])
    return replace(unit, ticks=unit.ticks[:room]), rest


def _once(found: IO[bytes], codes: array[int]) -> Iterator[Unit]:
    """Yield the units of a file of lines, each only once; ``codes`` are those of the lines."""
    ordered = np.sort(np.frombuffer(codes, np.uint64))
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    del ordered
    seen: set[str] = set()
    repeated = 0
    for number, code in enumerate(codes):
        unit = Unit.from_line(found.readline(_LONGEST_LINE), f"input {number + 1}")
        if code in twice:
            name = identity(unit)
            if name in seen:
                repeated += 1
                continue
            seen.add(name)
        yield unit
    if repeated:
        _log.warning("left out %s that had been named before", counted(repeated, "input"))


def _code(unit: Unit) -> int:
    name = os.fsencode(identity(unit))
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def _wait(folder: Path) -> Plan:
    """Return the plan when another process has written it."""
    start, said = time.monotonic(), False
    while (plan := read_plan(folder)) is None:
        if not said and time.monotonic() - start > _PATIENCE:
            print(f"waiting for {folder / NAME}, which process 0 writes", file=sys.stderr, flush=True)
            said = True
        time.sleep(0.2)
    return plan


def _difference(theirs: object, mine: object, key: str = "") -> str:
    """Return the first setting that differs, with both values; nothing if all are equal."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for name in theirs:  # a later version may have more settings, which change nothing by default
            found = _difference(theirs.get(name), mine.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return ""
    if theirs == mine:
        return ""
    if key == "list.sha256":
        return "the list of inputs as it was before: the file has changed"
    if key == "inputs" and isinstance(theirs, list) and isinstance(mine, list):
        missing, new = [each for each in theirs if each not in mine], [each for each in mine if each not in theirs]
        return f"other inputs: without {shown(missing, 60)}, and with {shown(new, 60)} now"
    return f"{key.removeprefix('config.')}={shown(theirs, 60)}, and this is {shown(mine, 60)}"
