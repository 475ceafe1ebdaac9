"""The placeholders in help texts."""

from __future__ import annotations

from pose_core.plugins.method import get_method, installed_methods


def fill_help(text: str, script: str, verb: str, method: str | None) -> str:
    """Fill the placeholders of a help text: ``%(prog)s``, ``%(script)s``, ``%(package)s`` and ``%(example)s``.

    The example is an experiment of the method; for ``pose`` it is one of an installed method, if possible of the one
    that `pose quickstart` uses.
    """
    if method is not None:
        package, example = get_method(method).package, get_method(method).example
    else:
        methods = sorted(installed_methods().values(), key=lambda each: each.quickstart is None)
        package, example = "pose_core", next((f"{each.script}/{each.example}" for each in methods if each.example), "")
    values = {"prog": f"{script} {verb}", "script": script, "package": package, "example": example or "NAME"}
    for key, value in values.items():
        text = text.replace(f"%({key})s", value)
    return text
