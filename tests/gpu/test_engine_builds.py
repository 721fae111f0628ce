"""Engines built on the GPU itself, and what the inspector finds in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.errors import RuntimeUnavailableError
from motivnet.parity import COMPUTE_DTYPES, Precision
from motivnet_engines.build.engine_artifact import build_engine
from motivnet_engines.build.known_issues import fused_supported
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import load_api
from motivnet_engines.runtimes.tensorrt.compatibility import lean_library
from motivnet_engines.system.nvidia import Gpu

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(3600)]

SIZES = ("tiny", pytest.param("sapiens-0.3b", marks=pytest.mark.slow))
BACKENDS: tuple[EngineBackend, ...] = ("tensorrt", "tensorrt-rtx")
PRECISIONS: tuple[Precision, ...] = ("fp16", "bf16", "fp32")
ATTENTIONS = {"tiny": 4 + 2, "sapiens-0.3b": 24 + 2}
EntryOf = Callable[[Artifact, EngineBackend], EngineEntry]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_an_engine_is_what_was_asked_for(
    size: str,
    backend: EngineBackend,
    precision: Precision,
    artifact_of: Any,
    entry_of: EntryOf,
    gpu: Gpu,
) -> None:
    artifact = artifact_of(size, precision, backend)
    entry = entry_of(artifact, backend)
    print(
        f"\n{size} {precision} {backend} {entry.version} on {gpu.name}: "
        f"{entry.build_seconds:.0f} s, {entry.report}"
    )
    assert all(
        attempt.precision == precision for attempt in artifact.manifest.attempts
    )  # no fallback
    assert entry.precision == precision
    assert entry.report.evidence == ("inspector" if backend == "tensorrt" else "compiler")
    told = {
        dtype: count for dtype, count in entry.report.matrix_layers.items() if dtype != "unknown"
    }
    assert told.keys() == {COMPUTE_DTYPES[precision]}
    assert entry.comparison is not None
    assert entry.comparison.passed


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_every_attention_is_one_kernel(
    size: str, backend: EngineBackend, precision: Precision, artifact_of: Any, entry_of: EntryOf
) -> None:
    artifact = artifact_of(size, precision, backend)
    entry = entry_of(artifact, backend)
    if not fused_supported(backend, entry.version):
        pytest.skip(
            f"{backend} {entry.version} has no Attention operator: "
            "whether it fuses is its own choice"
        )
    assert artifact.manifest.attention == "fused"
    assert entry.report.attention_layers == ATTENTIONS[size]
    assert entry.report.attention_fused == entry.report.attention_layers


@pytest.mark.parametrize("form", ["uint8", "image"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_preprocessing_in_the_engine_passes_the_comparison(
    backend: EngineBackend, form: str, artifact_of: Any, entry_of: EntryOf
) -> None:
    entry = entry_of(artifact_of("tiny", "fp16", backend, input=form), backend)
    assert entry.comparison is not None
    assert entry.comparison.passed


def test_tensorrt_says_on_which_gpu_it_built(artifact_of: Any, entry_of: EntryOf, gpu: Gpu) -> None:
    device = entry_of(artifact_of("tiny", "fp16", "tensorrt"), "tensorrt").device
    assert device is not None
    assert (device.name, device.compute_capability, device.memory) == (
        gpu.name,
        gpu.compute_capability,
        gpu.memory,
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_commands_export_build_and_verify(
    size: str,
    backend: EngineBackend,
    artifact_of: Any,
    subject_of: Any,
    run: Any,
    tmp_path: Path,
    gpu: Gpu,
) -> None:
    artifact_of("tiny", "fp16", backend)  # or the skip that says why not
    sm = ("--sm", gpu.sm) if backend == "tensorrt-rtx" else ()
    words = (
        "--checkpoint",
        subject_of(size).checkpoint,
        "--out",
        tmp_path / "a",
        "--fp16",
        "--num-images",
        "4",
    )
    built = run("motivnet_export", "build", *words, "--target", backend, *sm, "--json").document
    assert [engine["backend"] for engine in built["manifest"]["engines"]] == [backend]
    words = (tmp_path / "a", "--backend", backend, *sm, "--out", tmp_path / "b", "--json")
    alone = run("motivnet_engines", "build-engine", *words).document
    assert alone["engine"]["comparison"]["failures"] == []
    for folder in (tmp_path / "a", tmp_path / "b"):
        verified = run(
            "motivnet_engines", "verify", folder, "--runtime", backend, "--json"
        ).document
        assert [row["backend"] for row in verified["comparisons"]] == [backend]
        assert verified["refusals"] == []
    assert open_artifact(tmp_path / "b").manifest.kind == "engine"


def test_the_target_is_tensorrt_where_nothing_else_is_said(
    artifact_of: Any, subject_of: Any, run: Any, tmp_path: Path
) -> None:
    artifact_of("tiny", "fp16", "tensorrt")
    words = (
        "--checkpoint",
        subject_of("tiny").checkpoint,
        "--out",
        tmp_path / "a",
        "--fp16",
        "--json",
    )
    built = run("motivnet_export", "build", *words).document
    assert [engine["backend"] for engine in built["manifest"]["engines"]] == ["tensorrt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimisation_level": 0},
        {"optimisation_level": 5, "opt_batch": 8},
        {"max_batch": 2},
        {"workspace": 1 << 30},
        {"weight_streaming": True},
        {"hardware_compatibility": "ampere-plus"},
        {"version_compatible": True},
    ],
    ids=str,
)
def test_the_options_of_tensorrt_give_engines_that_pass(
    changes: dict[str, Any], artifact_of: Any, entry_of: EntryOf, tmp_path: Path
) -> None:
    artifact = artifact_of("tiny", "fp16", "tensorrt")
    options = EngineOptions(backend="tensorrt", **changes)
    if options.version_compatible:
        require_lean_runtime()
    entry = entry_of(
        build_engine(artifact, options, out=tmp_path / "b", on_message=print), "tensorrt"
    )
    assert entry.comparison is not None
    assert entry.comparison.passed


def require_lean_runtime() -> None:
    """Skip, with what to install, where no engine can run on the lean runtime."""
    try:
        lean_library(load_api("tensorrt").version)
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))


def test_a_timing_cache_is_written_and_taken_again(
    artifact_of: Any, entry_of: EntryOf, tmp_path: Path
) -> None:
    artifact = artifact_of("tiny", "fp16", "tensorrt")
    options = EngineOptions(backend="tensorrt", timing_cache=tmp_path / "timing.cache")
    seconds = []
    for name in ("first", "second"):
        built = build_engine(artifact, options, out=tmp_path / name, on_message=print)
        seconds.append(entry_of(built, "tensorrt").build_seconds)
        assert (tmp_path / "timing.cache").stat().st_size > 0
    print(f"\nwithout a cache {seconds[0]:.1f} s, with it {seconds[1]:.1f} s")
