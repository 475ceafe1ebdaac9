"""Kinds of files that others make: valid ones to begin with, the reader of each, and what it may hand on.

A reader ends in a result or in an error of ours. `Absurd` is raised for a result that no valid file could give.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from format_kinds import FORMAT_KINDS
from shapes import (
    BOUND,
    Kind,
    as_json,
    check_numbers,
    check_records,
    coco_person,
    coco_tree,
    expect,
    json_kind,
    write_images,
)

from pose_core.config import DataConfig
from pose_core.errors import PoseError
from pose_core.structures import ImageRecord


def check_metrics(metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        expect(isinstance(value, float) and (value == -1 or 0 <= value <= 100), f"{name} = {value!r}")


# --- annotation files ---------------------------------------------------------------------------------------------


def _coco_root(folder: Path) -> tuple[Path, Path, list[Any]]:
    from pose_core.skeleton import get_skeleton

    write_images(folder / "images" / "train2017", ["000000000001.jpg", "000000000002.jpg"])
    file = folder / "annotations" / "person_keypoints_train2017.json"
    return folder, file, [coco_tree(get_skeleton("coco17").joints)]


def _read_layout(root: Path, layout: str, split: str, skeleton: str, joints: int) -> object:
    from pose_core.layouts.reader import read_dataset

    config = DataConfig(
        layout=layout, root=str(root), train=split, skeleton=skeleton, on_bad_image="skip", max_skipped=1.0
    )
    found = None
    for keep in (False, True):
        found = read_dataset(config, split, keep_unlabeled=keep)
        check_records(found.records, root, joints)
    return found


def coco(folder: Path) -> Kind:
    root, file, trees = _coco_root(folder)
    return json_kind(file, trees, lambda: _read_layout(root, "coco", "train2017", "coco17", 17))


def regions(folder: Path) -> Kind:
    """Segmentations of crowds, drawn as the training of whole images draws them."""
    from pycocotools import mask

    from pose_core.bottomup.ignore_masks import keep_mask
    from pose_core.skeleton import get_skeleton

    root, file, trees = _coco_root(folder)
    drawn = np.zeros((48, 64), np.uint8, order="F")
    drawn[5:20, 7:50] = drawn[30:, 3:9] = 1
    packed = mask.encode(drawn)
    person = {"iscrowd": 1, "keypoints": [0] * 51, "num_keypoints": 0}
    found = [{"size": [48, 64], "counts": packed["counts"].decode()}, {"size": [48, 64], "counts": [5, 60, 3007]}]
    trees = [
        {
            **trees[0],
            "annotations": [
                coco_person(30, 1, **person, segmentation=each),
                coco_person(31, 2, segmentation=[[1, 2, 30, 4, 9, 40]], **{**person, "iscrowd": 0}),
            ],
        }
        for each in found
    ]

    def read() -> object:
        from pose_core.data.diagnostics import Problems
        from pose_core.layouts.coco import read_coco

        records = read_coco(root, "train2017", get_skeleton("coco17"), Problems(), keep_unlabeled=True)
        for record in records:
            keep = keep_mask(record.ignore, record.width, record.height, record.source) if record.width < 999 else None
            expect(keep is None or keep.shape == (record.height, record.width), "shape")
        return None

    return json_kind(file, trees, read)


def own_coco(folder: Path) -> Kind:
    """A user's own file as a split: train.json, with any names of files."""
    root, _, trees = _coco_root(folder)
    return json_kind(
        root / "annotations" / "train.json", trees, lambda: _read_layout(root, "coco", "train.json", "coco17", 17)
    )


def coco_both(folder: Path) -> Kind:
    """What the reader for training accepts, evaluation accepts, and the other way around."""
    from pose_core.data.diagnostics import Problems
    from pose_core.evaluation.keypoint_files import read_ground_truth
    from pose_core.layouts.coco import read_coco
    from pose_core.skeleton import get_skeleton

    root, file, trees = _coco_root(folder)

    def read() -> object:
        errors = []
        for reader in (
            lambda: read_coco(root, "train2017", get_skeleton("coco17"), Problems(), keep_unlabeled=True),
            lambda: read_ground_truth(file, 17, skeleton=get_skeleton("coco17")),
        ):
            try:
                reader()
                errors.append("")
            except PoseError as error:
                errors.append(str(error))
        if errors[0] and errors[1]:
            raise PoseError(errors[0])
        expect(not errors[0] and not errors[1], f"training says {errors[0]!r}, evaluation {errors[1]!r}")
        return None

    return json_kind(file, trees, read)


