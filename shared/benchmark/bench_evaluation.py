"""Benchmark COCO and CrowdPose keypoint evaluation against pycocotools and faster-coco-eval, on one core.

The error analysis is measured against the evaluation alone.

python shared/benchmark/bench_evaluation.py [--images 5000] [--rounds 5] [--out results.json]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cases import Bar, Case, measure
from paired import arguments, compare, finish, print_table
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pose_core.evaluation import analyze, coco_keypoint_ap, crowdpose_ap
from pose_core.evaluation.coco import AREAS, evaluate
from pose_core.evaluation.keypoint_files import read_detections, read_ground_truth
from pose_core.skeleton import SKELETONS


def make_set(images: int, joints: int = 17, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make ground truth and detections: about two people and four detections per image."""
    rng = np.random.default_rng(seed)
    annotations, detections = [], []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 5)):
            side, center = float(rng.uniform(20, 300)), rng.uniform(100, 500, 2)
            labels = rng.integers(0, 3, (joints, 1))
            points = np.concatenate([center + rng.uniform(-0.5, 0.5, (joints, 2)) * side, labels], 1) * (labels > 0)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                    "keypoints": points.reshape(-1).tolist(), "num_keypoints": int((labels > 0).sum()),
                    "bbox": [*(center - side / 2).tolist(), side, side], "area": side * side * 0.6,
                }
            )  # fmt: skip
            for _ in range(rng.integers(1, 4)):
                found = np.concatenate(
                    [points[:, :2] + rng.normal(0, 0.05 * side, (joints, 2)), np.ones((joints, 1))], 1
                )
                detections.append(
                    {
                        "image_id": image,
                        "category_id": 1,
                        "keypoints": found.reshape(-1).tolist(),
                        "score": float(rng.random()),
                    }
                )
    records = [{"id": i, "width": 640, "height": 480, "crowdIndex": float(rng.random())} for i in range(1, images + 1)]
    category = {"id": 1, "name": "person", "keypoints": ["x"] * joints}
    return {"images": records, "annotations": annotations, "categories": [category]}, detections


