"""Measure what computes networks fastest on this machine, and print what has been measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose_core.benchmark.networks import Subject


def print_networks(patterns: Sequence[str]) -> None:
    """Measure the networks that match, if patterns are given, and print all that was measured on this machine."""
    import torch

    from pose_core import machine
    from pose_core.benchmark.networks import subjects
    from pose_core.installation import shell_command
    from pose_core.measurements import measurements_file, recall
    from pose_core.plurals import counted
    from pose_core.runtimes.choice import SECTION
    from pose_core.text_tables import aligned

    print(f"{machine.processor()}; {counted(torch.get_num_threads(), 'thread')} (OMP_NUM_THREADS sets them)")
    chosen = [subject for pattern in patterns for subject in subjects(pattern)]  # a wrong name ends it before anything
    measured, notes = _measure(chosen)
    found = {work: ways for work, ways in (recall(SECTION) | measured).items() if not work.endswith(", export")}
    if not found:
        print(f"no network has been measured here; for example: {shell_command('pose')} doctor --networks hrnet_w32")
        return
    rows = [("network, images at a time, test.precision", "runs in", "ms", "")]
    for work, ways in sorted(found.items()):
        best, *others = sorted(ways.items(), key=lambda each: each[1])
        rows.append((work, best[0], f"{1000 * best[1]:.1f}", "fastest"))
        rows += [
            ("", way, f"{1000 * seconds:.1f}", f"{seconds / best[1]:.2f} times as long") for way, seconds in others
        ]
    print("\n".join([*aligned(rows), *notes]))
    print("test.runtime=auto takes the fastest when there are enough images to make up for its start; with")
    print("test.precision=bf16 (not the default) also in bfloat16")
    print(f"remembered in {measurements_file()}")


def _measure(chosen: Sequence[Subject]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Measure networks with random weights, each as its first experiment uses it.

    Return the seconds, work → way → seconds, and why some ways are missing.
    """
    from tqdm import tqdm

    from pose_core import machine
    from pose_core.models.network import PoseNetwork
    from pose_core.plugins.networks import create_model
    from pose_core.runtimes.choice import BATCHES, Work, measure
    from pose_core.verbosity import no_bar

    precision = "bf16" if "bf16" in machine.processor() else "fp32"
    measured: dict[str, dict[str, float]] = {}
    notes = []
    for subject in (bar := tqdm(chosen, "measuring", unit="network", leave=False, disable=no_bar())):
        bar.set_postfix_str(subject.name)
        network = create_model(subject.name, num_joints=subject.num_joints, **subject.options).eval()
        multiple = network.divisor if subject.whole and isinstance(network, PoseNetwork) else None
        for batch in BATCHES[:1] if subject.whole else BATCHES:
            work = Work(subject.name, subject.input_size, batch, precision, multiple)
            found, refused = measure(network, work)
            measured[work.key] = {str(way): seconds for way, seconds in found.items()}
        for reason, ways in groupby(refused.items(), key=lambda each: each[1]):
            notes.append(f"{subject.name} without {', '.join(str(way) for way, _ in ways)}: {reason}")
    return measured, notes
