from __future__ import annotations

from typing import Any

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.build import backend
from motivnet_engines.build.options import EngineOptions
from motivnet_export.request import BuildRequest, engine_for_target

RTX = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "--max-batch must be between"),
        ({"max_batch": 5000}, "--max-batch must be between"),
        ({"num_images": 0}, "--num-images must be between 1 and 1,000, not 0"),
        ({"num_images": 1001}, "--num-images must be between"),
        ({"precision": "fp16", "calibration_images": "."}, "is for INT8 and FP8, not for fp16"),
        ({"precision": "fp8", "for_openvino": True}, "OpenVINO computes no FP8 on a CPU"),
        ({"purpose": " "}, "--purpose is one line of text"),
        ({"purpose": "a\nb"}, "--purpose is one line of text"),
        ({"purpose": "x" * 501}, "--purpose has at most 500 characters, not 501"),
    ],
)
def test_request_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BuildRequest(**options)


def test_only_an_engine_is_tried_with_both_forms_of_attention() -> None:
    assert BuildRequest().attention_forms("fp32") == ("decomposed",)
    assert BuildRequest().attention_forms("fp16") == ("fused",)
    assert BuildRequest(engine=RTX).attention_forms("fp16") == ("fused", "decomposed")
    assert BuildRequest(engine=RTX, attention="fused").attention_forms("bf16") == ("fused",)


def test_target_names_give_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_for_target("onnx", sm=None) is None
    assert engine_for_target("openvino", sm=None) is None
    assert engine_for_target("tensorrt", sm=None) == EngineOptions(backend="tensorrt")
    assert engine_for_target("tensorrt-rtx", sm="8.6") == RTX
    monkeypatch.setattr(backend, "_loads", lambda name: True)
    monkeypatch.setattr(backend, "capabilities_here", lambda: ("90",))
    assert engine_for_target("auto", sm=None) == EngineOptions(backend="tensorrt")
    monkeypatch.setattr(backend, "_loads", lambda name: name == "tensorrt-rtx")
    assert engine_for_target("auto", sm=None) is None, "TensorRT-RTX has no code for Hopper"
    monkeypatch.setattr(backend, "capabilities_here", lambda: ("86",))
    assert engine_for_target("auto", sm=None) == EngineOptions(backend="tensorrt-rtx")
    monkeypatch.setattr(backend, "_loads", lambda name: False)
    assert engine_for_target("auto", sm=None) is None
