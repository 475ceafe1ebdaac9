"""Print a script that completes commands, options, settings and names of experiments in your shell.

  eval "$(pose completion bash)"                                    # for this shell; put it in ~/.bashrc to keep it
  eval "$(pose completion zsh)"                                     # in ~/.zshrc, after compinit
  pose completion fish > ~/.config/fish/completions/pose.fish

Completes `pose` and the scripts of the installed methods, wherever the shell finds them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence

from pose_core.plugins.method import Command, get_method, installed_methods

BASH = """\
_pose_complete() {
    local IFS=$'\\n'
    COMPREPLY=($("$1" __complete "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _pose_complete SCRIPTS
"""
ZSH = """\
_pose_complete() {
    local -a found settings
    found=("${(@f)$("${words[1]}" __complete "${(@)words[1,CURRENT]}" 2>/dev/null)}")
    settings=(${(M)found:#*=})
    found=(${found:#*=})
    (( ${#settings} )) && compadd -S '' -- $settings
    (( ${#found} )) && compadd -- $found
    (( ${#settings} + ${#found} )) || _files
}
compdef _pose_complete SCRIPTS
"""
FISH = """\
function __pose_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words 2>/dev/null
end
for script in SCRIPTS
    complete -c $script -a '(__pose_complete)'
end
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", choices=list(SHELLS), help="the shell to complete in")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    scripts = ["pose", *(method.script for method in installed_methods().values())]
    print(SHELLS[args.shell].replace("SCRIPTS", " ".join(scripts)), end="")
    return 0


def candidates(
    words: Sequence[str],
    verbs: Mapping[str, Command],
    build_parser: Callable[[str], argparse.ArgumentParser],
    method: str | None,
) -> list[str]:
    """Return what may stand for the last of ``words``, those after the script's name; nothing where a file may."""
    *before, last = words or [""]
    if not before:
        return [verb for verb in verbs if verb.startswith(last)]
    if before[0] not in verbs:
        return []
    parser = build_parser(before[0])
    for word in before[1:]:
        parser = _subcommands(parser).get(word, parser)
    option = parser._option_string_actions.get(before[-1])
    found: Iterable[str] = ()
    if option is not None and option.nargs != 0:
        found = _names(option, method)
    elif last.startswith("-"):
        found = parser._option_string_actions
    else:
        found = [*_subcommands(parser)]
        for action in parser._actions:
            if not action.option_strings:
                found += [*_names(action, method)]
    return [name for name in found if name.startswith(last)]


def _subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices: Mapping[str, argparse.ArgumentParser] = action.choices
            return choices
    return {}


def _names(action: argparse.Action, method: str | None) -> Iterable[str]:
    """Return the values that an argument takes, if they can be listed."""
    if isinstance(action, argparse._SubParsersAction):
        return ()
    if action.dest == "cfg":
        methods = [get_method(method)] if method else list(installed_methods().values())
        return [name if method else f"{each.script}/{name}" for each in methods for name in each.experiments()]
    if action.dest in {"weights", "names"}:
        from pose_core.plugins.checkpoints import list_checkpoints

        return [each.name for each in list_checkpoints() if method in {None, each.method}]
    if action.dest == "detector":
        from pose_core.topdown.detectors import known_detectors

        return [*known_detectors(), "whole"]
    if action.dest == "overrides":
        from pose_core.plugins.settings import documented_settings

        return dict.fromkeys(f"{row.setting.key}=" for row in documented_settings(method))
    return map(str, action.choices or ())