def coco_truth(folder: Path) -> Kind:
    from pose_core.evaluation.keypoint_files import read_ground_truth

    _, file, trees = _coco_root(folder)

    def read() -> object:
        truth = read_ground_truth(file, 17)
        check_numbers(truth.joints, "joints")
        check_numbers(truth.box, "box")
        check_numbers(truth.area, "area", BOUND**2)
        expect((truth.area >= 0).all(), "negative area")
        expect(
            truth.image_ids.dtype == np.int64 and len(np.unique(truth.image_ids)) == len(truth.image_ids), "image ids"
        )
        expect(np.isin(truth.joints[..., 2], (0, 1, 2)).all(), "visibility")
        return truth

    return json_kind(file, trees, read)


def coco_check(folder: Path) -> Kind:
    from pose_core.layouts.check import check_dataset

    root, file, trees = _coco_root(folder)

    def read() -> object:
        text = str(check_dataset("coco", root, ["train2017"]))
        expect("Traceback" not in text, text)
        return text

    return json_kind(file, trees, read)


def _results(image_ids: Sequence[int], joints: int = 17) -> list[dict[str, Any]]:
    return [
        {
            "image_id": i,
            "category_id": 1,
            "keypoints": [v for k in range(joints) for v in (10.5 + k, 5.25 + 2 * k, 0.9)],
            "score": 0.5 + i / 10,
        }
        for i in image_ids
    ]


def coco_results(folder: Path) -> Kind:
    from pose_core.evaluation.coco import coco_keypoint_ap
    from pose_core.skeleton import get_skeleton

    truth = coco_tree(get_skeleton("coco17").joints)
    file = folder / "results.json"

    def read() -> object:
        metrics = coco_keypoint_ap(truth, file)
        check_metrics(metrics)
        return metrics

    boxed = [entry | {"bbox": [8.0, 4.0, 30.0, 40.0]} for entry in _results((1, 2))]
    return json_kind(file, [_results((1, 1, 2)), boxed], read)


def crowdpose(folder: Path) -> Kind:
    from pose_core.skeleton import get_skeleton

    write_images(folder / "images", ["000000000001.jpg", "000000000002.jpg"])
    tree = coco_tree(get_skeleton("crowdpose14").joints, crowdIndex=0.5)
    file = folder / "json" / "crowdpose_train.json"
    return json_kind(file, [tree], lambda: _read_layout(folder, "crowdpose", "train", "crowdpose14", 14))


def crowdpose_truth(folder: Path) -> Kind:
    from pose_core.evaluation.crowdpose import crowdpose_ap
    from pose_core.skeleton import get_skeleton

    tree = coco_tree(get_skeleton("crowdpose14").joints, crowdIndex=0.5)
    file = folder / "truth.json"

    def read() -> object:
        metrics = crowdpose_ap(file, _results((1, 2), 14))
        check_metrics(metrics)
        return metrics

    return json_kind(file, [tree], read)


def detections(folder: Path) -> Kind:
    from pose_core.topdown.detections import read_detections

    records = [ImageRecord(1, "a.jpg"), ImageRecord(2, "b.jpg")]
    tree = [{"image_id": i, "category_id": 1, "bbox": [1.5, 2.5, 30.0, 40.0], "score": 0.9} for i in (1, 2, 2, 3)]
    file = folder / "detections.json"

    def read() -> object:
        found = read_detections(file, records)
        for record in found:
            for person in record.persons:
                assert person.box is not None
                check_numbers([*person.box, person.score], "detection")
                expect(type(person.annotation_id) is int, "row")
        return found

    return json_kind(file, [tree], read)


def mpii_json(folder: Path) -> Kind:
    write_images(folder / "images", ["a.jpg", "b.jpg"])
    row = {
        "image": "a.jpg",
        "center": [30.0, 20.0],
        "scale": 0.2,
        "joints": [[10.0 + k, 20.0 + k] for k in range(16)],
        "joints_vis": [1] * 15 + [0],
    }
    tree = [row, row | {"image": "b.jpg"}, row]
    return json_kind(
        folder / "annot" / "train.json", [tree], lambda: _read_layout(folder, "mpii", "train", "mpii16", 16)
    )


