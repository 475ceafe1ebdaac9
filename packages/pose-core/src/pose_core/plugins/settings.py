"""The settings of the installed methods: every key with its default and its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pose_core.config import Experiment
from pose_core.config.explain import Setting, settings_of
from pose_core.config.reading import nearest_key
from pose_core.plugins.method import Method, get_method, installed_methods


@dataclass(frozen=True)
class Documented:
    """A setting, and the scripts of the methods that have it with this default and meaning."""

    setting: Setting
    scripts: tuple[str, ...]


def schemas(method: Method) -> list[type[Experiment]]:
    """Return the schemas of a method's built-in experiments, each once."""
    contents = [(name, entry.content()) for name, entry in method.experiments().items()]
    return list(dict.fromkeys(method.schema(content, name) for name, content in contents))


def documented_settings(method: str | None = None) -> list[Documented]:
    """Return the settings of one method, or of all installed ones; equal settings of several methods once."""
    found: dict[Setting, dict[str, None]] = {}
    for each in _methods(method):
        for schema in schemas(each):
            for setting in settings_of(schema):
                found.setdefault(setting, {})[each.script] = None
    # One key's variants stand together, where the key came first.
    order = {key: number for number, key in enumerate(dict.fromkeys(setting.key for setting in found))}
    rows = [Documented(setting, tuple(scripts)) for setting, scripts in found.items()]
    return sorted(rows, key=lambda row: order[row.setting.key])


def nearest_setting(key: str, method: str | None = None) -> str | None:
    """Return the setting whose dotted key, or its last part, is most similar to ``key``."""
    for each in _methods(method):
        for schema in schemas(each):
            near = nearest_key(key, schema)
            if near is not None and "." in near:
                return near
    return None


def _methods(method: str | None) -> Sequence[Method]:
    return [get_method(method)] if method else list(installed_methods().values())
