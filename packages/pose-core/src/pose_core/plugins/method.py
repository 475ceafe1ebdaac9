"""The interface of a method package, and the list of installed ones.

A package declares one entry point in the group ``pose.methods`` that names its ``METHOD``, an instance of a subclass
of `Method`. Listing the methods loads no torch: every hook imports what it needs when called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pose_core.errors import ConfigError
from pose_core.installation import package_hint
from pose_core.plugins.pages import Entry, builtin_experiments
from pose_core.reading.printable import shown

if TYPE_CHECKING:
    import argparse

    import torch
    from torch import Tensor, nn

    from pose_core.config import Experiment
    from pose_core.engine.interfaces import BuildNetwork, PosePredictor, Task
    from pose_core.models.published import Content
    from pose_core.plugins.convert.source import Converted, Source
    from pose_core.skeleton import Skeleton

C = TypeVar("C", bound="Experiment")
NetworkBuilder = Callable[..., "nn.Module"]
"""Builds a network with random weights, called with ``num_joints=…`` and the options of ``model.options``."""


class CommandModule(Protocol):
    """A module that implements one command; its docstring is the command's help."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""


@dataclass(frozen=True)
class Command:
    """A command, a line of help about it, and a function that imports its module."""

    summary: str
    load: Callable[[], CommandModule]


@dataclass(frozen=True)
class Switch:
    """A flag of ``train``: the override ``key=value`` that it stands for, and a line of help."""

    override: str
    summary: str


@dataclass(frozen=True)
class Microbenchmark:
    """One stage that `pose benchmark --stages` measures: ``run`` handles ``count`` of ``unit``."""

    name: str
    unit: str
    count: int
    run: Callable[[], object]


class Method:
    """A method: the package's subclass overrides what differs from a plain top-down method."""

    name: ClassVar[str]
    """Name in configs and entry points: the package's without its prefix."""
    package: ClassVar[str]
    """The importable package."""
    summary: ClassVar[str]
    networks: ClassVar[tuple[str, ...]] = ()
    """Names of its networks, as `pose models` lists them."""
    switches: ClassVar[Mapping[str, Switch]] = {}
    """Flags of its ``train``, by name without the dashes."""
    curves: ClassVar[Mapping[str, str]] = {}
    """Keys of metrics.jsonl that its ``plot`` draws, each with a title; without any it has no ``plot``."""
    published_names: ClassVar[tuple[str, ...]] = ()
    """Values of MODEL.NAME in the published files that it converts."""
    quickstart: ClassVar[str | None] = None
    """The experiment on synthetic people that `pose quickstart` runs; None if there is none."""
    example: ClassVar[str] = ""
    """The experiment that examples in help texts name."""

    def experiments(self) -> dict[str, Entry]:
        """Return the built-in experiments by name, in the order of their pages."""
        return builtin_experiments(self.package)

    @property
    def script(self) -> str:
        """The name of its command: the package's with a dash."""
        return self.package.replace("_", "-")

    def network_builder(self, name: str) -> NetworkBuilder | None:
        """Return the builder of one of its networks; None for any other name."""
        return None

    def schema(self, content: Mapping[str, Any], where: str) -> type[Experiment]:
        """Return the schema of its experiments; ``content`` is a file's content, ``where`` its name in messages."""
        from pose_core.topdown.config import TopDownConfig

        return TopDownConfig

    def task(self, config: Experiment, build: BuildNetwork) -> Task:
        """Return the task that trains and evaluates an experiment; ``build`` builds its pose network."""
        from pose_core.topdown.config import TopDownConfig
        from pose_core.topdown.task import TopDownTask

        return TopDownTask(expect(config, TopDownConfig), build)

    def predictor(
        self, network: nn.Module, config: Experiment, skeleton: Skeleton, device: torch.device
    ) -> PosePredictor:
        """Return the predictor of an experiment's trained network."""
        from pose_core.topdown.config import TopDownConfig
        from pose_core.topdown.predictor import TopDownPredictor

        return TopDownPredictor(network, expect(config, TopDownConfig), skeleton, device)

    def commands(self) -> Mapping[str, Command]:
        """Return the commands that only this method has."""
        return {}

    def microbenchmarks(self, device: torch.device) -> Iterable[Microbenchmark]:
        """Return its stages that `pose benchmark --stages` measures in addition to the shared ones."""
        return ()

    def published_content(
        self, config: Experiment, state: Mapping[str, Tensor], companions: Mapping[str, Mapping[str, Tensor]]
    ) -> Content:
        """Return the content of a checkpoint that the published test script loads: by default the state dict alone.

        ``state`` is the pose network's in the published names; ``companions`` are those of the networks trained with
        it, by their name in the run, in our names.
        """
        return state

    def convert(self, source: Source) -> Converted | None:
        """Convert a published configuration to one of its own; return None for another method's file."""
        return None

    def convert_plain(self, source: Source) -> Converted | None:
        """Convert a published configuration that another method's `convert` takes first, unless this one is asked for.

        It is of a plain network that several repositories have; return None for any other.
        """
        return None


def expect(config: Experiment, schema: type[C]) -> C:
    """Return ``config`` if it has ``schema``, else raise: a method's hooks take experiments of its own schemas only."""
    if not isinstance(config, schema):
        raise ConfigError(
            f"experiment {config.name!r} of method {config.method!r} is a {type(config).__name__}; "
            f"expected a {schema.__name__}"
        )
    return config


def package_file(package: str, name: str) -> Path | None:
    """Return a data file of a package; None if the package has no such file."""
    if find_spec(package) is None:  # a method that was made in code
        return None
    file = Path(str(files(package)), name)
    return file if file.is_file() else None


@cache
def installed_methods() -> dict[str, Method]:
    """Return the installed methods by name."""
    return {point.name: point.load() for point in sorted(entry_points(group="pose.methods"), key=lambda p: p.name)}


def get_method(name: str) -> Method:
    """Return an installed method by its name or its command's name."""
    methods = installed_methods()
    short = name.removeprefix("pose-")
    if short in methods:
        return methods[short]
    have = ", ".join(methods) or "none"
    hint = f"; try: {package_hint(f'pose-{short}')}" if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", short) else ""
    raise ConfigError(f"method {shown(name)} is not installed (installed: {have}){hint}")
