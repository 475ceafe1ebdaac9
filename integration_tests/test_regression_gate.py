"""The table of performance bars: what counts as within a bar and as a loss, not the times."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.append(str(Path(__file__).parents[1] / "shared" / "benchmark"))  # the fuzzer has a run.py, too

import growth
from cases import FASTEST, Bar, Case, Result, measure, results

from pose_core.timing import Times


def load_run() -> ModuleType:
    """Return the script `run.py` of the benchmarks: the fuzzer has one of that name, too."""
    spec = importlib.util.spec_from_file_location("run_benchmarks", Path(growth.__file__).with_name("run.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


run = load_run()


def found(ours: tuple[float, ...], *, at_most: bool = True, limit: float = 2.0) -> Result:
    """Return the row of work that takes these seconds in each round, against a floor or a peer of one second."""
    names = ("ours", "floor") if at_most else ("peer", "ours")
    one = (1.0,) * len(ours)
    times = Times({"ours": ours, "floor": one, "peer": one})
    (row,) = results(Case("work", "some", {}, (Bar(*names, limit, at_most),)), times)
    return row


def test_a_bar_is_a_most_or_a_least() -> None:
    assert found((1.9, 1.9, 2.5)).reached
    assert not found((2.1, 2.1, 1.5)).reached
    assert found((0.4, 0.4, 0.6), at_most=False).reached
    assert not found((0.6, 0.6, 0.4), at_most=False).reached


def test_the_choice_is_compared_with_the_best_of_the_others() -> None:
    times = Times({"chosen": (2.0, 2.0), "slow": (4.0, 4.0), "quick": (1.0, 1.0)})
    (row,) = results(Case("networks", "", {}, (Bar("chosen", FASTEST, 1.1),)), times)
    assert (row.under, row.ratio.median, row.reached) == ("quick", 2.0, False)


def test_contenders_run_in_rounds() -> None:
    calls = []
    case = Case("work", "", {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, (Bar("a", "b", 1e9),))
    (row,) = measure(case, budget=0.1)
    assert len(row.rounds) >= 5
    assert {"a", "b"} == set(calls)


@pytest.mark.parametrize("at_most", [True, False])
def test_only_a_sure_loss_fails(at_most: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "before.json"
    rows = [found((1.0, 1.01, 0.99, 1.0, 1.0), at_most=at_most).as_json()]
    file.write_text(json.dumps({"machine": "another", "rows": rows}, default=vars))

    def fails(seconds: tuple[float, ...]) -> bool:
        return run.compared([found(seconds, at_most=at_most)], file, loss=1.25)

    assert not fails((1.2, 1.2, 1.21, 1.2, 1.19))
    assert not fails((0.5, 0.5, 0.5, 0.5, 0.5))
    assert not fails((1.0, 1.1, 1.4, 1.6, 1.0))  # noise
    assert fails((1.5, 1.5, 1.51, 1.5, 1.49))
    assert "LOSS" in capsys.readouterr().out.splitlines()[-1]


def test_other_rows_are_not_compared(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_text(json.dumps({"machine": "another", "rows": []}))
    with pytest.raises(SystemExit, match="none of the rows"):
        run.compared([found((1.0,))], file, loss=1.25)


def test_an_exponent_is_that_of_the_upper_half() -> None:
    seconds = {size: 5.0 + size**2 for size in (1, 10, 100, 1000)}
    assert growth.exponent(seconds) == pytest.approx(2, abs=0.01)
