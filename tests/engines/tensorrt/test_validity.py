"""Every answer of TensorRT-RTX about an engine's header, simulated; and what the real one says of damaged headers."""

from __future__ import annotations

import enum
import importlib
import logging
import types
from collections.abc import Callable
from typing import Any

import pytest

from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.validity import DIAGNOSES, check_validity


class EngineValidity(enum.Enum):
    VALID = 10
    SUBOPTIMAL = 11
    INVALID = 12


class EngineInvalidityDiagnostics(enum.IntFlag):
    """In another order than the real one, whose integers must not matter."""

    CUDA_ERROR = 1
    MALFORMED_ENGINE = 2
    INSUFFICIENT_GPU_MEMORY = 4
    OLD_CUDA_RUNTIME = 8
    OLD_CUDA_DRIVER = 16
    UNSUPPORTED_CC = 32
    VERSION_MISMATCH = 64


TRT = types.SimpleNamespace(
    EngineValidity=EngineValidity, EngineInvalidityDiagnostics=EngineInvalidityDiagnostics
)
COMBINATIONS = range(1 << len(EngineInvalidityDiagnostics))


def message(validity: EngineValidity, diagnostics: int, caplog: pytest.LogCaptureFixture) -> str:
    """What the user gets to read: the error, else the warning, else nothing."""
    caplog.clear()
    try:
        with caplog.at_level(logging.WARNING):
            check_validity(TRT, validity, diagnostics)
    except EngineError as error:
        return f"error: {error}"
    return "".join(f"warning: {record.message}" for record in caplog.records)


def test_every_combination_of_an_invalid_engine_is_an_error_with_each_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = set()
    for diagnostics in COMBINATIONS[1:]:
        text = message(EngineValidity.INVALID, diagnostics, caplog)
        names = [member.name for member in EngineInvalidityDiagnostics if diagnostics & member]
        assert text.startswith("error: the engine cannot be used here: ")
        for name, words in DIAGNOSES.items():
            assert (words in text) == (name in names)
        assert "\n" not in text
        seen.add(text)
    assert len(seen) == len(COMBINATIONS) - 1


@pytest.mark.parametrize("validity", [EngineValidity.VALID, EngineValidity.SUBOPTIMAL])
def test_every_doubt_about_a_usable_engine_is_a_warning(
    validity: EngineValidity, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {message(validity, diagnostics, caplog) for diagnostics in COMBINATIONS[1:]}
    assert len(texts) == len(COMBINATIONS) - 1
    assert all(
        text.startswith("warning: TensorRT-RTX finds the engine usable, but: ") for text in texts
    )


@pytest.mark.parametrize(
    ("validity", "expected"),
    [
        (EngineValidity.VALID, ""),
        (
            EngineValidity.SUBOPTIMAL,
            "warning: TensorRT-RTX finds the engine usable, but: it was compiled for another",
        ),
        (EngineValidity.INVALID, ""),
    ],
)
def test_without_a_reason_deserialisation_is_left_to_tell(
    validity: EngineValidity, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = message(validity, 0, caplog)
    assert text.startswith(expected)
    assert bool(text) == bool(expected)


def test_each_reason_has_words_of_its_own() -> None:
    assert len(set(DIAGNOSES.values())) == len(DIAGNOSES)


def test_reasons_that_a_later_version_adds_are_not_lost() -> None:
    later = enum.IntFlag("EngineInvalidityDiagnostics", {"MALFORMED_ENGINE": 1, "OLD_MOON": 2})
    trt = types.SimpleNamespace(EngineValidity=EngineValidity, EngineInvalidityDiagnostics=later)
    with pytest.raises(EngineError, match="TensorRT-RTX says OLD_MOON"):
        check_validity(trt, EngineValidity.INVALID, 2)
    with pytest.raises(EngineError, match="the unknown reason 4"):
        check_validity(trt, EngineValidity.INVALID, 4)


@pytest.fixture(scope="module")
def trt(rtx_installed: None) -> Any:
    """The real package, which reads headers without a GPU."""
    return importlib.import_module("tensorrt_rtx")


@pytest.fixture(scope="module")
def real_check(trt: Any) -> Callable[[bytes], None]:
    runtime = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))
    return lambda data: check_validity(
        trt, *runtime.get_engine_validity(data[: runtime.engine_header_size])
    )


def test_the_reasons_that_have_words_are_those_of_the_real_package(trt: Any) -> None:
    assert set(trt.EngineInvalidityDiagnostics.__members__) == set(DIAGNOSES)


def test_a_real_engine_passes(real_check: Any, rtx_engine: Any) -> None:
    real_check(rtx_engine("fp16").path.read_bytes())


@pytest.mark.parametrize("length", range(64))
def test_a_real_header_cut_short_is_refused(length: int, real_check: Any, rtx_engine: Any) -> None:
    with pytest.raises(
        EngineError, match="damaged or is not an engine of TensorRT-RTX; build it here"
    ):
        real_check(rtx_engine("fp16").path.read_bytes()[:length])


@pytest.mark.parametrize(
    "data",
    [bytes(64), b"\x89PNG\r\n\x1a\n" + bytes(56), b"ftrt" + bytes(60)],
    ids=["zeros", "png", "tensorrt"],
)
def test_another_header_is_refused(data: bytes, real_check: Any) -> None:
    with pytest.raises(EngineError, match="damaged or is not an engine"):
        real_check(data)


def test_a_truncated_engine_passes_by_its_header_which_is_why_the_hash_counts(
    real_check: Any, rtx_engine: Any
) -> None:
    data = rtx_engine("fp16").path.read_bytes()
    real_check(data[: len(data) // 2])
