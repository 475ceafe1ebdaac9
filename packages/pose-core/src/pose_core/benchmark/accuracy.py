"""Accuracy of finished runs, all on one named data set, so that the rows of a table can be compared."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

from pose_core.benchmark.networks import Score, Subject
from pose_core.bottomup.config import BottomUpConfig
from pose_core.config import Experiment
from pose_core.engine.distributed import ProcessContext
from pose_core.engine.metrics import run_names
from pose_core.errors import ConfigError, DataError, PoseError
from pose_core.folders import cache_home, find_data_root, make_cache
from pose_core.layouts.reader import read_dataset
from pose_core.layouts.table import LAYOUTS
from pose_core.plugins.experiments import load_config
from pose_core.plugins.tasks import evaluate_checkpoint
from pose_core.skeleton import get_skeleton
from pose_core.synthetic import write_dataset
from pose_core.synthetic.layouts import DRAWINGS
from pose_core.verbosity import no_bar

SYNTHETIC = "synthetic"
DRAWN = [name for name, drawing in DRAWINGS.items() if not drawing.alone]
"""Layouts of the synthetic data set, with the same images in each. LSP's images would differ: one person in each."""
IMAGES, PEOPLE, SIZE = 100, (1, 3), (640, 480)
SEED = 90_210
"""Far from the usual seeds of training data (default 0), so that no network was trained on these images."""


def subjects_of_runs(folders: Sequence[str | Path], on: str, device: torch.device, results: Path) -> list[Subject]:
    """Return the networks of finished runs, with the score of each one's best weights on the data set ``on``.

    ``on`` is ``synthetic`` or ``LAYOUT:ROOT[:SPLIT]``. Predictions are written below ``results``.
    """
    where = None if on == SYNTHETIC else parse_place(on)
    paths = [Path(folder) for folder in folders]
    # Check all runs before the first is evaluated.
    configs = [put_on(read_run(path), path, where) for path in paths]
    subjects = []
    named = list(zip(run_names(paths), paths, configs, strict=True))
    for name, path, config in tqdm(named, "runs", unit="run", leave=False, disable=no_bar()):
        score = score_run(config, path / "best.pt", device, results / name, on)
        model, joints = config.model, get_skeleton(config.data.skeleton).num_joints
        subjects.append(Subject(model.name, config.method, model.input_size, joints, model.options, name, score))
    return subjects


def parse_place(on: str) -> tuple[str, str, str]:
    """Split ``LAYOUT:ROOT[:SPLIT]``; the default split is that of the layout's published results."""
    layout, _, root = on.partition(":")
    if layout not in LAYOUTS or not root:
        raise ConfigError(
            f"--on {on!r} names no data set: give {SYNTHETIC}, or LAYOUT:ROOT[:SPLIT] with LAYOUT one of "
            f"{', '.join(LAYOUTS)}, for example coco:/data/coco:val2017"
        )
    split = LAYOUTS[layout].val
    if ":" in root and not find_data_root(root).exists():  # a folder's name may have a colon, too
        root, _, split = root.rpartition(":")
    if not find_data_root(root).is_dir():
        raise DataError(
            f"--on {on}: the folder {root} does not exist, neither in the current directory nor below POSE_DATA"
        )
    return layout, root, split


def read_run(folder: Path) -> Experiment:
    """Read the configuration of a run that has weights to evaluate."""
    for file in (folder / "config.yaml", folder / "best.pt"):
        if not file.is_file():
            raise ConfigError(
                f"{file} does not exist: --runs takes folders of trained runs, such as runs/NAME, in which training "
                "wrote config.yaml and, at the first evaluation, best.pt; finish a run that was stopped with --resume"
            )
    return load_config(folder / "config.yaml", [f"run.dir={json.dumps(str(folder.parent))}"])


def put_on(config: Experiment, run: Path, where: tuple[str, str, str] | None) -> Experiment:
    """Return a run's configuration with the named data set (None: synthetic people) in place of its own.

    A run that was trained in the same layout keeps its joint set, which may be a user's own.
    """
    joints = get_skeleton(config.data.skeleton).joints
    layouts = DRAWN if where is None else (where[0],)
    have = {layout: LAYOUTS[layout].skeleton for layout in layouts}
    if where is not None and config.data.layout in have:
        have[config.data.layout] = config.data.skeleton
    layout = next((name for name, skeleton in have.items() if get_skeleton(skeleton).joints == joints), None)
    if layout is None:
        raise ConfigError(
            f"{run / 'config.yaml'}: data.skeleton={config.data.skeleton} has other joints than the data set "
            f"({', '.join(have.values())}); remove {run} from --runs, or name a data set with its joints: "
            f"--on {config.data.layout}:ROOT"
        )
    root, split = (str(synthetic_people(layout)), DRAWINGS[layout].splits[1]) if where is None else where[1:]
    data = {"layout": layout, "root": root, "val": split, "skeleton": have[layout]}
    return config.on_data(config.data.model_copy(update=data))


def synthetic_people(layout: str) -> Path:
    """Return the folder of the synthetic data set, which is drawn once, completely or not at all, below POSE_HOME."""
    (low, high), (width, height) = PEOPLE, SIZE
    name = f"synthetic_{layout}_{IMAGES}x{width}x{height}_people{low}-{high}_seed{SEED}_pose-core{version('pose-core')}"
    folder = cache_home() / "benchmark" / name
    if folder.exists():
        return folder
    try:
        make_cache("benchmark")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".drawing") as started:
            drawn = Path(started) / layout
            # Only COCO has crowds; without them the images are the same in every layout.
            write_dataset(
                drawn,
                layout,
                IMAGES,
                PEOPLE,
                SEED,
                size=SIZE,
                split=DRAWINGS[layout].splits[1],
                crowds=False,
                progress=True,
            )
            drawn.rename(folder)
    except OSError as error:
        if not folder.exists():  # otherwise another process was first
            raise PoseError(f"cannot write {folder}: {error.strerror}; set POSE_HOME to a folder for caches") from None
    return folder


def score_run(config: Experiment, weights: Path, device: torch.device, folder: Path, on: str) -> Score:
    """Return the score that ``pose eval`` gives a checkpoint, and the data it was evaluated on."""
    root = find_data_root(config.data.root).resolve()
    # No path: results of two machines are comparable if this text is equal.
    data = (
        f"synthetic people of pose-core {version('pose-core')}" if on == SYNTHETIC else f"{root.name} {config.data.val}"
    )
    dataset = read_dataset(config.data, config.data.val)
    if not (dataset.has_annotations and dataset.num_persons):
        raise DataError(f"{dataset.annotation_file} has no annotated people; name another split with --on")
    evaluation = evaluate_checkpoint(config, weights, ProcessContext(0, 1, device), folder)
    # Given boxes make the task easier than whole images: the two are different measures.
    given = "whole images" if isinstance(config, BottomUpConfig) else "given boxes"
    return Score(
        evaluation.value,
        f"{evaluation.name}, {given}",
        f"{data}, {dataset.layout.name} layout: {len(dataset.records)} images, {dataset.num_persons} people",
        next((line for line in evaluation.report.splitlines() if line.startswith("boxes=")), ""),
    )