def repeated(folder: Path) -> Kind:
    """Annotations made several times, from which OKS sigmas are estimated."""
    from pose_core.data.repeat_annotations import read_repeated
    from pose_core.skeleton import estimate_sigmas

    second = folder / "second.json"
    folder.mkdir(parents=True, exist_ok=True)
    from pose_core.skeleton import get_skeleton

    tree = coco_tree(get_skeleton("coco17").joints)
    for person in tree["annotations"]:
        person["keypoints"] = [v if v and n % 3 == 2 else v + n % 2 for n, v in enumerate(person["keypoints"])]
    for person in tree["annotations"]:
        person["keypoints"][2::3] = [2] * 17
        person.update(num_keypoints=17, iscrowd=0)
    second.write_bytes(as_json(tree))
    file = folder / "first.json"

    def read() -> object:
        joints, areas, _ = read_repeated([file, second])
        check_numbers(joints, "joints")
        check_numbers(areas, "areas", BOUND**2)
        sigmas = estimate_sigmas(joints, areas)
        check_numbers(sigmas, "sigmas")
        return sigmas

    other = json.loads(json.dumps(tree))
    for person in other["annotations"]:
        person["keypoints"][0::3] = [v + 1 for v in person["keypoints"][0::3]]
    return json_kind(file, [other], read)


def category(folder: Path) -> Kind:
    """The joint set that a file declares, written as a skeleton file and read back."""
    from pose_core.data.category_skeleton import skeleton_file
    from pose_core.skeleton import get_skeleton, read_skeleton

    file, written = folder / "own.json", folder / "skeleton.yaml"

    def read() -> object:
        written.write_text(skeleton_file(file), "utf-8")
        return read_skeleton(written)

    return json_kind(file, [coco_tree(get_skeleton("coco17").joints)], read)


def merge(folder: Path) -> Kind:
    from pose_core.layouts.merge import merge_annotations
    from pose_core.skeleton import get_skeleton

    tree = coco_tree(get_skeleton("coco17").joints)
    other = coco_tree(get_skeleton("coco17").joints)
    for image in other["images"]:
        image.update(id=image["id"] + 100, file_name=f"x{image['file_name']}")
    for person in other["annotations"]:
        person["image_id"] += 100
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "other.json").write_bytes(as_json(other))
    file = folder / "first.json"
    return json_kind(file, [tree], lambda: merge_annotations([file, folder / "other.json"], folder / "merged.json"))


def result_entries(folder: Path) -> Kind:
    from pose_core.inference.result_files import read_entries

    file = folder / "results.json"

    def read() -> object:
        found = read_entries(file)
        for identity in found:
            expect(type(identity) is int, "image id")
        return found

    return json_kind(file, [_results((1, 2, 2))], read)


def result_frames(folder: Path) -> Kind:
    """A video's poses, one line of JSON for each frame."""
    from pose_core.inference.result_files import read_frames
    from pose_core.skeleton import get_skeleton
    from pose_core.structures import Poses

    skeleton = get_skeleton("coco17")
    points = np.arange(34, dtype=np.float64).reshape(1, 17, 2)
    poses = Poses(points, np.full((1, 17), 0.5), np.array([0.9]), skeleton, size=(64, 48))
    lines = [{"frame": number, "time": number / 25} | poses.to_dict() for number in range(3)]
    file = folder / "poses.jsonl"
    folder.mkdir(parents=True, exist_ok=True)

    def dump(tree: Any) -> bytes:
        rows = tree if isinstance(tree, list) else [tree]
        return b"\n".join(as_json(row) for row in rows) + b"\n"

    def read() -> object:
        for frame, found in read_frames(file):
            expect(type(frame) is int and frame >= 0, f"frame {frame!r}")
            expect(found.keypoints.shape[1:] == (17, 2), "shape")
        return None

    return Kind(file, [dump(lines)], read, dump, [lines])


def metrics_lines(folder: Path) -> Kind:
    from pose_core.engine.metrics import compare_runs, read_metrics

    folder = folder / "run"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "metrics.jsonl"
    rows = [{"split": "train", "step": 10 * n, "epoch": n, "loss": 1 / n, "lr": 1e-3} for n in (1, 2, 3)]
    rows += [{"split": "val", "step": 30, "AP": 0.5}]

    def dump(tree: Any) -> bytes:
        return b"\n".join(as_json(row) for row in (tree if isinstance(tree, list) else [tree])) + b"\n"

    def read() -> object:
        read_metrics(file)
        return compare_runs([folder], ["loss"])

    return Kind(file, [dump(rows)], read, dump, [rows])


