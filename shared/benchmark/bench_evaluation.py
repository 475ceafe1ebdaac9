"""Benchmark COCO and CrowdPose keypoint evaluation on one core, against faster-coco-eval and pycocotools.

    python shared/benchmark/run.py --only evaluation
    python shared/benchmark/run.py --only files_large,pycocotools,error_analysis

The error analysis is measured against the evaluation alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cases import Bar, Case
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
    files = written(folder, truth, detections)
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


def written(folder: Path, truth: dict[str, Any], detections: list[dict[str, Any]]) -> tuple[Path, Path]:
    """Write a set; return its files."""
    files = folder / "truth.json", folder / "found.json"
    for file, content in zip(files, (truth, detections), strict=True):
        file.write_text(json.dumps(content))
    return files


def _faster_from_files(truth: Path, detections: Path) -> None:
    from faster_coco_eval import COCO as FastCOCO
    from faster_coco_eval import COCOeval_faster

    silent(partial(_evaluated, FastCOCO, COCOeval_faster, truth, detections))


def _evaluated(reader: Any, evaluator: Any, truth: Path, detections: Path) -> np.ndarray:
    """Return the figures of another implementation."""
    ground = reader(str(truth))
    evaluation = evaluator(ground, ground.loadRes(str(detections)), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.asarray(evaluation.stats)


def memory_of(how: str, truth: Path, detections: Path) -> float:
    """Return the megabytes by which the peak memory of a process grows that evaluates two files."""
    command = [sys.executable, __file__, how, str(truth), str(detections)]
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


def pycocotools(folder: Path) -> Iterator[Case]:
    """Yield the bars of evaluation against pycocotools: loaded, from files, and CrowdPose's levels."""
    truth, detections = make_set(5000)
    ground, results = _loaded(truth, detections)
    files = written(folder, truth, detections)
    from_files = partial(silent, partial(_evaluated, COCO, COCOeval, *files))

    def theirs() -> None:
        evaluation = COCOeval(ground, results, "keypoints")
        silent(lambda: (evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()))

    assert np.abs(np.array(list(coco_keypoint_ap(*files).values())) - from_files()).max() < 1e-12
    work = f"COCO, 5,000 images, {len(detections):,} results"
    runs: dict[str, Callable[[], object]] = {
        "pycocotools": theirs, "ours": lambda: coco_keypoint_ap(truth, detections)
    }  # fmt: skip
    yield Case("pycocotools", f"{work}, loaded", runs, (Bar("pycocotools", "ours", 6, at_most=False),))
    runs = {"pycocotools": from_files, "ours": lambda: coco_keypoint_ap(*files)}
    yield Case("pycocotools_files", f"{work}, from files", runs, (Bar("pycocotools", "ours", 4, at_most=False),))
    yield crowdpose()


def crowdpose() -> Case:
    """Return the bar of CrowdPose's four evaluations (all, easy, medium, hard) against four by pycocotools."""
    truth, detections = make_set(5000, joints=14, seed=1)
    levels = [(-1.0, 2.0), (-1.0, 0.2), (0.2, 0.8), (0.8, 2.0)]
    chosen = [{i["id"] for i in truth["images"] if low <= i["crowdIndex"] < high} for low, high in levels]
    ground, results = _loaded(truth, detections)

    def theirs() -> None:
        for ids in chosen:
            evaluation = COCOeval(ground, results, "keypoints")
            evaluation.params.kpt_oks_sigmas = np.array(SKELETONS["crowdpose14"].sigmas)
            evaluation.params.imgIds = sorted(ids)
            silent(lambda e=evaluation: (e.evaluate(), e.accumulate()))

    return Case(
        "pycocotools_crowdpose",
        f"CrowdPose, 5,000 images, {len(detections):,} results: all, easy, medium and hard",
        {"pycocotools": theirs, "ours": lambda: crowdpose_ap(truth, detections)},
        (Bar("pycocotools", "ours", 10, at_most=False),),
    )


def error_analysis(folder: Path) -> Iterator[Case]:
    """Yield the bars of the error analysis in units of the evaluation alone, from objects and from files."""
    loaded = make_set(5000)
    for number, sources in (("objects", loaded), ("files", written(folder, *loaded))):
        yield Case(
            f"error_analysis, {number}",
            f"COCO, 5,000 images, {len(loaded[1]):,} results, from {number}",
            {"analysis": partial(analyze, *sources), "evaluation": partial(coco_keypoint_ap, *sources)},
            (Bar("analysis", "evaluation", 3),),
        )


def _loaded(truth: dict[str, Any], detections: list[dict[str, Any]]) -> tuple[COCO, COCO]:
    ground = COCO()
    ground.dataset = json.loads(json.dumps(truth))
    silent(ground.createIndex)
    return ground, silent(lambda: ground.loadRes(json.loads(json.dumps(detections))))


def _faster(truth: dict[str, Any], detections: list[dict[str, Any]]) -> Any:
    """Return faster-coco-eval's evaluate and accumulate, if it is installed."""
    try:
        from faster_coco_eval import COCO as FastCOCO
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        return None
    ground = silent(lambda: FastCOCO(json.loads(json.dumps(truth))))
    results = silent(lambda: ground.loadRes(json.loads(json.dumps(detections))))

    def run() -> None:
        evaluation = COCOeval_faster(ground, results, "keypoints")
        silent(lambda: (evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()))

    return run


if __name__ == "__main__":  # a process whose memory is measured
    measure_memory(sys.argv[1], *map(Path, sys.argv[2:]))
