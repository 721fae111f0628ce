"""What is kept of TensorRT's log."""

from __future__ import annotations

import types

import pytest

from motivnet_engines.build.engine_report import is_about_the_engine
from motivnet_engines.runtimes.tensorrt import log
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of, tail_of_output

WARNING, INFO, VERBOSE = (
    types.SimpleNamespace(name=name) for name in ("WARNING", "INFO", "VERBOSE")
)


def test_only_warnings_and_errors_are_for_a_person() -> None:
    lines = [
        ("VERBOSE", "a"),
        ("INFO", "b"),
        ("WARNING", "c"),
        ("ERROR", "d"),
        ("INTERNAL_ERROR", "e"),
    ]

    assert tail_of(lines) == ("c", "d", "e")


def test_the_noise_of_a_machine_without_a_driver_is_dropped() -> None:
    noise = [
        ("ERROR", "IRuntime: Error Code 1: Cuda Runtime (In x at y.cpp:1)"),
        ("ERROR", "CUDA initialization failure with error: 35"),
        ("WARNING", "no driver: cudaErrorInsufficientDriver"),
        ("WARNING", "CUDA driver version is insufficient for CUDA runtime version"),
    ]

    assert tail_of([*noise, ("ERROR", "the reason")]) == ("the reason",)


@pytest.mark.parametrize(
    "line",
    [
        "[defaultAllocator.cpp::allocate::53] Error Code 1: Cuda Runtime (out of memory)",
        "[cudaDriverHelpers.cpp::operator()::96] Error Code 1: Cuda Runtime (an illegal memory "
        "access was encountered)",
    ],
)
def test_where_there_is_a_gpu_cudas_error_is_the_reason(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "cuda_device_count", lambda: 1)

    assert tail_of([("ERROR", line)]) == (line,)
    assert tail_of_output(f"{line}\n--- End node ---\n") == (line,)


def test_repetitions_are_told_once_and_the_end_counts() -> None:
    lines = [("ERROR", "same")] * 3 + [("ERROR", f"number {index}") for index in range(20)]

    assert tail_of(lines) == tuple(f"number {index}" for index in range(12, 20))
    assert tail_of(lines[:4]) == ("same", "number 0")


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert tail_of([("ERROR", "  two\n  lines\t" + "x" * 5_000)])[0].startswith("two lines xxx")
    assert len(tail_of([("ERROR", "x" * 5_000)])[0]) == 1_000


def test_what_the_libraries_print_is_cut_down_by_the_same_rules() -> None:
    text = (
        "Internal Error: MyelinCheckException\n\ncudaError 35\n"
        "[ERROR] Exception caught in log(): x\nsecond\n"
    )

    assert tail_of_output(text) == ("Internal Error: MyelinCheckException", "second")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    """A package of which only the logger is there."""
    monkeypatch.setattr(log, "_LOGGERS", {})
    return Api(backend="tensorrt", trt=types.SimpleNamespace(ILogger=object), version="10.16.1.11")


def test_a_package_has_one_logger_which_keeps_what_is_said(rtx_installed: None) -> None:
    api = load_api("tensorrt-rtx")
    logger = logger_of(api)
    before = logger.said

    logger.log(api.trt.ILogger.Severity.WARNING, "careful")

    assert logger is logger_of(load_api("tensorrt-rtx"))
    assert logger.since(before) == logger.lines[-1:] == [("WARNING", "careful")]


def test_a_process_that_runs_for_ever_keeps_the_last_warnings_and_errors(api: Api) -> None:
    logger = logger_of(api)
    for index in range(1_000):
        logger.log(VERBOSE, f"layer {index}")
        logger.log(WARNING, f"warning {index}")

    assert logger.lines == [("WARNING", f"warning {index}") for index in range(800, 1_000)]


def test_the_lines_since_a_mark_are_right_after_older_ones_have_gone(api: Api) -> None:
    logger = logger_of(api)
    for index in range(300):
        logger.log(WARNING, f"before {index}")
    mark = logger.said
    assert logger.since(mark) == []

    logger.log(VERBOSE, "not kept, so not counted")
    logger.log(WARNING, "after")

    assert logger.since(mark) == [("WARNING", "after")]
    assert len(logger.since(0)) == 200


def test_the_builder_keeps_what_tells_of_the_engine_and_not_the_timings(api: Api) -> None:
    logger = logger_of(api)
    logger.log(WARNING, "careful")
    assert logger_of(api, keep=is_about_the_engine) is logger
    for index in range(1_000):
        logger.log(VERBOSE, f"Tactic Name: sm80_xmma_gemm Tactic: {index} Time: 0.01")
        logger.log(WARNING, f"warning {index}")
    logger.log(VERBOSE, "Layers:\nName: fc, LayerType: gemm")
    logger.log(INFO, "Total Activation Memory: 5 bytes")

    assert logger_of(api).lines == [
        ("WARNING", "careful"),
        *(("WARNING", f"warning {index}") for index in range(1_000)),
        ("VERBOSE", "Layers:\nName: fc, LayerType: gemm"),
        ("INFO", "Total Activation Memory: 5 bytes"),
    ]
    assert len(logger.since(1)) == 1_002