def valid_ids(folder: Path) -> Kind:
    from pose_advpose.config import SplitConfig
    from pose_advpose.splits import held_out_ids

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ids.txt"
    split = SplitConfig(valid_ids=str(file))
    return Kind(file, [b"1\n22\n# x\n333 # y\n"], lambda: held_out_ids(split))


def part_annotations(folder: Path) -> Kind:
    """The parts pool of pose-asda: its images and the table of their joints."""
    from pose_asda.parts import ANNOTATIONS, read_pool

    pool = folder / "pool"
    for name in ("Head", "All"):
        (pool / name).mkdir(parents=True, exist_ok=True)
        part = np.zeros((32, 24, 3), np.uint8)
        part[8:24, 6:18] = 200
        cv2.imwrite(str(pool / name / "1.png"), part)
    content = (pool / "Head" / "1.png").read_bytes()

    def read() -> object:
        from pose_asda.parts import open_part

        return open_part(pool / "Head" / "1.png")

    del ANNOTATIONS, read_pool
    return Kind(pool / "Head" / "1.png", [content], read)


# --- configurations -----------------------------------------------------------------------------------------------


def _as_yaml(tree: Any) -> bytes:
    try:
        return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    except yaml.YAMLError:
        return repr(tree).encode("utf-8", "surrogatepass")


def _yaml_kind(file: Path, texts: Sequence[bytes], read: Callable[[], object]) -> Kind:
    file.parent.mkdir(parents=True, exist_ok=True)
    return Kind(file, texts, read, _as_yaml, [yaml.safe_load(text) for text in texts])


def own_yaml(folder: Path) -> Kind:
    from pose_core.config.reading import dump_config
    from pose_core.plugins.experiments import load_config

    names = ("pose-lite/synthetic_quick", "pose-dekr/coco_dekr_w32_512", "pose-asda/synthetic_adversarial")
    texts = []
    for name in names:
        try:
            texts.append(dump_config(load_config(name)).encode())
        except PoseError:
            continue
    file = folder / "own.yaml"

    def read() -> object:
        config = load_config(file)
        check_run_folder(config.run.dir, config.run.name or config.name)
        return config

    return _yaml_kind(file, texts, read)


def check_run_folder(place: str, name: str) -> None:
    """Check that a file cannot choose where a run is written."""
    path = Path(place) / name
    expect(
        not path.is_absolute() and ".." not in path.parts and len(Path(name).parts) == 1, f"run folder {str(path)!r}"
    )
    expect(str(path).isprintable(), f"run folder {str(path)!r}")


PUBLISHED = b"""\
AUTO_RESUME: true
CUDNN: {BENCHMARK: true, DETERMINISTIC: false, ENABLED: true}
DATA_DIR: ''
GPUS: (0,1,2,3)
OUTPUT_DIR: 'output'
LOG_DIR: 'log'
WORKERS: 24
PRINT_FREQ: 100
DATASET: {COLOR_RGB: true, DATASET: 'coco', DATA_FORMAT: jpg, FLIP: true, NUM_JOINTS_HALF_BODY: 8, PROB_HALF_BODY: 0.3,
  ROOT: 'data/coco/', ROT_FACTOR: 45, SCALE_FACTOR: 0.35, TEST_SET: 'val2017', TRAIN_SET: 'train2017'}
MODEL:
  INIT_WEIGHTS: true
  NAME: pose_resnet
  NUM_JOINTS: 17
  PRETRAINED: 'models/pytorch/imagenet/resnet50-19c8e357.pth'
  TARGET_TYPE: gaussian
  IMAGE_SIZE: [192, 256]
  HEATMAP_SIZE: [48, 64]
  SIGMA: 2
  EXTRA: {NUM_DECONV_LAYERS: 3, NUM_DECONV_FILTERS: [256, 256, 256], NUM_DECONV_KERNELS: [4, 4, 4],
    FINAL_CONV_KERNEL: 1, DECONV_WITH_BIAS: false, NUM_LAYERS: 50}
LOSS: {USE_TARGET_WEIGHT: true}
TRAIN: {BATCH_SIZE_PER_GPU: 32, SHUFFLE: true, BEGIN_EPOCH: 0, END_EPOCH: 140, OPTIMIZER: adam, LR: 0.001,
  LR_FACTOR: 0.1, LR_STEP: [90, 120], WD: 0.0001, GAMMA1: 0.99, GAMMA2: 0.0, MOMENTUM: 0.9, NESTEROV: false}
TEST: {BATCH_SIZE_PER_GPU: 32, COCO_BBOX_FILE: 'data/x.json', BBOX_THRE: 1.0, IMAGE_THRE: 0.0, IN_VIS_THRE: 0.2,
  MODEL_FILE: '', NMS_THRE: 1.0, OKS_THRE: 0.9, FLIP_TEST: true, POST_PROCESS: true, SHIFT_HEATMAP: true,
  USE_GT_BBOX: true}
DEBUG: {DEBUG: true, SAVE_BATCH_IMAGES_GT: true, SAVE_BATCH_IMAGES_PRED: true, SAVE_HEATMAPS_GT: true,
  SAVE_HEATMAPS_PRED: true}
"""


