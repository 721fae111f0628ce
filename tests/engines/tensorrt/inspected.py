"""Layers as TensorRT's inspector describes them, one document for each version and GPU.

Each is modelled on a public log, which is named, with names and sizes of this model: the keys,
the kinds, the kernels' names and what is missing are the log's. No log of a fused product with its
residual in front is public; those rows say so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

_ISSUES = "https://github.com/NVIDIA/TensorRT/issues/"
GEMM_16 = "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6_warpsize2x2x1"
LAYER_NORM = "__myl_FcAddCastMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl0_9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A document, and what is to be read in it."""

    name: str
    source: str
    layers: list[dict[str, Any]]
    dtypes: dict[str, int]
    fused: int | None = None
    doubts: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        return json.dumps({"Layers": self.layers, "Bindings": ["image", "logits"]})


def entry(
    name: str,
    kind: str,
    *inputs: tuple[str, list[int]],
    tactic: str = "",
    nodes: str = "",
    key: str = "Format/Datatype",
    **more: Any,
) -> dict[str, Any]:
    tensors = [{"Name": "t", "Dimensions": sides, key: dtype} for dtype, sides in inputs]
    metadata = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes.split())
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": tensors,
        "Outputs": [],
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": metadata,
        **more,
    }


HALF, FLOAT = ("Half", [1, 48, 96]), ("Float", [1, 48, 96])
ATTENTION = entry("_gemm_mha_v2_myl0_17", "kgen", HALF, HALF, HALF, nodes="attention")
OTHERS = [entry(f"fc_{index}", "gemm", HALF, tactic=GEMM_16) for index in range(2)]

INSPECTED = (
    Inspected(
        name="10.10 on A100: one input per product, no constants, attention in one kernel",
        source=f"{_ISSUES}4397",
        layers=[
            entry("key+query+value_myl0_16", "gemm", HALF, tactic=GEMM_16, nodes="qkv"),
            entry(
                "_gemm_mha_v2_myl0_17",
                "kgen",
                HALF,
                HALF,
                HALF,
                tactic="_gemm_mha_v2_0x957a2fe283f77dcf",
                nodes="attention",
            ),
            entry(
                "__myl_Fc_myl0_69",
                "fusion",
                HALF,
                tactic=f"{GEMM_16}_by_fusion_tactic",
                nodes="fc1 gelu",
            ),
            entry("__myl_AddCastMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl0_68", "kgen", HALF),
        ],
        dtypes={"float16": 3},
        fused=1,
    ),
    Inspected(
        name="10.1 on a desktop: products of Cask with their weights, and a reformat",
        source=f"{_ISSUES}4020",
        layers=[
            entry(
                "Reformatting CopyNode for Input Tensor 0 to conv0",
                "Reformat",
                ("Row major linear FP32", [1, 3, 128, 96]),
                TacticValue="0x00000000000003e8",
            ),
            entry(
                "conv0",
                "CaskConvActPool",
                ("Row major linear FP16 format", [1, 3, 128, 96]),
                Weights={"Type": "Half", "Count": 9408},
            ),
        ],
        dtypes={"float16": 1},
    ),
    Inspected(
        name="9.2 on A100: an attention as products with scalars in FP32, and waits",
        source=f"{_ISSUES}3665",
        layers=[
            entry("__mye6916", "wait"),
            entry(
                "__mye6723", "gemm", HALF, HALF, ("Float", [1]), ("Float", [1]), nodes="attention"
            ),
            entry("__mye6918", "signal"),
        ],
        dtypes={"float16": 1},
        fused=0,
    ),
    Inspected(
        name="11: dtype and format are two keys",
        source="migration guide of TensorRT 11, Python API",
        layers=[ATTENTION, entry("fc", "gemm", HALF, nodes="fc1", key="Datatype")],
        dtypes={"float16": 2},
        fused=1,
    ),
    Inspected(
        name="a fused product that lists its FP32 residual first (no public log)",
        source="constructed",
        layers=[
            ATTENTION,
            entry(LAYER_NORM, "fusion", FLOAT, HALF, nodes="proj add norm"),
            *OTHERS,
        ],
        dtypes={"float16": 4},
        fused=1,
    ),
    Inspected(
        name="the same, residual second (no public log)",
        source="constructed",
        layers=[
            ATTENTION,
            entry(LAYER_NORM, "fusion", HALF, FLOAT, nodes="proj add norm"),
            *OTHERS,
        ],
        dtypes={"float16": 4},
        fused=1,
    ),
    Inspected(
        name="a fused cast in front lists FP32 alone, its kernel says half (no public log)",
        source="constructed",
        layers=[
            ATTENTION,
            entry("__myl_CastFcAdd_myl0_9", "fusion", FLOAT, tactic=GEMM_16, nodes="cast proj"),
            *OTHERS,
        ],
        dtypes={"float16": 4},
        fused=1,
    ),
    Inspected(
        name="a fused cast in front lists FP32 alone and its kernel is generated (no public log)",
        source="constructed",
        layers=[
            ATTENTION,
            entry("__myl_CastFcAdd_myl0_9", "fusion", FLOAT, tactic="0x12", nodes="cast proj"),
            *OTHERS,
        ],
        dtypes={"float16": 3, "float32": 1},
        fused=1,
    ),
    Inspected(
        name="a kernel of Blackwell (name as in FlashInfer; no public log of TensorRT)",
        source="https://github.com/flashinfer-ai/flashinfer",
        layers=[entry("fmhaSm100aKernel_QkvE4m3", "kgen", HALF, nodes="attention"), *OTHERS],
        dtypes={"float16": 3},
        fused=1,
    ),
    Inspected(
        name="an attention under a name that nobody knows (no public log)",
        source="constructed",
        layers=[
            entry("__myl_AddReshTran_myl0_3", "kgen", HALF, nodes="qkv attention"),
            entry("brand_new_kernel_myl0_8", "kgen", HALF, nodes="attention"),
            *OTHERS,
        ],
        dtypes={"float16": 2},
        fused=None,
        doubts=(
            "none of the kernels of attention is known as fused attention or as a product: "
            "__myl_AddReshTran_myl0_3, brand_new_kernel_myl0_8",
        ),
    ),
    Inspected(
        name="an attention as products, of a head size without a kernel",
        source="TensorRT-RTX 1.7.1 with TRT_decomposable, in FP32",
        layers=[
            entry("__fc80319_myl0_7", "gemm", HALF, HALF, nodes="attention"),
            entry("__myl_MaxrSubExpSumDivMul_myl0_8", "kgen", HALF, nodes="attention"),
            entry("__fc80334_myl0_10", "gemm", HALF, HALF, nodes="attention"),
            *OTHERS,
        ],
        dtypes={"float16": 4},
        fused=0,
    ),
    Inspected(
        name="a product of an unknown kind, and one whose dtype is not told (no public log)",
        source="constructed",
        layers=[
            ATTENTION,
            entry("tile_op_4", "nvtile", HALF, nodes="fc1"),
            entry("fc", "gemm", ("N/A due to dynamic shapes", []), nodes="fc2"),
            *OTHERS,
        ],
        dtypes={"float16": 3, "unknown": 1},
        fused=1,
        doubts=(
            "the dtype of 1 products is not told: fc",
            "kernels of an unknown kind were made from products: tile_op_4 (nvtile)",
        ),
    ),
)
