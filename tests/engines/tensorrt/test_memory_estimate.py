"""The memory that a build needs, and the builds that are refused because they would not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.errors import RuntimeUnavailableError
from motivnet.parity import Precision
from motivnet.preprocess import Preprocessing
from motivnet_engines.build import memory_estimate
from motivnet_engines.build.memory_estimate import (
    BuildEstimate,
    activation_bytes,
    check_fits,
    estimate_build,
    free_swap,
    score_bytes,
    unfused_bytes,
)
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.system.machine import Machine, read_machine

GB = 1_000_000_000
ESTIMATE = BuildEstimate(engine_bytes=2 * GB, activation_bytes=GB, host_peak_bytes=7 * GB)
OPTIONS = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    """A function that gives this machine with other memory, and no swap unless it is given."""

    def with_memory(available: int | None, *, limit: int | None = None, swap: int = 0) -> Machine:
        monkeypatch.setattr(memory_estimate, "free_swap", lambda: swap)
        return replace(read_machine(), memory_available=available, memory_limit=limit)

    return with_memory


@pytest.mark.parametrize("name", ["fp16", "fp32"])
def test_the_engine_is_about_as_large_as_said(rtx_engine: Any, name: str) -> None:
    engine = rtx_engine(name)

    estimate = estimate_build(engine.graph.manifest, engine.options)

    assert engine.path.stat().st_size == pytest.approx(estimate.engine_bytes, rel=0.25)
    assert engine.built.build_peak_bytes == pytest.approx(estimate.host_peak_bytes, rel=0.5)


def test_the_1b_is_estimated_as_it_was_seen(trt_graph: Any) -> None:
    manifest = trt_graph("fp16").manifest
    manifest = msgspec.structs.replace(
        manifest,
        graph=msgspec.structs.replace(manifest.graph, weight_bytes={"float16": 2_320_000_000}),
    )

    estimate = estimate_build(manifest, OPTIONS)

    assert estimate.engine_bytes == pytest.approx(2_320_000_000, rel=0.01)
    assert estimate.host_peak_bytes == pytest.approx(7_300_000_000, rel=0.05)


def test_a_larger_batch_needs_more_and_the_same_weights(trt_graph: Any) -> None:
    manifest = trt_graph("fp16").manifest
    one, eight = (estimate_build(manifest, replace(OPTIONS, max_batch=batch)) for batch in (1, 8))

    assert one.engine_bytes == eight.engine_bytes
    assert one.activation_bytes < eight.activation_bytes
    assert eight.device_bytes == eight.engine_bytes + eight.activation_bytes


@pytest.mark.parametrize(
    ("available", "limit", "swap"),
    [(8 * GB, None, 0), (None, None, 0), (8 * GB, 9 * GB, 0), (4 * GB, None, 3 * GB)],
)
def test_a_build_that_fits_passes(
    machine: Any, tmp_path: Path, available: Any, limit: Any, swap: int
) -> None:
    check_fits(ESTIMATE, machine(available, limit=limit, swap=swap), tmp_path, device_memory=3 * GB)


@pytest.mark.parametrize(
    ("available", "limit", "have"), [(4 * GB, None, "4.0 GB"), (64 * GB, 6 * GB, "6.0 GB")]
)
def test_too_little_memory_is_said_before_the_build(
    machine: Any, tmp_path: Path, available: int, limit: Any, have: str
) -> None:
    with pytest.raises(
        RuntimeUnavailableError,
        match=f"takes about 7.0 GB of memory and {have} are available; close other",
    ):
        check_fits(ESTIMATE, machine(available, limit=limit), tmp_path)


def test_where_host_and_gpu_share_their_memory_a_build_needs_both(
    machine: Any, tmp_path: Path
) -> None:
    jetson, options = machine(9 * GB), {"device_memory": 16 * GB}

    check_fits(ESTIMATE, jetson, tmp_path, **options)
    check_fits(ESTIMATE, machine(10 * GB), tmp_path, **options, shared_memory=True)
    with pytest.raises(
        RuntimeUnavailableError,
        match=r"about 10\.0 GB of memory, which the GPU shares, and 9\.0 GB are available",
    ):
        check_fits(ESTIMATE, jetson, tmp_path, **options, shared_memory=True)


PAGE = Path(__file__).resolve().parents[3] / "docs" / "devices.md"
TABLE = [("bf16", 2), ("fp32", 4)]


@pytest.mark.parametrize("name", [name for name in NAMED_SIZES if name.startswith("sapiens")])
def test_the_page_has_the_estimate_of_every_size_where_memory_is_shared(
    name: str, trt_graph: Any
) -> None:
    config, cells = ModelConfig.named(name), []
    for precision, width in TABLE:
        manifest = trt_graph("bf16-decomposed" if precision == "bf16" else "fp32").manifest
        manifest = msgspec.structs.replace(
            manifest,
            source=msgspec.structs.replace(manifest.source, config=config),
            input=msgspec.structs.replace(
                manifest.input,
                preprocessing=Preprocessing.named("stretch", size=config.encoder.image_size),
            ),
            graph=msgspec.structs.replace(
                manifest.graph, weight_bytes={precision: width * config.parameters}
            ),
        )
        estimate = estimate_build(manifest, EngineOptions(backend="tensorrt", max_batch=1))
        cells.append(f"{estimate.host_peak_bytes / GB:.1f} + {estimate.device_bytes / GB:.1f} = ")
        cells[-1] += f"{(estimate.host_peak_bytes + estimate.device_bytes) / GB:.1f} GB"
    assert f"| `{name}` | {cells[0]} | {cells[1]} |" in PAGE.read_text()


def test_tensorrt_needs_more_of_the_host_and_room_for_whole_pictures(trt_graph: Any) -> None:
    trt, rtx = EngineOptions(backend="tensorrt"), EngineOptions(backend="tensorrt-rtx")
    for name, more in (("fp16", 0), ("image", 2 * 8 * 2160 * 3840 * 3 * 4)):
        real, portable = (
            estimate_build(trt_graph(name).manifest, options) for options in (trt, rtx)
        )
        assert real.host_peak_bytes - portable.host_peak_bytes == 1_700_000_000
        assert real.activation_bytes - portable.activation_bytes == more


def test_every_shortage_is_named_with_its_remedy(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_estimate.shutil, "disk_usage", lambda path: SimpleNamespace(free=GB))

    with pytest.raises(RuntimeUnavailableError) as caught:
        check_fits(ESTIMATE, machine(GB), tmp_path / "not" / "there", device_memory=2 * GB)

    for shortage in (
        "of memory and 1.0 GB are available",
        "1.0 GB; free some, or choose another --out",
        "lower --max-batch, or add --weight-streaming",
    ):
        assert shortage in str(caught.value)


def test_weights_that_are_streamed_need_not_fit_the_gpu(machine: Any, tmp_path: Path) -> None:
    streamed = replace(ESTIMATE, streams_weights=True)

    check_fits(streamed, machine(None), tmp_path, device_memory=GB)
    with pytest.raises(RuntimeUnavailableError, match=r"lower --max-batch$"):
        check_fits(streamed, machine(None), tmp_path, device_memory=GB - 1)


def test_the_disk_is_that_of_the_nearest_folder_that_exists(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        memory_estimate.shutil,
        "disk_usage",
        lambda path: asked.append(path) or SimpleNamespace(free=100 * GB),
    )

    check_fits(ESTIMATE, machine(None), tmp_path / "a" / "b")

    assert asked == [tmp_path]


def test_free_swap_is_what_the_kernel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 8 kB\nSwapTotal: 4096 kB\nSwapFree:   1024 kB\n")
    monkeypatch.setattr(memory_estimate, "_MEMINFO", path)
    assert free_swap() == 1 << 20

    monkeypatch.setattr(memory_estimate, "_MEMINFO", tmp_path / "missing")
    assert free_swap() == 0


@pytest.mark.parametrize("name", ["fp16", "fp32", "image"])
def test_the_estimate_is_near_what_the_compiler_reserves(rtx_engine: Any, name: str) -> None:
    engine = rtx_engine(name)
    manifest = engine.graph.manifest

    expected = activation_bytes(
        manifest.source.config,
        precision=manifest.precision,
        fused=manifest.precision != "fp32",
        batch=engine.built.profile.max_batch,
    )

    assert engine.built.report.activation_bytes == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize(
    ("size", "precision", "fused", "seen"),
    [("sapiens-1b", "fp16", True, 94e6), ("sapiens-0.3b", "fp32", False, 1_260e6)],
)
def test_the_estimate_holds_at_published_sizes(
    size: str, precision: Precision, fused: bool, seen: float
) -> None:
    config = ModelConfig.named(size)

    expected = activation_bytes(config, precision=precision, fused=fused, batch=1)

    assert expected == pytest.approx(seen, rel=0.1)


def test_scores_are_one_number_for_each_pair_of_tokens_in_each_head() -> None:
    config = ModelConfig.named("sapiens-1b")

    assert score_bytes(config, precision="fp16", batch=1) == 24 * (64 * 48) ** 2 * 2
    assert score_bytes(config, precision="fp32", batch=8) == 16 * score_bytes(
        config, precision="fp16", batch=1
    )


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("tiny", False),
        ("sapiens-0.3b", True),
        ("sapiens-0.6b", True),
        ("sapiens-1b", True),
        ("sapiens-2b", True),
    ],
)
@pytest.mark.parametrize("batch", [1, 8])
def test_memory_tells_an_unfused_attention_at_every_published_size(
    size: str, told: bool, batch: int
) -> None:
    config = ModelConfig.named(size)

    threshold = unfused_bytes(config, precision="fp16", batch=batch)

    assert (threshold is not None) == told
    if threshold is not None:
        fused, unfused = (
            activation_bytes(config, precision="fp16", fused=state, batch=batch)
            for state in (True, False)
        )
        assert fused < threshold / 2 < threshold < unfused
