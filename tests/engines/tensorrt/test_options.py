"""What an engine may be asked to be, told before any builder is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import Manifest
from motivnet.artifact.quantisation import Quantisation, SpeedComparison
from motivnet.errors import ConfigError
from motivnet_engines.build.options import MAX_SIDE, EngineOptions, check_options
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES


@pytest.fixture
def manifest(trt_graph: Any) -> Manifest:
    found: Manifest = trt_graph("fp16").manifest
    return found


def rtx(**options: Any) -> EngineOptions:
    return EngineOptions(backend="tensorrt-rtx", **options)


def tensorrt(**options: Any) -> EngineOptions:
    return EngineOptions(backend="tensorrt", **options)


@pytest.mark.parametrize(
    "options",
    [
        rtx(),
        rtx(compute_capabilities=RTX_COMPUTE_CAPABILITIES),
        rtx(optimisation_level=5, weight_streaming=True, max_batch=8, opt_batch=8),
        tensorrt(
            timing_cache=Path("t"), hardware_compatibility="ampere-plus", version_compatible=True
        ),
        tensorrt(optimisation_level=0, max_batch=1, workspace=1 << 20),
    ],
)
def test_what_some_machine_can_build_is_accepted(
    options: EngineOptions, manifest: Manifest
) -> None:
    check_options(options, manifest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (rtx(compute_capabilities=("87",)), "does not compile for SM 87"),
        (rtx(compute_capabilities=("90",)), "does not compile for SM 90"),
        (rtx(compute_capabilities=("100",)), "does not compile for SM 100"),
        (rtx(compute_capabilities=("CURRENT",)), "does not compile for SM CURRENT"),
        (rtx(compute_capabilities=("86", "86")), "--sm names a compute capability twice"),
        (rtx(timing_cache=Path("t")), "--timing-cache is for tensorrt only"),
        (
            rtx(hardware_compatibility="ampere-plus"),
            "--hardware-compatibility is for tensorrt only",
        ),
        (rtx(version_compatible=True), "--version-compatible is for tensorrt only"),
        (tensorrt(compute_capabilities=("86",)), "--sm is for tensorrt-rtx only"),
        (rtx(max_batch=9), "--max-batch must be 1 to 8 for this artifact, not 9"),
        (rtx(max_batch=0), "--max-batch must be 1 to 8 for this artifact, not 0"),
        (rtx(opt_batch=0), "--opt-batch must be 1 to 8, the largest batch, not 0"),
        (rtx(optimisation_level=6), "--optimisation-level must be 0 to 5, not 6"),
        (rtx(optimisation_level=-1), "--optimisation-level must be 0 to 5, not -1"),
        (rtx(workspace=1 << 20), "--workspace is for tensorrt only"),
        (rtx(max_size=(500, 500)), "--max-image is for an artifact with --input image"),
        (tensorrt(workspace=1000), "--workspace must be at least 1 MiB, not 1000 bytes"),
    ],
)
def test_what_no_machine_can_build_is_refused(
    options: EngineOptions, message: str, manifest: Manifest
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_options(options, manifest)

    assert message in str(caught.value)


def test_a_graph_that_was_quantised_for_a_processor_is_refused(manifest: Manifest) -> None:
    speed = SpeedComparison(
        runtime="openvino",
        baseline="openvino",
        milliseconds=1.0,
        baseline_milliseconds=2.0,
        ratio=2.0,
        lower_quartile=1.5,
        rounds=6,
        processor="a processor",
    )
    quantised = Quantisation(
        tool="nncf 3.4.0",
        images=8,
        smooth_quant=False,
        variants=(),
        linear_layers={"int8": 16},
        fused_attentions=4,
        speed=speed,
    )
    with pytest.raises(ConfigError, match="was quantised for OpenVINO on a CPU"):
        check_options(rtx(), msgspec.structs.replace(manifest, quantisation=quantised))


def test_every_problem_is_told_at_once(manifest: Manifest) -> None:
    options = rtx(
        max_batch=99, optimisation_level=9, timing_cache=Path("t"), compute_capabilities=("90",)
    )

    with pytest.raises(ConfigError) as caught:
        check_options(options, manifest)

    assert len(str(caught.value).split("; ")) >= 4


@pytest.mark.parametrize(
    ("precision", "attention", "sms", "message"),
    [
        ("fp32", "fused", ("86",), "no fused attention in FP32"),
        ("fp32", "decomposed", ("75",), "no FP32 matrix product for SM 75"),
        ("fp8", "decomposed", ("86",), "SM 86 has no FP8"),
        ("fp8", "decomposed", ("86", "89"), "SM 86 has no FP8"),
        ("fp8", "decomposed", (), "FP8 needs --sm 89 or later"),
    ],
)
def test_a_precision_that_the_gpu_or_the_compiler_lacks_is_refused(
    manifest: Manifest, precision: Any, attention: Any, sms: tuple[str, ...], message: str
) -> None:
    asked = msgspec.structs.replace(manifest, precision=precision, attention=attention)

    with pytest.raises(ConfigError) as caught:
        check_options(rtx(compute_capabilities=sms), asked)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("precision", "sms"), [("fp8", ("89",)), ("fp8", ("89", "120")), ("int8", ("86",))]
)
def test_quantised_engines_are_accepted_where_the_gpu_has_them(
    manifest: Manifest, precision: Any, sms: tuple[str, ...]
) -> None:
    check_options(
        rtx(compute_capabilities=sms), msgspec.structs.replace(manifest, precision=precision)
    )


def test_fused_fp32_is_refused_for_tensorrt_too(trt_graph: Any) -> None:
    with pytest.raises(ConfigError, match="no fused attention in FP32"):
        check_options(tensorrt(), trt_graph("fp32-fused").manifest)


def test_the_profile_is_from_one_to_the_largest_batch(manifest: Manifest) -> None:
    assert rtx(opt_batch=4).profile_for(manifest) == ShapeProfile(
        min_batch=1,
        opt_batch=4,
        max_batch=8,
        min_size=(128, 96),
        opt_size=(128, 96),
        max_size=(128, 96),
    )


def test_the_best_batch_is_not_above_the_largest(manifest: Manifest) -> None:
    assert rtx(opt_batch=4, max_batch=2).profile_for(manifest).opt_batch == 2


@pytest.mark.parametrize("size", [(100, 96), (128, 80), (MAX_SIDE + 1, 640)])
def test_a_largest_image_below_the_models_or_beyond_the_limit_is_refused(
    trt_graph: Any, size: tuple[int, int]
) -> None:
    with pytest.raises(ConfigError, match=f"--max-image must be 128x96 to {MAX_SIDE}x{MAX_SIDE}"):
        check_options(rtx(max_size=size), trt_graph("image").manifest)
