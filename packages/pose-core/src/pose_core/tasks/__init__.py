"""What a kind of method gives the engine; each method package names its own or one of these."""

from pose_core.config import Config
from pose_core.engine.objective import Task
from pose_core.method import get_method, resolve


def build_task(config: Config) -> Task:
    """The task of a config's method."""
    task: Task = resolve(get_method(config.method).task)(config)
    return task


__all__ = ["build_task"]