def crowded(images: int, times: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make a set whose detections come ``times`` times, each with scores of its own."""
    rng = np.random.default_rng(1)
    truth, detections = make_set(images)
    return truth, [{**entry, "score": float(rng.random())} for _ in range(times) for entry in detections]


def cases(folder: Path) -> Iterator[Case]:
    """Yield the bars of evaluation against faster-coco-eval: from what has been loaded, and from files.

    The floor of files parses them. `large_files` measures those of 100,000 results, which takes minutes.
    """
    for number, times in ((20, 1), (100, 5)):
        truth, detections = crowded(5000, times)
        faster = _faster(truth, detections)
        if faster is None:
            return
        read = read_ground_truth(truth, 17)
        found = read_detections(detections, read, max_detections=20)
        ranges, sigmas = list(AREAS.values()), np.array(SKELETONS["coco17"].sigmas)
        yield Case(
            f"coco_{number}k",
            f"COCO, 5,000 images, {len(detections):,} results, loaded: evaluate and accumulate",
            {
                "faster-coco-eval": faster,
                "ours": partial(evaluate, read, found, sigmas, ranges),
            },
            (Bar("faster-coco-eval", "ours", 2.5, at_most=False),),
        )
    yield with_loading(folder, 1)


def large_files(folder: Path) -> Iterator[Case]:
    """Yield the bars of evaluation from files of 100,000 results."""
    yield with_loading(folder, 5)


def with_loading(folder: Path, times: int) -> Case:
    """Return the bars of evaluation from files, with the peak of memory.

    Memory is that of a process of its own, beyond what it has before it reads.
    """
    truth, detections = crowded(5000, times)
    files = folder / f"truth_{times}.json", folder / f"found_{times}.json"
    for file, content in zip(files, (truth, detections), strict=True):
        file.write_text(json.dumps(content))
    own, theirs = (memory_of(how, *files) for how in ("ours", "faster"))
    return Case(
        f"coco_{20 * times}k_files",
        f"COCO, 5,000 images, {len(detections):,} results, from files",
        {
            "faster-coco-eval": lambda: _faster_from_files(*files),
            "ours": lambda: coco_keypoint_ap(*files),
            "parse": lambda: [json.loads(file.read_bytes()) for file in files],
        },
        (Bar("faster-coco-eval", "ours", 2.5, at_most=False), Bar("ours", "parse", 1.2)),
        notes={"memory MB": own, "of faster-coco-eval's": own / theirs},
    )


def _faster_from_files(truth: Path, detections: Path) -> None:
    from faster_coco_eval import COCO as FastCOCO
    from faster_coco_eval import COCOeval_faster

    def run() -> None:
        ground = FastCOCO(str(truth))
        evaluation = COCOeval_faster(ground, ground.loadRes(str(detections)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    silent(run)


def memory_of(how: str, truth: Path, detections: Path) -> float:
    """Return the megabytes by which the peak memory of a process grows that evaluates two files."""
    command = [sys.executable, __file__, "--memory-of", how, str(truth), str(detections)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def measure_memory(how: str, truth: Path, detections: Path) -> None:
    """Evaluate in this process, and print by how many megabytes its peak memory has grown."""
    # Whatever is loaded on first use is loaded before.
    small = make_set(3)
    warm_up = _faster(*small)
    run = coco_keypoint_ap if how == "ours" else _faster_from_files
    coco_keypoint_ap(*small)
    if warm_up is not None:
        warm_up()
    before = peak_megabytes()
    run(truth, detections)
    print(peak_megabytes() - before)


def peak_megabytes() -> float:
    """Return the peak memory of this process so far; what `resource` tells on Linux includes the process before it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def silent(run: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return run()


def with_pycocotools(truth: Path, detections: Path) -> np.ndarray:
    def run() -> np.ndarray:
        ground = COCO(str(truth))
        evaluation = COCOeval(ground, ground.loadRes(str(detections)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return np.asarray(evaluation.stats)

    return np.asarray(silent(run))


def peak_of(run: Any) -> float:
    """Return the peak of memory that Python allocates, in megabytes."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return float(peak / 2**20)


def coco_rows(images: int, rounds: int) -> list[dict[str, object]]:
    truth, detections = make_set(images)
    ground = silent(lambda: _loaded(truth))
    results = silent(lambda: ground.loadRes(json.loads(json.dumps(detections))))

    def theirs() -> None:
        evaluation = COCOeval(ground, results, "keypoints")
        silent(lambda: (evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()))

    contenders = {"pycocotools": theirs, "ours": lambda: coco_keypoint_ap(truth, detections)}
    faster = _faster(truth, detections)
    if faster is not None:
        contenders["faster-coco-eval"] = faster
    found = compare(contenders, rounds)
    rows = [_row("4", f"COCO, {images} images, {len(detections)} detections", found, "≥ 6, ≥ 1.5 faster-coco-eval")]
    rows[0]["memory ratio"] = peak_of(lambda: coco_keypoint_ap(truth, detections)) / peak_of(theirs)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "truth.json", Path(folder) / "found.json"
        for file, content in zip(files, (truth, detections), strict=True):
            file.write_text(json.dumps(content))
        loading = compare(
            {"pycocotools": lambda: with_pycocotools(*files), "ours": lambda: coco_keypoint_ap(*files)}, rounds
        )
        ours = np.array(list(coco_keypoint_ap(*files).values()))
        rows[0]["largest difference"] = float(np.abs(ours - with_pycocotools(*files)).max())
    rows.append(_row("4b", "the same with loading", loading, "≥ 4"))
    return rows


def analysis_rows(images: int, rounds: int) -> list[dict[str, object]]:
    """Compare the error analysis with our evaluation alone, from objects and from files, in processor time."""
    truth, detections = make_set(images)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "truth.json", Path(folder) / "found.json"
        for file, content in zip(files, (truth, detections), strict=True):
            file.write_text(json.dumps(content))
        for number, sources, words in (("4d", (truth, detections), "objects"), ("4e", files, "files")):
            found = compare(
                {
                    "analysis": lambda sources=sources: analyze(*sources),
                    "evaluation": lambda sources=sources: coco_keypoint_ap(*sources),
                },
                rounds,
                time.process_time,
            )
            work = f"error analysis in times of the evaluation, from {words}, {len(detections)} detections"
            rows.append({"#": number, "work": work, "ours s": found["analysis"], "ratio": found["ratio"], "bar": "≤ 3"})
    return rows


def _loaded(truth: dict[str, Any]) -> COCO:
    ground = COCO()
    ground.dataset = json.loads(json.dumps(truth))
    ground.createIndex()
    return ground


def _faster(truth: dict[str, Any], detections: list[dict[str, Any]], kind: str = "keypoints") -> Any:
    """Return faster-coco-eval's evaluate and accumulate, if it is installed."""
    try:
        from faster_coco_eval import COCO as FastCOCO
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        return None
    ground = silent(lambda: FastCOCO(json.loads(json.dumps(truth))))
    results = silent(lambda: ground.loadRes(json.loads(json.dumps(detections))))

    def run() -> None:
        evaluation = COCOeval_faster(ground, results, kind)
        silent(lambda: (evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()))

    return run


def crowdpose_row(images: int, rounds: int) -> dict[str, object]:
    """Compare CrowdPose's four evaluations (all, easy, medium, hard) with four by pycocotools."""
    truth, detections = make_set(images, joints=14, seed=1)
    levels = [(-1.0, 2.0), (-1.0, 0.2), (0.2, 0.8), (0.8, 2.0)]
    chosen = [{i["id"] for i in truth["images"] if low <= i["crowdIndex"] < high} for low, high in levels]
    ground = silent(lambda: _loaded(truth))
    results = silent(lambda: ground.loadRes(json.loads(json.dumps(detections))))
    sigmas = np.array([0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79]) / 10

    def theirs() -> None:
        for ids in chosen:
            evaluation = COCOeval(ground, results, "keypoints")
            evaluation.params.kpt_oks_sigmas = sigmas
            evaluation.params.imgIds = sorted(ids)
            silent(lambda e=evaluation: (e.evaluate(), e.accumulate()))

    found = compare({"pycocotools": theirs, "ours": lambda: crowdpose_ap(truth, detections)}, rounds)
    return _row("4c", f"CrowdPose with easy, medium, hard; {images} images", found, "≥ 10")


def _row(number: str, work: str, found: dict[str, Any], bar: str) -> dict[str, object]:
    ratios = found["ratios"]
    return {
        "#": number, "work": work, "pycocotools s": found["pycocotools"], "ours s": found["ours"],
        "ratio": ratios["pycocotools/ours"], "ratio to faster-coco-eval": ratios.get("faster-coco-eval/ours", ""),
        "bar": bar, "largest difference": "", "memory ratio": "",
    }  # fmt: skip


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=5000, metavar="N")
    parser.add_argument("--memory-of", nargs=3, metavar=("HOW", "TRUTH", "FOUND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        how, truth, found = args.memory_of
        measure_memory(how, Path(truth), Path(found))
        return
    rows = coco_rows(args.images, args.rounds)
    rows.append(crowdpose_row(args.images, args.rounds))
    rows += analysis_rows(args.images, args.rounds)
    finish(rows, args.out)
    with tempfile.TemporaryDirectory() as folder:
        found = [result for case in large_files(Path(folder)) for result in measure(case, 60)]
    print_table([{"work": each.work, "bar": each.bar, "ratio": each.ratio.median, **each.notes} for each in found])


if __name__ == "__main__":
    main()
