"""Prediction on a local Ray: as actors of shards, started and killed, and as a class for `map_batches`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_testing.processes import family

pytest.importorskip("ray", reason="needs Ray")
pytestmark = pytest.mark.slow

JOB = """
import os, sys, types
from pathlib import Path
import numpy as np
import ray
from pose_core.inference import ray as our_ray
from pose_core.inference.recipe import Recipe
from pose_core.plugins.predictors import Predictor
from pose_core.skeleton import SKELETONS
from pose_core.structures import Poses

class Middles:
    needs_boxes, skeleton = True, SKELETONS["coco17"]
    config, device = types.SimpleNamespace(method="middles"), "cpu"
    def predict_stream(self, images):
        for key, image, boxes, scores in images:
            marker = Path("one_dies")
            if image.shape[1] == 20 and marker.exists():
                marker.unlink()
                os._exit(1)
            points = np.repeat((boxes[:, :2] + boxes[:, 2:] / 2)[:, None], 17, 1)
            yield key, Poses(points, np.ones(points.shape[:2]), scores, self.skeleton, boxes)

class Free(Recipe):
    def predictor(self, device=None):
        return Predictor(Middles())
    def build(self, device=None):
        return self.predictor(), self.detector_for(self.predictor())
    def settings(self):
        return {"weights": "none"}

our_ray.Recipe = Free
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
config = types.SimpleNamespace()
if sys.argv[1] == "shards":
    recipe = Free(config, "none", detector="whole")
    counts = our_ray.predict_shards(recipe, ["in"], Path("out"), kind="jsonl", shard_size=7)
    print(counts.images, "images")
else:
    class Given(our_ray.PosePredictor):
        def __init__(self):
            self.predictor, self.boxes, self.min_score = Predictor(Middles()), None, None
            self.detector = Free(config, "none", detector="whole").detector_for(self.predictor)
    two = ray.data.ActorPoolStrategy(size=2)
    images = ray.data.read_images("in", include_paths=True)
    images.map_batches(Given, compute=two, batch_size=16, num_cpus=0.5).write_parquet(str(Path("table").absolute()))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "job.py").write_text(JOB)
    for number in range(60):
        cv2.imwrite(str(tmp_path / f"in/{number:02d}.png"), np.full((8, 8 + number, 3), number, np.uint8))
    return tmp_path


def start(folder: Path, what: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "job.py", what],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_on_ray_every_picture_is_there_once(folder: Path) -> None:
    shards = folder / "out" / "shards"
    job = start(folder, "shards")
    while job.poll() is None and not list(shards.glob("part-*")):
        time.sleep(0.02)
    for process in family(job.pid):
        os.kill(process, signal.SIGKILL)
    job.communicate()
    (folder / "one_dies").touch()  # and in the second start an actor, which is started again
    job = start(folder, "shards")
    output, _ = job.communicate()
    assert job.returncode == 0
    assert output.decode().strip().endswith("60 images")
    assert len(list(shards.glob("part-*"))) == 9
    lines = [json.loads(line) for file in sorted(shards.iterdir()) for line in file.read_text().splitlines()]
    assert [line["input"] for line in lines] == list(range(60))


def test_a_table_of_images_is_predicted(folder: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    job = start(folder, "table")
    job.communicate()
    assert job.returncode == 0
    rows = dataset.dataset(folder / "table").to_table().to_pylist()
    assert sorted(row["width"] - 8 for row in rows) == list(range(60))
    assert all(row["keypoints"][0][0] == [row["width"] / 2, 4.0] for row in rows)