def published_yaml(folder: Path) -> Kind:
    from pose_core.plugins.experiments import load_config

    file = folder / "published.yaml"

    def read() -> object:
        config = load_config(file)
        check_run_folder(config.run.dir, config.run.name or config.name)
        return config

    return _yaml_kind(file, [PUBLISHED], read)


def overrides(folder: Path) -> Kind:
    from pose_core.plugins.experiments import load_config

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "words.txt"

    def read() -> object:
        words = file.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        return load_config("pose-lite/synthetic_quick", words)

    return Kind(file, [b"train.lr=1e-3\ndata.root=x\nmodel.input_size=[64, 64]", b"run.name=a\ntrain.epochs=3"], read)


def skeleton(folder: Path) -> Kind:
    from pose_core.skeleton import read_skeleton

    tree = {
        "name": "own",
        "joints": ["nose", "left_eye", "right_eye", "neck"],
        "sigmas": [0.02, 0.03, 0.03, 0.07],
        "flip_pairs": [["left_eye", "right_eye"]],
        "limbs": [["nose", "neck"], ["nose", "left_eye"]],
        "upper_body": ["nose", "neck"],
    }
    file = folder / "skeleton.yaml"

    def read() -> object:
        found = read_skeleton(file)
        count = len(found.joints)
        expect(len(set(found.joints)) == count and all(found.joints), "joint names")
        expect(len(found.sigmas) == count, "sigmas")
        check_numbers(found.sigmas, "sigmas")
        expect(min(found.sigmas) > 0, "sigma 0")
        used = [joint for pair in found.flip_pairs for joint in pair]
        expect(len(set(used)) == len(used), "flip pairs overlap")
        expect(all(name.isprintable() for name in (found.name, *found.joints)), "control characters")
        return found

    return _yaml_kind(file, [_as_yaml(tree)], read)


# --- MATLAB and HDF5 ----------------------------------------------------------------------------------------------


def _mat(content: dict[str, Any], *, compressed: bool) -> bytes:
    from io import BytesIO

    from scipy.io import savemat

    file = BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def lsp_mat(folder: Path) -> Kind:
    write_images(folder / "images", [f"im{n:04d}.jpg" for n in (1, 2, 3, 4)])
    rng = np.random.default_rng(0)
    joints = rng.integers(1, 48, (3, 14, 4)).astype(np.float64)
    joints[2] = rng.integers(0, 2, (14, 4))
    seeds = [_mat({"joints": joints}, compressed=compressed) for compressed in (False, True)]
    return Kind(folder / "joints.mat", seeds, lambda: _read_layout(folder, "lsp", "train", "lsp14", 14))


def mpii_truth_mat(folder: Path) -> Kind:
    from pose_core.evaluation.mpii import mpii_pckh

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gt_valid.mat"
    rng = np.random.default_rng(0)
    heads = np.stack([np.full((2, 3), 10.0), np.full((2, 3), 40.0)])
    content = {
        "jnt_missing": rng.integers(0, 2, (16, 3)),
        "pos_gt_src": rng.uniform(1, 60, (16, 2, 3)),
        "headboxes_src": heads,
    }

    def read() -> object:
        metrics = mpii_pckh(np.zeros((3, 16, 2)), file)
        check_metrics(metrics)
        return metrics

    return Kind(file, [_mat(content, compressed=compressed) for compressed in (False, True)], read)


