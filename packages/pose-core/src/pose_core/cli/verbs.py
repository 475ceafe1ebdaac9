"""The shared commands: for each a line of help and a function that imports its module.

Listing them imports nothing; a command's module is imported when the command is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from pose_core.plugins.method import Command, CommandModule


@dataclass(frozen=True)
class Verb(Command):
    """A command of `pose`, and with ``in_methods`` of every method's script."""

    in_methods: bool = False


def _quickstart() -> CommandModule:
    from pose_core.cli import quickstart

    return quickstart


def _train() -> CommandModule:
    from pose_core.cli import train

    return train


def _evaluate() -> CommandModule:
    from pose_core.cli import evaluate

    return evaluate


def _predict() -> CommandModule:
    from pose_core.cli import predict

    return predict


def _draw() -> CommandModule:
    from pose_core.cli import draw

    return draw


def _weights() -> CommandModule:
    from pose_core.cli import weights

    return weights


def _export() -> CommandModule:
    from pose_core.cli import export

    return export


def _overfit() -> CommandModule:
    from pose_core.cli import overfit

    return overfit


def _configs() -> CommandModule:
    from pose_core.cli import configs

    return configs


def _show_config() -> CommandModule:
    from pose_core.cli import show_config

    return show_config


def _settings() -> CommandModule:
    from pose_core.cli import settings

    return settings


def _completion() -> CommandModule:
    from pose_core.cli import completion

    return completion


def _convert_config() -> CommandModule:
    from pose_core.cli import convert_config

    return convert_config


def _models() -> CommandModule:
    from pose_core.cli import models

    return models


def _benchmark() -> CommandModule:
    from pose_core.cli import benchmark

    return benchmark


def _data() -> CommandModule:
    from pose_core.cli import data

    return data


def _doctor() -> CommandModule:
    from pose_core.cli import doctor

    return doctor


def _report() -> CommandModule:
    from pose_core.cli import report

    return report


def _plot() -> CommandModule:
    from pose_core.cli import plot

    return plot


VERBS = {
    "quickstart": Verb("train, evaluate and draw on synthetic people, in a few minutes", _quickstart),
    "train": Verb("train a network", _train, in_methods=True),
    "eval": Verb("evaluate a checkpoint on a benchmark", _evaluate, in_methods=True),
    "predict": Verb("find poses in images and videos and draw them", _predict, in_methods=True),
    "draw": Verb("draw the predictions of a results file on their images", _draw, in_methods=True),
    "report": Verb("explain a run's score on one HTML page, or compare runs", _report, in_methods=True),
    "weights": Verb("list | get | where | check: trained weights by name", _weights, in_methods=True),
    "export": Verb("write a network as an ONNX file", _export, in_methods=True),
    "overfit": Verb("train on eight images: the smoke test for your own data", _overfit, in_methods=True),
    "configs": Verb("list the built-in experiments", _configs, in_methods=True),
    "show-config": Verb("print an experiment as one complete file", _show_config, in_methods=True),
    "settings": Verb("list every setting with its default and its meaning", _settings, in_methods=True),
    "convert-config": Verb("convert a YAML config from the original repositories", _convert_config),
    "models": Verb("list networks with their size and cost", _models),
    "benchmark": Verb("measure networks and the stages around them on this machine", _benchmark),
    "data": Verb(
        "synth | check | browse | stats | split | worst | merge | …: make, inspect and correct data sets", _data
    ),
    "doctor": Verb("print the installed packages and the devices, and what is missing", _doctor),
    "completion": Verb("print a script that completes commands, settings and names in your shell", _completion),
}
PLOT = Verb("draw the training curves of several runs in one plot", _plot)
"""The command of methods that define ``curves``."""
