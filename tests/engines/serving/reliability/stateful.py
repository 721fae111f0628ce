"""Figure 25, the queue's part: thousands of random histories of it against a plain model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from figure import Figure
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

MACHINE = Path(__file__).parents[1] / "test_batch_queue.py"


def stateful(*, examples: int) -> Figure:
    """Items arrive, wait, are cancelled, taken and refused: the queue and its model agree."""
    machine = _module().Queue
    run = 0

    class Counted(machine):  # type: ignore[misc, valid-type] # its type is that of a file
        def teardown(self) -> None:
            nonlocal run
            run += 1

    failures = []
    try:
        run_state_machine_as_test(
            Counted,
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, database=None
            ),
        )
    except AssertionError as error:
        failures.append(f"the queue and its model differ: {error}")
    figure = Figure({"sequences": run}, failures)
    figure.require(run >= examples, "fewer sequences were run than asked for")
    return figure


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("queue_machine", MACHINE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
