"""Whole pipelines, image in, keypoints and scores out: what users run against figures of the published rules.

A file in ``shared/golden/pipelines`` is a test: whoever adds one there has it compared.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pose_testing.pipelines import difference, evaluated, pipeline, pipeline_names, predicted


def check(name: str, found: list[dict[str, object]], *, kept: bool) -> None:
    content = pipeline(name)
    expected = [entry for entry in content["outputs"] if entry["kept"] or not kept]
    assert expected
    apart = difference(expected, found)
    print(name, f"{len(expected)} people", dict(apart))
    for key, value in apart.items():
        assert value <= content["tolerance"][key], (key, value)


@pytest.mark.parametrize("name", pipeline_names())
def test_evaluation_gives_the_published_results(name: str, tmp_path: Path) -> None:
    check(name, evaluated(pipeline(name), tmp_path), kept=True)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in pipeline_names()
        if pipeline(name)["kind"] == "embedding" or all("score" in entry for entry in pipeline(name)["people"])
    ],
)
def test_predictors_give_the_published_people(name: str, tmp_path: Path) -> None:
    check(name, predicted(pipeline(name), tmp_path), kept=False)
