"""How far a build is, from the phases that the builder reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motivnet_engines.build.builder import build_in_child
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.build.progress import BuildProgress


def test_a_phase_inside_a_phase_is_a_part_of_the_step_under_way() -> None:
    phases = BuildProgress()
    phases.start("building", parent=None, steps=4)
    phases.step("building")
    phases.start("optimising", parent="building", steps=2)
    phases.step("optimising")
    phases.start("timing", parent="optimising", steps=2)
    phases.step("timing")

    assert phases.fraction == (1 + (1 + 1 / 2) / 2) / 4


def test_a_phase_that_ends_early_does_not_take_back_what_was_reached() -> None:
    phases = BuildProgress()
    phases.start("building", parent=None, steps=2)
    phases.start("optimising", parent="building", steps=2)
    phases.step("optimising")
    before = phases.fraction
    phases.finish("optimising")

    assert phases.fraction == before == 0.25


def test_more_steps_than_announced_and_unknown_phases_do_no_harm() -> None:
    phases = BuildProgress()
    phases.start("building", parent=None, steps=0)
    for _ in range(3):
        phases.step("building")
    phases.step("never started")
    phases.finish("never started")
    phases.start("orphan", parent="never started", steps=1)

    assert phases.fraction == 1.0


def test_the_real_builder_reports_fractions_that_only_rise(
    rtx_installed: None, trt_graph: Any, tmp_path: Path
) -> None:
    graph, steps = trt_graph("fp16"), list[float]()
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))

    build_in_child(
        graph.onnx,
        tmp_path / "engine",
        manifest=graph.manifest,
        options=options,
        on_advance=steps.append,
    )

    assert len(steps) >= 5
    assert min(steps) > 0
    assert sum(steps) <= 1
