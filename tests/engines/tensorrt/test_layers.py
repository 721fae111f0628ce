"""The layers of an engine, from the builder's log and from the inspector's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from motivnet.errors import EngineError
from motivnet_engines.build.layers import (
    CompiledLayer,
    CompiledTensor,
    dtype_of,
    layers_from_inspector,
    layers_from_log,
)

GEMM = (
    "Name: __mye78+__mye80_myl0_4, LayerType: gemm, Inputs: [ { Name: x_myl0, Dimensions: "
    "[-1,96], Strides: [96,1], StrideOrder: [1,0], Datatype: Half, Format: (Linear) Row major "
    "linear format }], Constants: [ { Name: w, Dimensions: [1,96,288], Strides: [27648,288,1], "
    "StrideOrder: [2,1,0], Datatype: Half, Format: (Linear) Row major linear format }, { Name: "
    "alpha, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) "
    "Row major linear format }], Outputs: [ { Name: y, Dimensions: [1,-1,96], Strides: "
    "[-1,288,1], StrideOrder: [2,1,0], Datatype: Half, Format: (Linear) Row major linear "
    "format }], TacticName: sm80_xmma_gemm_f16f16, StreamId: 0, Metadata: [ONNX Layer: "
    "node_MatMul_8][ONNX Layer: node_MatMul_10]"
)
ATTENTION = (
    "Name: _gemm_mha_v2_myl0_8, LayerType: kgen, Inputs: [ { Name: q, Dimensions: [-1,48,32], "
    "Strides: [32,-1,1], StrideOrder: [1,2,0], Datatype: Half, Format: (Arbitrary) Format with "
    "stride order = [1,2,0] }], Constants: [], Outputs: [], TacticName: _gemm_mha_v2_0xd4df, "
    "StreamId: 0, Metadata: [ONNX Layer: node_attention]"
)
SHAPE = (
    "Name: __mye20115_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], "
    "TacticName: , "
)
TAIL = "\n\nI/O Tensors:\n Name: image, IOMode: Input, DataType: Float, Dimensions: [-1,3,128,96]"


def logged(*entries: str) -> tuple[str, str]:
    return "VERBOSE", "Layers:\n" + "\n".join(entries) + TAIL


def layer(
    name: str = "x", kind: str = "gemm", tactic: str = "", **tensors: tuple[CompiledTensor, ...]
) -> CompiledLayer:
    inputs, constants = tensors.get("inputs", ()), tensors.get("constants", ())
    return CompiledLayer(
        name=name, kind=kind, tactic=tactic, inputs=inputs, constants=constants, origins=()
    )


def tensor(dtype: str, *shape: int) -> CompiledTensor:
    return CompiledTensor(dtype=dtype, shape=shape)


def test_the_log_lists_each_layer_with_its_tensors_and_its_nodes() -> None:
    lines = [
        ("INFO", "Layers: none"),
        logged(SHAPE + "StreamId: 0, Metadata: ", GEMM, ATTENTION),
        ("INFO", "done"),
    ]

    shape, gemm, attention = layers_from_log(lines) or ()

    assert (shape.kind, shape.role, shape.inputs, shape.origins) == ("shape_call", "other", (), ())
    assert (gemm.role, gemm.compute_dtype, gemm.tactic) == (
        "matrix",
        "float16",
        "sm80_xmma_gemm_f16f16",
    )
    assert gemm.inputs == (tensor("float16", -1, 96),)
    assert gemm.constants == (tensor("float16", 1, 96, 288), tensor("float32", 1))
    assert gemm.origins == ("node_MatMul_10", "node_MatMul_8")
    assert (attention.role, attention.compute_dtype) == ("fused-attention", "float16")


def test_of_several_engines_in_one_log_the_last_counts() -> None:
    [found] = layers_from_log([logged(GEMM, ATTENTION), logged(GEMM)]) or ()

    assert found.kind == "gemm"


def test_a_log_without_the_list_gives_none() -> None:
    assert layers_from_log([("VERBOSE", "Total Activation Memory: 5 bytes")]) is None


@pytest.mark.parametrize(
    ("name", "kind", "tactic", "role"),
    [
        ("node_Conv_302_myl0_2", "correlation", "", "matrix"),
        ("conv1 + relu", "CaskConvolution", "", "matrix"),
        ("fc", "FullyConnected", "", "matrix"),
        ("qk", "MatrixMultiply", "", "matrix"),
        ("__myl_FcAddRelu_myl0_59", "runtime_fusion", "", "matrix"),
        ("__myl_Fc_myl0_59", "fusion", "", "matrix"),
        ("__myl_CastReplConc_myl0_1", "kgen", "", "other"),
        ("__myl_MaxrSubExpSumDivMul_myl0_8", "kgen", "", "other"),
        ("_gemm_mha_v2_myl0_8", "kgen", "", "fused-attention"),
        ("_gemv_mha_v1_myl0_8", "kgen", "", "fused-attention"),
        ("layer7", "kgen", "fmha_v2_flash_attention_fp16_64_32_S_qkv_64_sm86", "fused-attention"),
        ("node_scaled_dot_product_attention_myl0_10", "gemm", "__myelin_CASK_STUB", "matrix"),
        ("node_scaled_dot_product_attention_myl0_10", "kgen", "", "other"),
        ("Reformatting CopyNode for Input Tensor 0", "Reformat", "", "other"),
    ],
)
def test_the_role_is_told_by_the_kind_and_the_kernel_and_never_by_the_nodes_own_name(
    name: str, kind: str, tactic: str, role: str
) -> None:
    assert layer(name, kind, tactic).role == role


HALF, UNKNOWN = tensor("float16", -1, 96), tensor("unknown", -1, 96)


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        # A residual in FP32 that is added in the same kernel does not make the product one in FP32.
        (
            layer(
                inputs=(tensor("float32", -1, 96), tensor("float16", -1, 96)),
                constants=(tensor("float16", 96, 384),),
            ),
            "float16",
        ),
        (layer(inputs=(HALF,), constants=(tensor("float32", 96, 384),)), "float32"),
        (layer(inputs=(HALF,), constants=(tensor("float32", 1),)), "float16"),
        (layer(inputs=(UNKNOWN,), tactic="sm80_xmma_gemm_f16f16_f16f16_f16_nn_n"), "float16"),
        (layer(inputs=(UNKNOWN,), tactic="ampere_h16816gemm_256x128_ldg8_nn_v1"), "float16"),
        (layer(tactic="sm80_xmma_gemm_bf16bf16_bf16f32_f32"), "bfloat16"),
        (layer(tactic="sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32"), "int8"),
        (layer(tactic="sm80_xmma_gemm_f32f32_tf32f32_f32"), "float32"),
        (layer(inputs=(UNKNOWN,)), "unknown"),
    ],
)
def test_a_product_computes_in_the_dtype_of_its_weights(found: CompiledLayer, dtype: str) -> None:
    assert found.compute_dtype == dtype


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("Row major linear FP16 format", "float16"),
        ("Channel major FP16 format where channel % 8 == 0", "float16"),
        ("Half(64,1:8,...)", "float16"),
        ("Float", "float32"),
        ("BFloat16", "bfloat16"),
        ("BF16", "bfloat16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("UInt8", "uint8"),
        ("FP8", "float8e4m3fn"),
        ("N/A due to dynamic shapes", "unknown"),
        ("(Linear) Row major linear format", "unknown"),
    ],
)
def test_dtypes_are_read_from_tensorrts_descriptions(text: str, dtype: str) -> None:
    assert dtype_of(text) == dtype


def inspected(keys: dict[str, str], **more: Any) -> dict[str, Any]:
    described = {"Name": "t", "Dimensions": [-1, 96], **keys}
    return {
        "Name": "fc1",
        "LayerType": "gemm",
        "Inputs": [described],
        "Outputs": [described],
        **more,
    }


@pytest.mark.parametrize(
    "document",
    [
        {"Layers": [inspected({"Format/Datatype": "Half"})], "Bindings": ["image", "logits"]},
        {
            "Layers": [inspected({"Datatype": "Half", "Format": "Linear"})],
            "I/O Tensors": [{"Name": "image"}],
        },
        {
            "Layers": [inspected({"DataType": "FP16", "Format": "LINEAR"})],
            "I/O Tensors": [{"Name": "image"}],
        },
        {
            "Layers": [
                inspected(
                    {"Format/Datatype": "N/A due to dynamic shapes"},
                    Weights={"Type": "Half", "Count": 9},
                )
            ]
        },
    ],
)
def test_the_inspectors_json_is_read_of_either_version(document: dict[str, Any]) -> None:
    [found] = layers_from_inspector(json.dumps(document))

    assert (found.name, found.role, found.compute_dtype) == ("fc1", "matrix", "float16")


def test_control_characters_between_the_nodes_of_a_fused_layer_are_read() -> None:
    entry = json.dumps(
        inspected({"Datatype": "Half"}, Metadata="[ONNX Layer: a]@[ONNX Layer: b]")
    ).replace("@", "\x1e")

    [found] = layers_from_inspector(f'{{"Layers": [{entry}]}}')

    assert found.origins == ("a", "b")


def test_an_entry_without_any_of_the_keys_is_a_layer_of_no_role() -> None:
    [found] = layers_from_inspector('{"Layers": [{"Inputs": "x", "Outputs": null, "Weights": 3}]}')

    assert (found.role, found.compute_dtype) == ("other", "unknown")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON"),
        ("[]", "no list of layers"),
        ('{"Layers": "none"}', "no list of layers"),
        ('{"Layers": ["fc1 + relu", "softmax"]}', "detailed profiling verbosity"),
    ],
)
def test_json_that_proves_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EngineError, match=problem):
        layers_from_inspector(text)
