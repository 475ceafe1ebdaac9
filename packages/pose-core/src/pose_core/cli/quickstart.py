"""Train, evaluate and draw predictions on this machine in a few minutes, without downloads.

Draws a data set of synthetic people, measures how fast this machine trains, trains a small network for as long as
--minutes allows, evaluates COCO AP on held-out images, and writes predictions.jpg, training.png and the run's folder.
Needs matplotlib.

  %(prog)s
  %(prog)s --minutes 8 --out runs/longer
  %(prog)s --resume            continue where Ctrl-C stopped it
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pose_core.plurals import counted

if TYPE_CHECKING:
    from pose_core.config import Experiment
    from pose_core.engine.budget import Speed
    from pose_core.engine.trainer import Result
    from pose_core.plugins.method import Method

MARKER = "quickstart.json"
"""The file that a quickstart leaves in its folder: no other folder is ever written to."""
MAX_MARKER = 1 << 20
"""Largest size of that file in bytes; it has about 1000."""
KEPT = ("minutes", "images", "val_images", "seed", "overrides", "device")
"""The arguments that a stopped quickstart continues with."""
NUMBERS = ("minutes", "images", "val_images", "seed", "training_seconds", "threads", "trained_seconds")
SIZE = (256, 192)
"""Size of the images, (width, height)."""
DRAWING_SHARE = 0.07
"""The share of the time for drawing images: more images make a better network, but so do more steps."""
SAMPLES = 20
"""Images that are drawn and shown first, and show how fast this machine draws."""
MIN_IMAGES, MAX_IMAGES = 200, 20_000
MAX_PROCESSES = 4
PROBE_SHARE, MAX_PROBE = 0.05, 12.0
"""The time for measuring the speed: a share of the whole, and at most so many seconds."""
MIN_TRAINING_SHARE = 0.15
OVERHEAD = 1.05
"""The time of a step in a training over the time of the bare step: averaging weights, writing logs."""
ENDING = 9.0
"""Seconds for scoring and drawing, beside the network's own time."""


