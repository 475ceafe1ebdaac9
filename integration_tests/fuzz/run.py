"""Feed changed files to every reader and report what does not end in a result or in a message of ours.

  python integration_tests/fuzz/run.py                            # 200,000 inputs of all kinds
  python integration_tests/fuzz/run.py --kinds coco video --count 5000 --seed 7
  python integration_tests/fuzz/run.py --replay                   # the corpus: past failures, and every valid file
  python integration_tests/fuzz/run.py --engine atheris --kinds image --seconds 600    # guided by coverage

Each kind runs in a process with limits on memory and time, which is started again after a crash. An input fails if its
reader raises an error that is not ours, accepts what no valid file holds, writes control characters or a long text into
a message, dies, takes more than 20 seconds, or much memory. The smallest input of each failure is written below --out;
put it in corpus/KIND/ with the fix.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
PATIENCE = 20.0
"""Seconds that one input may take."""
MEMORY = 3 * 2**30
"""Bytes of address space that a process may take beyond what it has once its readers are loaded."""
GROWTH = 512 * 2**20
"""Bytes of memory that one input may add to the most that its process had."""
LONGEST = 2000
"""Characters of the longest message."""


@dataclass
class Tally:
    """What became of the inputs of one kind; failures by what they have in common, with the smallest input."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, tuple[int, bytes, str]] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0

    def add(self, outcome: str, key: str, content: bytes, text: str) -> None:
        self.counts[outcome] += 1
        if outcome not in {"ok", "refused"}:
            count, smallest, first = self.failures.get(key, (0, content, text))
            self.failures[key] = (count + 1, min(smallest, content, key=len), first)

    @property
    def bad(self) -> int:
        return sum(count for outcome, count in self.counts.items() if outcome not in {"ok", "refused"})


def prepare(name: str, folder: Path):
    """Return a kind, with logs and warnings off: only errors count here."""
    from kinds import KINDS

    from pose_core.reading import patience

    patience.WAITS = ()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.environ.setdefault("POSE_HOME", str(folder / "home"))
    return KINDS[name](folder / name)


def judge(kind, content: bytes) -> tuple[str, str, str]:
    """Return what becomes of an input: its outcome, a key that failures of one cause share, and a text."""
    from shapes import Absurd

    from pose_core.errors import PoseError

    kind.file.write_bytes(content)
    try:
        kind.read()
    except PoseError as error:
        message = str(error)
        if not all(character.isprintable() or character in "\n\t" for character in message):
            return "message", f"control characters: {_place(error)}", repr(message)
        if len(message) > LONGEST:
            return "message", f"{len(message)} characters: {_place(error)}", message[:300]
        return "refused", "", message
    except Absurd as error:
        return "absurd", f"absurd: {''.join(c for c in str(error)[:40] if not c.isdigit())}", str(error)
    except MemoryError as error:
        return "memory", f"MemoryError: {_place(error)}", "MemoryError"
    except Exception as error:
        return "defect", f"{type(error).__name__}: {_place(error)}", "".join(traceback.format_exception(error)[-6:])
    return "ok", "", ""


