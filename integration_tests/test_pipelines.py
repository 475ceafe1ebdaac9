"""Whole pipelines, image in, keypoints and scores out: what users run against figures of the published rules.

A file in ``shared/golden/pipelines`` is a test: whoever adds one there has it compared.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_testing.pipelines import difference, evaluated, pipeline, pipeline_names, predicted, write_data


@pytest.mark.slow
@pytest.mark.parametrize("name", pipeline_names())
def test_evaluation_and_prediction_give_the_published_people(name: str, tmp_path: Path) -> None:
    content = pipeline(name)
    words = write_data(content, tmp_path / "data")
    results = {"eval": ([e for e in content["outputs"] if e["kept"]], evaluated(content, words, tmp_path / "out"))}
    # A predictor takes boxes with scores, not annotations; it suppresses nobody.
    if content["kind"] == "embedding" or all("score" in entry for entry in content["people"]):
        results["predict"] = content["outputs"], predicted(content, words, tmp_path / "data")
    for way, (expected, found) in results.items():
        assert expected
        apart = difference(expected, found)
        print(f"{name}, {way}: {len(expected)} people, {apart}")
        for key, value in apart.items():
            assert value <= content["tolerance"][key], (way, key, value)
