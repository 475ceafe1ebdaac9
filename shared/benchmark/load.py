"""Measure what large inputs take: seconds of CPU and memory of reading, evaluating, training and predicting.

python shared/benchmark/load.py [--images 118287] [--people 150000] [--steps 500] [--photos 2000] [--frames 10000]
    [--results 100000] [--parts reading evaluation training photos video] [--out results.json]

Annotations are as many as in COCO's train2017, of images that are links to a few drawn ones. Memory of training is a
process's share of what it shares with others (PSS), of the main process and of one worker; of predicting it is the
anonymous memory of the process. Both are sampled, after a fifth, three fifths and nearly all of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench_evaluation
import numpy as np
from bench_startup import make_set, megabytes
from rows import finish

PARTS = ("reading", "evaluation", "training", "photos", "video")
SAMPLED = {"start": 0.2, "middle": 0.6, "end": 0.95}
"""The part of a run that has passed when its memory is reported."""
NETWORK = ("model.input_size=[64,64]", "run.device=cpu")

READ = """
from pose_core.config import DataConfig
from pose_core.topdown.person_table import read_table
table, _ = read_table(DataConfig(root=sys.argv[1]), "train2017", 0.75)
result = len(table.joints)
"""
OURS = """
from pathlib import Path
from pose_core.evaluation import coco_keypoint_ap
result = coco_keypoint_ap(Path(sys.argv[1]), Path(sys.argv[2]))["AP"]
"""
THEIRS = """
import contextlib, io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1])
    evaluation = COCOeval(truth, truth.loadRes(sys.argv[2]), "keypoints")
    evaluation.evaluate(); evaluation.accumulate(); evaluation.summarize()
result = float(evaluation.stats[0])
"""
REPORT = """
import json, time
# The peak that the system reports by getrusage may be that of the process that started this one.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([time.process_time(), int(peak) / 1024, result]))
"""

Row = dict[str, object]


def measure(code: str, *words: str | Path, home: Path) -> tuple[float, float, float]:
    """Run Python code in a process of its own; return its seconds of CPU, peak memory in MB, and result."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{REPORT}", *map(str, words)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "POSE_HOME": str(home)}
    )
    seconds, peak, result = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak, result


def reading(data: Path, home: Path) -> Iterator[Row]:
    """Yield rows of reading a data set cold, and from the cache."""
    for name in ("reading, cold", "reading, cached"):
        seconds, peak, people = measure(READ, data, home=home)
        yield {"what": name, "size": f"{people} people", "CPU s": round(seconds, 1), "peak MB": round(peak)}


def evaluation(folder: Path, images: int, results: int) -> Iterator[Row]:
    """Yield rows of evaluating results with ours and with pycocotools; their figures must be equal."""
    truth, found = bench_evaluation.make_set(images)
    found = [found[row] for row in np.random.default_rng(0).choice(len(found), results)]
    files = folder / "truth.json", folder / "results.json"
    for file, content in zip(files, (truth, found), strict=True):
        file.write_text(json.dumps(content))
    figures = []
    for name, code in (("evaluation", OURS), ("evaluation, pycocotools", THEIRS)):
        seconds, peak, figure = measure(code, *files, home=folder)
        figures.append(figure)
        yield {"what": name, "size": f"{results} results", "CPU s": round(seconds, 1), "peak MB": round(peak)}
    if abs(figures[0] - figures[1]) > 1e-9:
        raise SystemExit(f"the figures differ: {figures}")


def watch(command: Sequence[str | Path], home: Path, field: str) -> tuple[float, list[tuple[float, float]]]:
    """Run a command; return its seconds, and memory in MB of it and of its largest child, sampled all the time."""
    begin, samples = time.monotonic(), []
    with (home / "log.txt").open("w") as log, subprocess.Popen(
        list(map(str, command)), stdout=log, stderr=log, env={**os.environ, "POSE_HOME": str(home)}
    ) as process:  # fmt: skip
        while process.poll() is None:
            try:
                threads = Path(f"/proc/{process.pid}/task").iterdir()
                children = [child for thread in threads for child in (thread / "children").read_text().split()]
                own = [megabytes(int(each), field) for each in children]
                samples.append((megabytes(process.pid, field), max(own, default=0.0)))
            except OSError:  # ended meanwhile
                pass
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{command[2]} failed: {(home / 'log.txt').read_text()[-2000:]}")
    return time.monotonic() - begin, [pair for pair in samples if pair[0]]


