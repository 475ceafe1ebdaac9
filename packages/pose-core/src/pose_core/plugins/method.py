"""What a method package contributes, and how the installed ones are found.

A package declares one entry point in the group ``pose.methods`` that names a :class:`Method`. Everything heavy in it is
a ``"module:attribute"`` string, so that finding the methods imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pose_core.errors import ConfigError
from pose_core.plugins.pages import Entry, builtin_experiments

if TYPE_CHECKING:
    from pose_core.config import Experiment
    from pose_core.topdown.predictor import Predictor


@dataclass(frozen=True)
class Method:
    """One method package.

    ``config`` is the schema of its experiments; or a function that chooses one by a file's content and by where that
    stands, called with both.
    ``models`` maps a network's name to its builder, called with ``num_joints=…`` and keywords; or to the builder and
    the keywords that the name stands for. ``task`` is a class
    called with the config: it says what the networks, data, objective and evaluation are (``pose_core.plugins.tasks``).
    ``predictor`` is a `Predictor` for `pose_core.Predictor.from_config` and ``predict`` to make; or a function that
    chooses one by the config.
    ``commands`` maps a verb that only this method has to its module and a line of help; the module has
    ``add_arguments(parser)`` and ``run(args) -> int``, as the shared verbs' modules have.
    """

    name: str
    package: str
    summary: str
    models: Mapping[str, str | tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    families: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Networks of any size: for the name before the number, the builder and the keyword that the number is. The
    usual numbers stand in ``models``, too, and are listed."""
    config: str = "pose_core.topdown.config:TopDownConfig"
    task: str = "pose_core.topdown.task:TopDownTask"
    predictor: str = "pose_core.topdown.predictor:Predictor"
    commands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    switches: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Flags of its ``train``: for ``--flag`` the override that it stands for, ``key=value``, and a line of help."""
    quickstart: str | None = None
    """The experiment on synthetic people that `pose quickstart` runs, where this method has one for it."""
    stages: str | None = None
    """What `pose benchmark --stages` measures of this method beside its networks: a function of a device that yields
    `pose_core.benchmark.stages.Stage`."""

    @property
    def script(self) -> str:
        """Name of the command, ``pose-lite``."""
        return self.package.replace("_", "-")

    def experiments(self) -> dict[str, Entry]:
        """Return the built-in experiments by name, in the order of the pages they stand on."""
        return builtin_experiments(self.package)


def resolve(reference: str) -> Any:
    """The object that ``"module:attribute"`` names."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def predictor_class(method: Method, config: Experiment) -> type[Predictor]:
    """What predicts with an experiment of a method."""
    found = resolve(method.predictor)
    kind: type[Predictor] = found if isinstance(found, type) else found(config)
    return kind


@cache
def installed_methods() -> dict[str, Method]:
    """Installed methods by name."""
    return {point.name: point.load() for point in sorted(entry_points(group="pose.methods"), key=lambda p: p.name)}


def get_method(name: str) -> Method:
    """An installed method, by ``lite`` or ``pose-lite``."""
    methods = installed_methods()
    short = name.removeprefix("pose-")
    if short in methods:
        return methods[short]
    have = ", ".join(methods) or "none"
    raise ConfigError(f"method {name!r} is not installed (installed: {have}); try: pip install pose-{short}")


def find_experiment(name: str) -> Entry:
    """Return a built-in experiment, ``coco_lpn50_256x192`` or ``pose-lite/coco_lpn50_256x192``."""
    package, _, stem = name.rpartition("/")
    methods = [get_method(package)] if package else list(installed_methods().values())
    found = [(m, m.experiments()[stem]) for m in methods if stem in m.experiments()]
    if len(found) == 1:
        return found[0][1]
    if found:
        names = ", ".join(f"{m.script}/{stem}" for m, _ in found)
        raise ConfigError(f"several packages have a config {stem!r}: say which, {names}")
    known = [f"{m.script}/{key}" if package else key for m in methods for key in m.experiments()]
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise ConfigError(f"no config named {name!r}, and no such file{hint} `pose configs` lists the built-in ones")
