"""Documents made from scratch, half of whose values are of the right kind: a result, or a message of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import KINDS
from run import judge

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def mostly(usual: st.SearchStrategy) -> st.SearchStrategy:
    """Draw a usual value three times out of four, otherwise anything."""
    return st.integers(0, 3).flatmap(lambda n: usual if n else ANY)


def entries(**fields: st.SearchStrategy) -> st.SearchStrategy:
    """Draw lists of mappings with these fields, any of which may be absent."""
    usual = {name: mostly(values) for name, values in fields.items()}
    return st.lists(mostly(st.fixed_dictionaries(usual) | st.fixed_dictionaries({}, optional=usual)), max_size=4)


small = st.integers(0, 3)
number = st.floats(-10, 100) | st.integers(-10, 100)
box = st.lists(number, min_size=4, max_size=4)


def triples(joints: int) -> st.SearchStrategy:
    """Draw x, y and visibility of all joints."""
    return st.lists(st.tuples(number, number, st.integers(0, 2)), min_size=joints, max_size=joints).map(
        lambda rows: [value for row in rows for value in row]
    )


def coco(joints: int) -> st.SearchStrategy:
    """Draw COCO documents."""
    images = entries(id=small, file_name=st.text(max_size=12), width=st.integers(1, 64), height=st.integers(1, 64),
                     crowdIndex=st.floats(0, 1))  # fmt: skip
    annotations = entries(id=st.integers(0, 9), image_id=small, category_id=st.just(1), keypoints=triples(joints),
                          bbox=box, area=number, iscrowd=st.integers(0, 1),
                          num_keypoints=st.integers(0, joints))  # fmt: skip
    return mostly(st.fixed_dictionaries({
        "images": mostly(images), "annotations": mostly(annotations),
        "categories": mostly(entries(id=st.just(1), name=st.just("person"), keypoints=st.lists(st.text(max_size=4)))),
    }))  # fmt: skip


names = st.lists(st.text(max_size=6), max_size=6)
pairs = st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=2), max_size=3)
DOCUMENTS = {
    "coco": coco(17), "coco_both": coco(17), "crowdpose": coco(14), "crowdpose_truth": coco(14), "coco_check": coco(17),
    "coco_results": entries(image_id=small, category_id=st.just(1), keypoints=triples(17), score=number, bbox=box),
    "detections": entries(image_id=small, category_id=st.just(1), bbox=box, score=number),
    "mpii_json": entries(image=st.just("a.jpg"), center=st.lists(number, min_size=2, max_size=2), scale=number,
                         joints=st.lists(st.lists(number, min_size=2, max_size=2), min_size=16, max_size=16),
                         joints_vis=st.lists(st.integers(0, 1), min_size=16, max_size=16)),
    "skeleton": mostly(st.fixed_dictionaries({}, optional={
        "name": mostly(st.text(max_size=6)), "joints": mostly(names), "sigmas": mostly(st.lists(number, max_size=6)),
        "flip_pairs": mostly(pairs), "limbs": mostly(pairs), "upper_body": mostly(names),
    })),
    "label_studio": entries(
        id=small, data=st.just({"image": "a.jpg"}),
        annotations=entries(updated_at=st.text(max_size=3), was_cancelled=st.booleans(), result=entries(
            id=st.sampled_from("ab"), parentID=st.sampled_from("ab"), from_id=st.just("a"), to_id=st.just("b"),
            type=st.sampled_from(["rectanglelabels", "keypointlabels", "choices", "relation"]),
            original_width=st.just(64), original_height=st.just(48),
            value=st.fixed_dictionaries(
                {"x": mostly(number), "y": mostly(number), "width": mostly(number), "height": mostly(number)},
                optional={"keypointlabels": mostly(st.just(["nose"])), "choices": mostly(st.just(["hidden"])),
                          "rotation": mostly(st.just(0))})))),
    "sleap": mostly(st.fixed_dictionaries({
        "nodes": mostly(st.lists(st.fixed_dictionaries({"name": mostly(st.text(max_size=3))}), max_size=3)),
        "skeletons": mostly(st.fixed_dictionaries(
            {"nodes": mostly(entries(id=small)), "links": mostly(entries(source=small, target=small, type=ANY))}
        ).map(lambda skeleton: [skeleton])),
        "videos": mostly(entries(backend=st.fixed_dictionaries({"filename": mostly(st.just("a.mp4"))}))),
        "labels": mostly(entries(video=small, frame_idx=small, _instances=entries(
            _points=st.dictionaries(st.sampled_from("012"), entries(x=number, y=number, visible=st.booleans()).map(
                lambda points: points[0] if points else None))))),
    })),
    "own_yaml": mostly(st.dictionaries(st.sampled_from(["data", "model", "train", "run", "name", "method"]), ANY)),
    "metrics": entries(split=st.sampled_from(["train", "val"]), step=small, loss=number),
}  # fmt: skip


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], object]:
    """Return a function that prepares a kind of file once."""
    folder: Path = tmp_path_factory.mktemp("documents")
    made: dict[str, object] = {}

    def reader(name: str) -> object:
        if name not in made:
            made[name] = KINDS[name](folder / name)
        return made[name]

    return reader


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_made_from_scratch(name: str, readers: Callable[[str], object]) -> None:
    kind = readers(name)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(DOCUMENTS[name])
    def check(tree: object) -> None:
        outcome, key, text = judge(kind, kind.dump(tree))  # type: ignore[attr-defined]
        assert outcome in {"ok", "refused"}, f"{outcome}: {key}\n{text}"

    check()