def of_run(what: str, size: str, seconds: float, samples: Sequence[tuple[float, float]]) -> Row:
    """Return the row of a run, with the memory of its main process and, where it has one, of a worker."""
    row: Row = {"what": what, "size": size, "wall s": round(seconds)}
    for name, share in SAMPLED.items():
        main, worker = samples[int(share * (len(samples) - 1))]
        row[f"{name} MB"] = f"{main:.0f}" + (f" + {worker:.0f}" if worker else "")
    return row


def train(data: Path, home: Path, run: Path, steps: int, batch: int = 64) -> Row:
    """Train a small network; return its row. The run's weights serve the other parts."""
    settings = (
        f"data.root={data}", f"run.dir={run.parent}", f"run.name={run.name}", f"train.iterations={steps}",
        f"train.batch_size={batch}", "train.workers=2", "train.validate_every=0", *NETWORK,
    )  # fmt: skip
    command = [sys.executable, "-m", "pose_lite", "train", "--cfg", "synthetic_quick", *settings]
    seconds, samples = watch(command, home, "Pss")
    return of_run("training", f"{steps} steps of {batch}", seconds, samples)


def predict(what: str, size: str, source: Path, home: Path, weights: Path, out: Path) -> Row:
    """Predict on photos or a video; return the row."""
    words = ["--cfg", "synthetic_quick", "--weights", weights, "--detector", "whole", "--no-draw", "--out", out]
    command = [sys.executable, "-m", "pose_lite", "predict", source, *words, *NETWORK]
    seconds, samples = watch(command, home, "Anonymous")
    return of_run(what, size, seconds, samples)


def write_video(file: Path, frames: int) -> None:
    """Write a video of drifting noise, 320x240."""
    import av

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (240, 640, 3), dtype=np.uint8)
    with av.open(str(file), "w") as content:
        stream = content.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 320, 240
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, number % 320 :][:, :320]), format="rgb24")
            content.mux(stream.encode(frame))
        content.mux(stream.encode())


def measure_all(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Yield the rows of the parts chosen."""
    home, data = folder / "home", folder / "data"
    home.mkdir()
    weights = folder / "run" / "last.pt"
    if {"reading", "training", "photos", "video"} & set(args.parts):
        make_set(data, args.images, args.people)
    if "reading" in args.parts:
        yield from reading(data, home)
    if "evaluation" in args.parts:
        yield from evaluation(folder, args.evaluated, args.results)
    if {"training", "photos", "video"} & set(args.parts):
        row = train(data, home, weights.parent, args.steps if "training" in args.parts else 1)
        if "training" in args.parts:
            yield row
    if "photos" in args.parts:
        photos = folder / "photos"
        photos.mkdir()
        drawn = sorted((data / "images" / "train2017").iterdir())[:8]
        for number in range(args.photos):
            os.link(drawn[number % len(drawn)], photos / f"{number:06d}.jpg")
        yield predict("photos", f"{args.photos} of 640x480", photos, home, weights, folder / "of_photos")
    if "video" in args.parts:
        write_video(folder / "clip.mp4", args.frames)
        yield predict("video", f"{args.frames} frames", folder / "clip.mp4", home, weights, folder / "of_video")


def main(words: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in (
        ("images", 118_287), ("people", 150_000), ("steps", 500), ("photos", 2000), ("frames", 10_000),
        ("results", 100_000), ("evaluated", 5000),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the rows as JSON")
    args = parser.parse_args(words)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure_all(Path(folder), args):
            print(row, flush=True)
            rows.append(row)
    columns = dict.fromkeys(key for row in rows for key in row)
    rows = [{key: row.get(key, "") for key in columns} for row in rows]
    finish(rows, args.out)
    return rows


if __name__ == "__main__":
    main()