def _place(error: BaseException) -> str:
    """Return the innermost line of ours that an error passed."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/pose_" in f.filename or f.filename.startswith("pose_")
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "not in our code"


def change(kind, seed: str) -> bytes:
    """Return an input: a valid file, changed; the same for the same seed."""
    from mutations import mutate_bytes, mutate_tree

    rng = random.Random(seed)
    if kind.dump is not None and rng.random() < 0.75:
        content = kind.dump(mutate_tree(rng.choice(kind.trees), rng))
        return content if rng.random() < 0.9 else mutate_bytes(content, rng)
    return mutate_bytes(rng.choice(kind.seeds), rng)


# --- a process that reads -----------------------------------------------------------------------------------------


def work(name: str, seed: int, start: int, count: int, folder: Path) -> None:
    """Read inputs ``start`` to ``count``; write a line for each to standard output before and after it is read."""
    import resource

    kind = prepare(name, folder)
    for content in kind.seeds:
        outcome, _, text = judge(kind, content)
        if outcome != "ok":
            raise SystemExit(f"{name}: a valid file is not accepted: {text}")
    size = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(start, count):
        content = change(kind, f"{name} {seed} {number}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _say(number=number)
        began = time.perf_counter()
        outcome, key, text = judge(kind, content)
        seconds = time.perf_counter() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > GROWTH and outcome in {"ok", "refused"}:
            outcome, key, text = "memory", f"memory: {text[:40]}", f"{grown / 2**20:.0f} MB; {text[:200]}"
        _say(
            done=number,
            outcome=outcome,
            key=key,
            text=text if outcome not in {"ok", "refused"} else "",
            seconds=seconds,
        )


def _say(**content: object) -> None:
    sys.__stdout__.write(json.dumps(content) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


# --- the process that watches -------------------------------------------------------------------------------------


def fuzz(name: str, count: int, seed: int, until: float, folder: Path) -> Tally:
    """Read ``count`` inputs of one kind, in as many processes as it takes."""
    tally, start, began = Tally(), 0, time.monotonic()
    while start < count and time.monotonic() < until:
        words = [sys.executable, __file__, "--work", name, str(seed), str(start), str(count), str(folder)]
        with (folder / "stderr.txt").open("wb") as errors:
            process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=errors, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
        start = _watch(process, name, seed, start, until, tally, folder)
    tally.seconds = time.monotonic() - began
    return tally


def _watch(process, name: str, seed: int, start: int, until: float, tally: Tally, folder: Path) -> int:
    """Follow one process to its end; return the number of the next input."""
    import selectors

    kind = None
    number, reading, buffer = start, False, b""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)

    def content_of(wanted: int) -> bytes:
        nonlocal kind
        kind = kind or prepare(name, folder / "again")
        return change(kind, f"{name} {seed} {wanted}")

    while True:
        hung = not selector.select(timeout=PATIENCE if reading else 180)
        chunk = b"" if hung else os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            break
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # what a library prints
            if "number" in said:
                number, reading = said["number"], True
                continue
            reading = False
            tally.slowest = max(tally.slowest, said["seconds"])
            fine = said["outcome"] in {"ok", "refused"}
            tally.add(said["outcome"], said["key"], b"" if fine else content_of(said["done"]), said["text"])
            number = said["done"] + 1
        if time.monotonic() > until:
            process.kill()
            process.wait()
            return number
    if hung:
        process.send_signal(signal.SIGKILL)
    code = process.wait()
    if code < 0 and not reading and number > start:  # an earlier input has damaged its memory, most likely the last
        number, reading = number - 1, True
    if reading:
        what = "hung" if hung else "died"
        tally.add(what, f"{what} {code}", content_of(number), f"{what}, exit code {code}")
        return number + 1
    if code:
        raise SystemExit(f"{name}: exit code {code}: {(folder / 'stderr.txt').read_text('utf-8', 'replace')[-2000:]}")
    return number


def report(tallies: dict[str, Tally], out: Path) -> str:
    """Write the smallest input of each failure, and return a table."""
    lines = ["| kind | inputs | ok | refused | failed | seconds | slowest |", "|---|---|---|---|---|---|---|"]
    for name, tally in tallies.items():
        counts, times = tally.counts, f"{tally.seconds:.0f} | {tally.slowest:.2f}"
        lines.append(f"| {name} | {counts.total()} | {counts['ok']} | {counts['refused']} | {tally.bad} | {times} |")
    whole = sum((tally.counts for tally in tallies.values()), Counter())
    bad = sum(tally.bad for tally in tallies.values())
    lines.append(f"| all | {whole.total()} | {whole['ok']} | {whole['refused']} | {bad} | | |")
    for name, tally in tallies.items():
        for key, (count, content, text) in sorted(tally.failures.items(), key=lambda each: -each[1][0]):
            file = out / name / hashlib.sha256(content).hexdigest()[:12]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            lines.append(f"\n{name}: {count} × {key}\n  {file}\n  " + text.strip().replace("\n", "\n  "))
    return "\n".join(lines)


def replay(names: list[str]) -> int:
    """Read every valid file and the whole corpus; return the number of failures."""
    failed = total = 0
    with TemporaryDirectory(prefix="pose-fuzz-") as folder:
        for name in names:
            kind = prepare(name, Path(folder))
            for content in kind.seeds:
                outcome, _, text = judge(kind, content)
                if outcome != "ok":
                    failed += 1
                    print(f"{name}: a valid file is not accepted: {text}")
            for file in sorted((CORPUS / name).glob("*")):
                total += 1
                outcome, key, text = judge(kind, file.read_bytes())
                if outcome not in {"ok", "refused"}:
                    failed += 1
                    print(f"{name}/{file.name}: {outcome}: {key}\n{text}")
    print(f"{total} files of the corpus, {failed} failed")
    return failed


def guided(name: str, seconds: float) -> None:
    """Let atheris look for inputs that reach new lines of ours."""
    import atheris

    folder = Path(mkdtemp(prefix="pose-fuzz-"))
    with atheris.instrument_imports(include=["pose_core", "pose_asda", "pose_dekr", "pose_advpose"]):
        kind = prepare(name, folder)
    kind.file.parent.mkdir(parents=True, exist_ok=True)
    seeds = kind.file.parent / "seeds"
    seeds.mkdir(exist_ok=True)
    for number, content in enumerate(kind.seeds):
        (seeds / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        outcome, key, text = judge(kind, content)
        if outcome not in {"ok", "refused"}:
            raise RuntimeError(f"{outcome}: {key}\n{text}")

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds:.0f}", f"-timeout={PATIENCE:.0f}", "-rss_limit_mb=8192", str(seeds)],
        one,
    )
    atheris.Fuzz()


def main() -> int:
    from kinds import KINDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS), metavar="KIND", help="default: all"
    )
    parser.add_argument(
        "--count", type=int, help="inputs of each kind; default: 200,000 in all, equally many of each kind"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after this time in any case")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz-failures"), help="folder for failing inputs and report.md"
    )
    parser.add_argument("--replay", action="store_true", help="only read the corpus")
    parser.add_argument("--engine", choices=("random", "atheris"), default="random", help="default: random")
    args = parser.parse_args()
    if args.replay:
        return 1 if replay(args.kinds) else 0
    if args.engine == "atheris":
        if len(args.kinds) != 1:
            parser.error("--engine atheris takes one kind")
        guided(args.kinds[0], args.seconds if args.seconds < float("inf") else 600)
        return 0
    count = args.count or -(-200_000 // len(args.kinds))
    until, tallies = time.monotonic() + args.seconds, {}
    print(f"seed {args.seed}")
    for name in args.kinds:
        with TemporaryDirectory(prefix="pose-fuzz-") as folder:
            tallies[name] = fuzz(name, count, args.seed, until, Path(folder))
        tally = tallies[name]
        print(f"{name}: {tally.counts.total()} inputs, {tally.bad} failed, {tally.seconds:.0f} s", flush=True)
    text = report(tallies, args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.md").write_text(text + "\n", "utf-8")
    print(text)
    return 1 if any(tally.bad for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6]))
    else:
        sys.exit(main())