def _struct(rows: Sequence[dict[str, Any]]) -> Any:
    table = np.zeros((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for n, row in enumerate(rows):
        for name, value in row.items():
            table[0, n][name] = value
    return table


def mpii_release_mat(folder: Path) -> Kind:
    write_images(folder / "images", ["a.jpg", "b.jpg"])
    points = _struct([{"x": 10.0 + k, "y": 20.0 + k, "id": k, "is_visible": k % 2} for k in range(16)])
    rect = _struct(
        [
            {
                "x1": 5.0,
                "y1": 6.0,
                "x2": 25.0,
                "y2": 26.0,
                "annopoints": _struct([{"point": points}]),
                "scale": 1.5,
                "objpos": _struct([{"x": 30.0, "y": 20.0}]),
            }
        ]
        * 2
    )
    annolist = _struct([{"image": _struct([{"name": name}]), "annorect": rect} for name in ("a.jpg", "b.jpg")])
    content = {"RELEASE": _struct([{"annolist": annolist, "img_train": np.array([[1, 1]])}])}
    file = folder / "annot" / "mpii_human_pose_v1_u12_1.mat"
    file.parent.mkdir(parents=True, exist_ok=True)
    seeds = [_mat(content, compressed=compressed) for compressed in (False, True)]
    return Kind(file, seeds, lambda: _read_layout(folder, "mpii", "trainval", "mpii16", 16))


def pred_mat(folder: Path) -> Kind:
    from pose_core.inference.result_files import read_rows
    from pose_core.structures import Person

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pred.mat"
    people = tuple(Person(np.zeros((16, 3), np.float32), n) for n in range(3))
    records = [ImageRecord(0, "a.jpg", people)]
    points = np.random.default_rng(0).uniform(1, 60, (3, 16, 2))
    return Kind(file, [_mat({"preds": points}, compressed=False)], lambda: read_rows(file, records))


def _h5_people(path: Path, *, istrain: bool) -> bytes:
    import h5py

    with h5py.File(path, "w") as file:
        names = [b"lsp/images/im0001.jpg", b"mpii/images/a.jpg"] if istrain else [b"a.jpg", b"b.jpg"]
        file["imgname"] = np.array(names)
        file["part"] = np.random.default_rng(0).uniform(1, 60, (2, 16, 2))
        file["center"] = np.full((2, 2), 30.0)
        file.create_dataset("scale", data=np.full(2, 0.25), chunks=(2,), compression="gzip")
        if istrain:
            file["istrain"] = np.array([1, 1])
    return path.read_bytes()


def lsp_mpii_h5(folder: Path) -> Kind:
    for name in ("lsp", "mpii"):
        write_images(folder / name / "images", ["im0001.jpg", "a.jpg"])
    file = folder / "lsp_mpii.h5"
    return Kind(
        file, [_h5_people(file, istrain=True)], lambda: _read_layout(folder, "lsp_mpii", "train", "lsp_mpii16", 16)
    )


def mpii_h5(folder: Path) -> Kind:
    write_images(folder / "images", ["a.jpg", "b.jpg"])
    file = folder / "train.h5"
    return Kind(file, [_h5_people(file, istrain=False)], lambda: _read_layout(folder, "mpii", "train", "mpii16", 16))


# --- images, archives, videos -------------------------------------------------------------------------------------


def _encoded_images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found = []
    for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm", ".gif"):
        try:
            fine, content = cv2.imencode(suffix, pixels)
        except cv2.error:
            continue
        if fine:
            found.append(content.tobytes())
    found.append(cv2.imencode(".png", pixels.astype(np.uint16) << 8)[1].tobytes())
    found.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    return found


def image(folder: Path) -> Kind:
    from pose_core.data.images import decode_bgr
    from pose_core.photos import decode_photo

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "photo"

    def read() -> object:
        content = file.read_bytes()
        shown = decode_photo(content, str(file))
        stored = decode_bgr(content, str(file))
        for pixels in (shown, stored):
            expect(
                pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 and pixels.size < 10**9, "pixels"
            )
        return None

    return Kind(file, _encoded_images(), read)


def archive(folder: Path) -> Kind:
    from pose_core.reading.archives import Archive

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "train2017.zip"
    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(file, "w", method) as opened:
            for name in ("train2017/1.jpg", "train2017/2.jpg"):
                opened.writestr(
                    zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), bytes(range(256)) * 4, compress_type=method
                )
        seeds.append(file.read_bytes())

    def read() -> object:
        opened = Archive(str(file))
        return [opened.read(name) for name in ("1.jpg", "/2.jpg")]

    return Kind(file, seeds, read)


def video(folder: Path) -> Kind:
    import av

    from pose_core.inference.video import read_frames

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "video.mp4"
    seeds = []
    for suffix, codec in ((".mp4", "mpeg4"), (".avi", "mjpeg"), (".mkv", "mpeg4")):
        path = folder / f"seed{suffix}"
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number in range(4):
                pixels = np.full((32, 32, 3), 40 * number, np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                    out.mux(packet)
            for packet in stream.encode():
                out.mux(packet)
        seeds.append(path.read_bytes())

    def read() -> object:
        count = 0
        for frame in read_frames(file):
            count += 1
            expect(frame.image.ndim == 3 and frame.image.size < 10**9, "frame")
            expect(math.isfinite(frame.time), f"time {frame.time}")
            if count > 200:
                break
        return count

    return Kind(file, seeds, read)


# --- weights, caches ----------------------------------------------------------------------------------------------


def _network() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def _load(file: Path) -> object:
    import torch

    from pose_core.models.weights import load_weights

    model = _network()
    report = load_weights(model, file)
    for name, value in model.state_dict().items():
        expect(bool(torch.isfinite(value).all()), f"{name} is not finite")
    return report


def _checkpoints(suffix: str) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        import torch

        from pose_core.models.weights import save_weights

        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network, file = _network(), folder / f"weights{suffix}"
        save_weights(network, file)
        seeds = [file.read_bytes()]
        if suffix != ".safetensors":
            for content in ({"state_dict": network.state_dict(), "epoch": 3, "best": np.float64(0.5)},):
                torch.save(content, file)
                seeds.append(file.read_bytes())
                torch.save(content, file, _use_new_zipfile_serialization=False)
                seeds.append(file.read_bytes())
        return Kind(file, seeds, lambda: _load(file))

    return make


def run_checkpoint(folder: Path) -> Kind:
    """The configuration that a run's checkpoint brings along."""
    import torch

    from pose_core.config.reading import dump_config
    from pose_core.plugins.checkpoints import config_of
    from pose_core.plugins.experiments import load_config

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "best.pt"
    text = dump_config(load_config("pose-lite/synthetic_quick"))

    def dump(tree: Any) -> bytes:
        config = tree if isinstance(tree, str) else _as_yaml(tree).decode("utf-8", "replace")
        torch.save({"config": config, "weights": {"a": torch.zeros(2)}}, file)
        return file.read_bytes()

    return Kind(file, [dump(text)], lambda: config_of(file), dump, [yaml.safe_load(text)])


def rescore(folder: Path) -> Kind:
    from pose_dekr.rescore import RescoreData, read_rescore_data, save_rescore_data

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rescore.npz"
    rng = np.random.default_rng(0)
    save_rescore_data(
        RescoreData(rng.uniform(0, 60, (5, 17, 2)), rng.uniform(0, 1, (5, 17)), rng.uniform(0, 1, 5)), file
    )

    def read() -> object:
        data = read_rescore_data(file)
        for values in data:
            check_numbers(values, "rescore data")
            expect(values.dtype == np.float64, f"dtype {values.dtype}")
        expect(len({len(values) for values in data}) == 1 and data.points.shape[1:] == (17, 2), "shapes")
        expect(((data.oks >= 0) & (data.oks <= 1)).all(), "OKS")
        return data

    return Kind(file, [file.read_bytes()], read)


def people_cache(folder: Path) -> Kind:
    """The cache of people: whatever is in it, the people are those of the annotations."""
    from pose_core.topdown import person_table
    from pose_core.topdown.person_table import read_table

    root, file, trees = _coco_root(folder / "data")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(as_json(trees[0]))
    home = folder / "home"
    os.environ["POSE_HOME"] = str(home)
    person_table.WORTH = 0
    config = DataConfig(root=str(root))
    shutil.rmtree(home, ignore_errors=True)
    expected, _ = read_table(config, "train2017", 0.75)
    stored = sorted(path for path in home.rglob("*") if path.is_file())
    contents = {path: path.read_bytes() for path in stored}
    whole = b"".join(struct.pack("<I", len(content)) + content for content in contents.values())

    def read() -> object:
        data = (folder / "joined").read_bytes()
        for path in stored:
            size = struct.unpack_from("<I", data)[0] if len(data) >= 4 else 0
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[4 : 4 + size])
            data = data[4 + size :]
        found, _ = read_table(config, "train2017", 0.75)
        for name, value in found._asdict().items():
            expect(np.array_equal(value, getattr(expected, name)), f"{name} differs")
        return None

    return Kind(folder / "joined", [whole], read)


def vote_cache(folder: Path) -> Kind:
    from pose_asda.vote import read_cache, write_cache
    from pose_core.topdown.scoring import CropResults

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "cache.npz"
    rng = np.random.default_rng(0)
    numbers = np.arange(1, 4)
    columns = CropResults(
        rng.uniform(0, 60, (3, 17, 3)),
        rng.uniform(0, 60, (3, 2)),
        rng.uniform(0, 1, (3, 2)),
        rng.uniform(0, 1, 3),
        numbers,
        numbers,
    )
    points = rng.uniform(0, 60, (3, 17, 2))
    write_cache(file, "made", columns, points)

    def read() -> object:
        found = read_cache(file, "made")
        if found is not None:
            for name, value in found[0]._asdict().items():
                expect(np.array_equal(value, getattr(columns, name)), f"{name} differs")
            expect(np.array_equal(found[1], points), "points differ")
        return found

    return Kind(file, [file.read_bytes()], read)


def checkpoint_table(folder: Path) -> Kind:
    """A user's table of weights, POSE_CHECKPOINTS."""
    from pose_core.plugins.checkpoints import list_checkpoints

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "table.csv"
    os.environ["POSE_CHECKPOINTS"] = str(file)
    text = "name,method,experiment,url,sha256,license,settings\nown,lite,synthetic_quick,own.pt,,MIT,\n"
    return Kind(file, [text.encode()], lambda: list_checkpoints())


def command_line(folder: Path) -> Kind:
    """Words of a command line, one a line: an exit code and a message, whatever they are."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    from pose_core.cli import main

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "words.txt"
    commands = (
        "models lpn*",
        "show-config --cfg pose-lite/synthetic_quick train.lr=1e-3",
        "configs",
        "data check --layout coco nowhere",
        "convert-config nowhere.yaml",
        "eval --cfg synthetic_quick --weights x.pt",
        "predict x.jpg --out y",
        "weights where x",
        "export --cfg pose-lite/synthetic_quick --weights x --out y.onnx",
        "plot nowhere",
        "draw a b",
        "doctor",
    )

    def read() -> object:
        words = file.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        out, err = StringIO(), StringIO()
        at = Path.cwd()
        os.chdir(folder)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = main([word.replace("\0", "") for word in words])
        finally:
            os.chdir(at)
        expect(code in {0, 1, 2, 3}, f"exit code {code}")
        text = out.getvalue() + err.getvalue()
        expect("This is a bug" not in text and "Traceback" not in text, text[-400:])
        expect(code == 0 or "error" in text or "usage" in text, f"exit {code} without a message")
        return code

    return Kind(file, [command.replace(" ", "\n").encode() for command in commands], read)


def evaluation_record(folder: Path) -> Kind:
    import report_kinds

    return report_kinds.evaluation_record(folder)


KINDS: dict[str, Callable[[Path], Kind]] = {
    **FORMAT_KINDS,
    "archive": archive,
    "category": category,
    "checkpoint": _checkpoints(".pt"),
    "checkpoint_table": checkpoint_table,
    "coco": coco,
    "coco_both": coco_both,
    "coco_check": coco_check,
    "coco_results": coco_results,
    "coco_truth": coco_truth,
    "command_line": command_line,
    "crowdpose": crowdpose,
    "crowdpose_truth": crowdpose_truth,
    "detections": detections,
    "evaluation_record": evaluation_record,
    "image": image,
    "lsp_mat": lsp_mat,
    "lsp_mpii_h5": lsp_mpii_h5,
    "merge": merge,
    "metrics": metrics_lines,
    "mpii_h5": mpii_h5,
    "mpii_json": mpii_json,
    "mpii_release_mat": mpii_release_mat,
    "mpii_truth_mat": mpii_truth_mat,
    "overrides": overrides,
    "own_coco": own_coco,
    "own_yaml": own_yaml,
    "part": part_annotations,
    "people_cache": people_cache,
    "pred_mat": pred_mat,
    "published_yaml": published_yaml,
    "repeated": repeated,
    "regions": regions,
    "rescore": rescore,
    "result_entries": result_entries,
    "result_frames": result_frames,
    "run_checkpoint": run_checkpoint,
    "safetensors": _checkpoints(".safetensors"),
    "skeleton": skeleton,
    "valid_ids": valid_ids,
    "video": video,
    "vote_cache": vote_cache,
}
