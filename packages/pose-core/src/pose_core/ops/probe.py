"""Measure the paths of every op on this machine's CPU, and remember the times: `POSE_OPS=auto` takes the fastest."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from tqdm import tqdm

from pose_core.errors import PoseError
from pose_core.measurements import recall, remember
from pose_core.ops import dispatch
from pose_core.ops.cases import Case, cases, suppression
from pose_core.timing import compare
from pose_core.verbosity import no_bar

BATCH, FEW, ROUNDS = 16, 2, 5
"""Images per batch; few where there is no choice, and only the reference, which is slow, is shown for comparison."""
ONLY_ON_A_GPU = {"warp_crops"}
"""Ops whose paths are the same on a CPU."""
Runs = Mapping[str, Callable[[], object]]

_log = logging.getLogger(__name__)


def runs() -> Runs:
    """Return a call with representative inputs for each op whose paths differ on a CPU."""
    cpu = torch.device("cpu")
    found: dict[str, Callable[[], object]] = {}
    for batch, several in ((BATCH, True), (FEW, False)):
        for case in cases(batch, cpu):
            if (len(dispatch.OPS.get(case.op, ())) > 1) == several:
                found[case.op] = _call(case)
    found["oks_nms"] = suppression(50)
    return {op: run for op, run in found.items() if op in dispatch.OPS and op not in ONLY_ON_A_GPU}


def measure(calls: Runs, *, anew: bool = False) -> tuple[dict[str, dict[str, float]], bool]:
    """Measure what was not measured on this machine yet, or all ``anew``, and remember it.

    Return all seconds, op → path → seconds, and whether new ones were written; a warning says where they cannot be.
    """
    known = {} if anew else recall("ops")
    missing = [op for op in calls if set(known.get(op, {})) != {"reference", *dispatch.OPS[op]}]
    found = {}
    for op in tqdm(missing, desc="measuring", unit="op", disable=no_bar(), leave=False):
        ways = {path: _by(op, path, calls[op]) for path in ("reference", *dispatch.OPS[op])}
        times = compare(ways, ROUNDS)
        found[op] = {path: times.shortest(path) for path in ways}
    if not found:
        return known, False
    try:
        remember("ops", found)
    except (PoseError, OSError) as error:
        _log.warning("the measurements are not remembered: %s", error)
        return known | found, False
    dispatch.forget()
    return known | found, True


def _by(op: str, path: str, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with _using(f"{op}={path}"):
            return call()

    return run


@contextmanager
def _using(value: str) -> Iterator[None]:
    """Set POSE_OPS for a while."""
    before = os.environ.get("POSE_OPS")
    os.environ["POSE_OPS"] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ["POSE_OPS"]
        else:
            os.environ["POSE_OPS"] = before


def _call(case: Case) -> Callable[[], object]:
    """Return a call of an op, with its gradient if it has one."""
    first, *others = case.inputs
    if case.learned:
        first = first.clone().requires_grad_()

    def run() -> object:
        output = case.run(first, *others)
        if not case.learned or not isinstance(output, torch.Tensor):
            return output
        return torch.autograd.grad(output.sum(), first)

    return run
