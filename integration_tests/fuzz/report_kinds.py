"""The record of an evaluation, as a report reads it: whatever it holds, the page is whole and its texts are text."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kinds import Kind, expect

from pose_testing import annotations


def evaluation_record(folder: Path) -> Kind:
    from pose_core.evaluation.analysis import Analysis
    from pose_core.layouts.reader import read_dataset
    from pose_core.plugins.experiments import load_config
    from pose_core.report.page import run_page
    from pose_core.report.runs import EvaluatedRun, read_record

    root = folder / "data"
    (root / "images").mkdir(parents=True, exist_ok=True)
    annotations.write_json(root / "annotations" / "mine.json", annotations.coco_content(images=0))
    config = load_config("coco_lpn50_256x192", [f"data.root={root}", "data.val=mine.json"])
    found = read_dataset(config.data, "mine.json")
    analysis = Analysis("AP", 0.5, (), (), (), {}, (), ())
    record = {
        "results": "keypoints_mine_results.json",
        "metric": "COCO AP",
        "value": 0.5,
        "metrics": {"AP": 0.5, "AP50": -1.0},
        "report": "| AP |\nboxes=ground-truth flip=yes evaluator=COCO AP",
        "data": {"layout": "coco", "root": str(root), "split": "mine.json", "skeleton": "coco17"},
        "weights": "best.pt",
        "device": "cpu",
        "versions": {"python": "3.11.7", "torch": "2.11.0"},
        "git": None,
        "date": "2026-01-01T00:00:00+00:00",
        "config": config.model_dump(mode="json"),
    }
    file = folder / "evaluation.json"

    def dump(content: object) -> bytes:
        return json.dumps(content).encode()

    def read() -> object:
        stated = read_record(file)
        page = run_page(EvaluatedRun("run", folder, file, stated, found, analysis, {}), [])
        expect(len(re.findall("<script>", page)) == 1, "another script in the page")
        expect(page.rstrip().endswith("</html>"), "a page that is not whole")
        return page

    return Kind(file, [dump(record)], read, dump, [record])