class Plan(NamedTuple):
    """What a stopped quickstart needs to continue."""

    training_seconds: float | None
    """The time for the training; None if the user has set its length."""
    threads: int
    val_images: int
    trained_seconds: float = 0.0
    """The time that was spent on training before it was stopped."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``quickstart``."""
    parser.add_argument("--out", default="runs/quickstart", metavar="DIR", help="folder of the run (runs/quickstart)")
    parser.add_argument("--minutes", type=float, default=4.0, metavar="N", help="time for everything, in minutes (4)")
    parser.add_argument("--images", type=int, metavar="N", help="training images (as many as the time allows)")
    parser.add_argument("--val-images", type=int, default=200, metavar="N", help="held-out images (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of data and training (0)")
    parser.add_argument("--resume", action="store_true", help="continue a stopped quickstart, with its settings")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier quickstart in the same folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, for example train.lr=0.002")
    parser.add_argument("--device", metavar="NAME", help="cpu or cuda (a GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Draw the data, plan, train, evaluate, draw the results, and say what to try next."""
    from pose_core.drawing.figures import require_matplotlib
    from pose_core.errors import ConfigError
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.method import installed_methods

    started = time.monotonic()
    require_matplotlib()
    method = next((m for m in installed_methods().values() if m.quickstart), None)
    if method is None:
        from pose_core.installation import package_hint

        raise ConfigError(f"the quickstart needs a method package: {package_hint('pose-lite')}")
    if not args.minutes > 0:
        raise ConfigError(f"--minutes {args.minutes:g} must be more than 0")
    if not args.resume:  # a mistyped setting must not cost an earlier quickstart
        load_config(f"{method.script}/{method.quickstart}", args.overrides)
    folder = Path(args.out)
    stopped = claim(folder, resume=args.resume, overwrite=args.overwrite)
    if stopped is not None:
        if args.overrides:
            raise ConfigError(
                f"--resume uses the settings of the quickstart in {folder}: leave out {args.overrides[0]}"
            )
        vars(args).update({name: stopped["arguments"][name] for name in KEPT})
    resuming = stopped is not None and "threads" in stopped
    if not resuming:
        _begin(args, folder)
    try:
        if resuming:
            config, plan = _stopped(folder)
        else:
            config, plan = _prepare(args, method, folder, started)
        result, plan = _train(config, plan, folder, resume=resuming)
    except KeyboardInterrupt:
        result = None
    if result is None or result.interrupted or result.evaluation is None:
        print(f"stopped; this continues it: {_command(args)} --resume")
        return 130
    _draw(config, folder, result, plan)
    seconds = time.monotonic() - started
    print(
        f"\nCOCO AP {result.evaluation.value:.3f} on {counted(plan.val_images, 'held-out synthetic image')}, "
        f"{seconds:.0f} s in all\n"
        f"\nresults  {folder / 'predictions.jpg'}   ground truth and predictions on held-out images"
        f"\n         {folder / 'training.png'}      the course of the training"
        f"\n         {folder}{os.sep}   the run: config, log, metrics, checkpoints, results\n"
    )
    print(suggestions(method.script, folder))
    return 0


def claim(folder: Path, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Refuse a folder that no quickstart has made, unless it is empty; with ``resume``, return what is noted in it."""
    from pose_core.errors import ConfigError

    is_ours = (folder / MARKER).exists()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: name a folder with --out")
    if not is_ours and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} holds files that no quickstart has made: choose another folder with --out")
    if resume and not is_ours:
        raise ConfigError(f"{folder} holds no quickstart to continue: start one without --resume")
    if is_ours and not (resume or overwrite):
        raise ConfigError(
            f"{folder} already holds a quickstart: continue it with --resume, replace it with --overwrite, "
            "or choose another folder with --out"
        )
    return _noted(folder) if resume else None


def _noted(folder: Path) -> dict[str, Any]:
    """Return what a quickstart has noted in its folder."""
    from pose_core.errors import ConfigError
    from pose_core.reading.regular import read_regular

    file = folder / MARKER
    text = read_regular(file, "the quickstart's file", limit=MAX_MARKER, error=ConfigError)
    try:
        content: dict[str, Any] = json.loads(text)
        arguments = content["arguments"]
        words = [*arguments["overrides"], *content.get("overrides", []), content.get("experiment", "")]
        numbers = [value for key, value in {**arguments, **content}.items() if key in NUMBERS]
        sound = (
            all(isinstance(word, str) for word in words)
            and all(value is None or isinstance(value, int | float) for value in numbers)
            and isinstance(arguments["device"], str | None)
            and arguments.keys() >= set(KEPT)
        )
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise ConfigError(f"{file} is damaged: start over with --overwrite")
    return content


def _begin(args: argparse.Namespace, folder: Path) -> None:
    """Mark the folder as this quickstart's, with its arguments, and remove the data of an earlier one."""
    from pose_core.files import write_json

    arguments = {name: getattr(args, name) for name in KEPT}
    write_json(folder / MARKER, {"written_by": "pose quickstart", "arguments": arguments})
    shutil.rmtree(folder / "data", ignore_errors=True)


def _stopped(folder: Path) -> tuple[Experiment, Plan]:
    """Return the config and the plan of a quickstart that was stopped in its training."""
    from pose_core.plugins.experiments import load_config

    content = _noted(folder)
    config = load_config(content.pop("experiment"), content.pop("overrides"))
    return config, Plan(**{key: value for key, value in content.items() if key in Plan._fields})


def _prepare(args: argparse.Namespace, method: Method, folder: Path, started: float) -> tuple[Experiment, Plan]:
    """Draw the data, measure the speed, and return the config and the plan."""
    import torch

    from pose_core.engine.budget import describe, fastest_settings
    from pose_core.engine.feeding import samples_per_step
    from pose_core.files import write_json
    from pose_core.plugins.experiments import load_config
    from pose_core.plugins.tasks import build_task

    seconds = args.minutes * 60
    own_length = any(word.startswith(("train.epochs=", "train.iterations=")) for word in args.overrides)
    if own_length:
        _say("1/4  drawing synthetic people; the length of the training is set, so --minutes does not apply")
    else:
        _say(f"1/4  drawing synthetic people; all four steps take about {counted(args.minutes, 'minute')}")
    name = f"{method.script}/{method.quickstart}"
    batch_size = samples_per_step(load_config(name, args.overrides), 1)
    images = _draw_people(args, folder, seconds, started, batch_size)
    common = [
        f"data.root={folder / 'data'}",
        f"run.dir={folder.parent}",
        f"run.name={folder.name}",
        f"run.seed={args.seed}",
        "train.validate_every=0",
        "train.workers=0",
        "test.workers=0",
        *([f"run.device={args.device}"] if args.device else []),
    ]
    _say("2/4  measuring how fast this machine trains")
    speed = fastest_settings(
        lambda settings: build_task(load_config(name, [*common, *_words(settings), *args.overrides])),
        seconds=min(PROBE_SHARE * seconds, MAX_PROBE),
        say=lambda text: _say(f"   {text}"),
    )
    length: dict[str, str] = {}
    training = None
    if not own_length:
        left = seconds - (time.monotonic() - started)
        training = max(left - ending_seconds(speed, args.val_images), MIN_TRAINING_SHARE * seconds)
        length = training_length(speed, training, batch_size, images)
    chosen = {**speed.settings, **length, "train.workers": str(speed.workers), "test.workers": str(speed.workers)}
    overrides = [*common, *_words(chosen), *args.overrides]
    config = load_config(name, overrides)
    _say(f"     chosen: {describe(speed.settings, speed.threads)}")
    plan = Plan(training, torch.get_num_threads(), args.val_images)
    noted = json.loads((folder / MARKER).read_text())
    write_json(folder / MARKER, {**noted, "experiment": name, "overrides": overrides, **plan._asdict()}, indent=1)
    return config, plan


def _words(settings: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def _draw_people(args: argparse.Namespace, folder: Path, seconds: float, started: float, batch_size: int) -> int:
    """Draw the data set, and before it a sheet of its first images; return the number of training images.

    Without ``--images`` it is what a share of the time allows, in whole batches: the statistics of a batch of few
    samples would disturb the last step of an epoch.
    """
    import cv2
    import numpy as np

    from pose_core.inference.sheets import annotation_sheet
    from pose_core.skeleton import SKELETONS
    from pose_core.synthetic import write_dataset
    from pose_core.synthetic.drawing import Recipe, draw_samples
    from pose_core.verbosity import is_quiet

    samples, rate = draw_samples(Recipe(args.seed, SIZE, (1, 1)), SAMPLES)
    pictures = []
    for scene in samples:
        image = cv2.cvtColor(cv2.imdecode(np.frombuffer(scene.jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        pictures.append((image, np.stack([person.joints("coco17") for person in scene.people])))
    sheet = folder / "data.jpg"
    annotation_sheet(pictures, SKELETONS["coco17"], "pose quickstart: the first images to learn from", sheet)
    _say(f"     the first of them: {sheet}  ({time.monotonic() - started:.0f} s)")
    processes = min(os.cpu_count() or 1, MAX_PROCESSES)
    fitting = min(max(round(DRAWING_SHARE * seconds * rate * processes), MIN_IMAGES), MAX_IMAGES)
    images = max(fitting // batch_size, 1) * batch_size if args.images is None else int(args.images)
    write_dataset(
        folder / "data", layout="coco", images=images, val_images=args.val_images, people=(1, 1), size=SIZE,
        seed=args.seed, workers=processes, progress=not is_quiet(),
    )  # fmt: skip
    return images


def training_length(speed: Speed, seconds: float, batch_size: int, images: int) -> dict[str, str]:
    """Return the settings of a training's length that take ``seconds`` at a speed."""
    steps = max(int(seconds / (speed.seconds_per_sample * OVERHEAD * batch_size)), 1)
    epochs = -(-steps * batch_size // images)
    return {
        "train.iterations": str(steps),
        "train.epochs": str(epochs + 1),
        "train.log_every": str(max(steps // 20, 1)),
    }


def ending_seconds(speed: Speed, images: int) -> float:
    """Return the time for evaluation and drawing: two forward passes, a third of a training step each, for an image."""
    return ENDING + images * (2 / 3 / speed.samples_per_second + speed.loading)


def _train(config: Experiment, plan: Plan, folder: Path, *, resume: bool) -> tuple[Result, Plan]:
    """Train and evaluate, and return the plan with the time that it took in all."""
    import torch
    from tqdm import tqdm

    from pose_core.engine.budget import Pace, remaining_share
    from pose_core.engine.trainer import train
    from pose_core.files import write_json
    from pose_core.plugins.tasks import build_task

    torch.set_num_threads(plan.threads)
    about, pace = "", None
    if plan.training_seconds is not None:
        seconds = plan.training_seconds * (remaining_share(folder / "last.pt") if resume else 1.0)
        about, pace = f", about {seconds:.0f} s", Pace(seconds, tqdm.write)
    _say(f"3/4  training {config.model.name} and evaluating it on the held-out images{about}")
    before = time.monotonic()
    resume = resume and (folder / "last.pt").exists()
    result = train(build_task(config), resume=resume, overwrite=not resume, folder=folder, pace=pace)
    plan = plan._replace(trained_seconds=plan.trained_seconds + time.monotonic() - before)
    content = json.loads((folder / MARKER).read_text())
    write_json(folder / MARKER, {**content, **plan._asdict()}, indent=1)
    return result, plan


def _draw(config: Experiment, folder: Path, result: Result, plan: Plan) -> None:
    """Draw the sheet of predictions and the course of the training."""
    from pose_core.engine.feeding import samples_per_step
    from pose_core.engine.metrics import plot_metrics
    from pose_core.inference.sheets import prediction_sheet
    from pose_core.plugins.predictors import Predictor

    _say("4/4  drawing the predictions and the course of the training")
    assert result.evaluation is not None
    width, height = config.model.input_size
    lines = [
        f"COCO AP {result.evaluation.value:.3f} on {counted(plan.val_images, 'held-out image')} of synthetic people",
        f"{config.model.name} at {height}x{width}, {result.step * samples_per_step(config, 1):,} samples"
        f" in {counted(round(plan.trained_seconds / 60, 1), 'minute')} of training, from random weights",
    ]
    predictor = Predictor.from_config(config, weights=folder / "best.pt", device=config.run.device)
    prediction_sheet(predictor, config, folder / "predictions.jpg", title="pose quickstart", lines=lines)
    plot_metrics(folder / "metrics.jsonl", folder / "training.png")


def suggestions(script: str, folder: Path) -> str:
    """Return three commands that show more of the trained network, as this reader can type them."""
    from pose_core.installation import shell_command

    command, weights = shell_command(script), folder / "best.pt"
    images = folder / "data" / "images" / "val2017"
    tries: Sequence[tuple[str, str]] = (
        (
            f"{command} predict --weights {weights} {images} --boxes gt --out {folder / 'predicted'}",
            "draws all held-out images, each person in the annotated box",
        ),
        (
            f"{command} eval --weights {weights} test.flip=false",
            "the score without averaging over the mirrored image: what that is worth",
        ),
        (
            f"{shell_command('pose')} predict photo.jpg",
            "a photo of yours, with weights that were trained on photographs (this network has only seen drawings)",
        ),
    )
    return "\n".join(["three things to try next", *(f"  {words}\n      {about}" for words, about in tries)])


def _command(args: argparse.Namespace) -> str:
    """Return the command that was given, without its settings."""
    import shlex

    from pose_core.installation import shell_command

    where = "" if args.out == "runs/quickstart" else f" --out {shlex.quote(args.out)}"
    return f"{shell_command('pose')} quickstart{where}"


def _say(text: str) -> None:
    """Print a line about what is being done, unless quiet."""
    from pose_core.verbosity import is_quiet

    if not is_quiet():
        print(text)
