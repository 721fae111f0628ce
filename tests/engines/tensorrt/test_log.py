"""What is kept of TensorRT's log."""

from __future__ import annotations

import types

import pytest

from motivnet_engines.runtimes.tensorrt import log
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of, tail_of, tail_of_output

WARNING, VERBOSE = types.SimpleNamespace(name="WARNING"), types.SimpleNamespace(name="VERBOSE")


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


def test_the_builder_keeps_all_from_when_it_asks(api: Api) -> None:
    logger = logger_of(api)
    logger.log(WARNING, "careful")
    assert logger_of(api, keep_all=True) is logger
    for index in range(1_000):
        logger.log(VERBOSE, f"layer {index}")

    assert logger_of(api).lines == [
        ("WARNING", "careful"),
        *(("VERBOSE", f"layer {index}") for index in range(1_000)),
    ]
    assert len(logger.since(1)) == 1_000
