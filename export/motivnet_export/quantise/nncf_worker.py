"""Run in its own process: NNCF writes Q/DQ pairs into an ONNX graph.

In its own process, because NNCF prints progress, patches PyTorch and needs several times the memory
of the graph, which is given back at the end.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import onnx
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
)

_OFF = AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)


def main(job_file: str) -> int:
    """Run the job in a JSON file; write ``version`` or ``error`` to the file that it names."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    try:
        _quantise(job)
        answer = {"version": version("nncf")}
    except Exception as error:  # noqa: BLE001 - reported by the parent process
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path(job["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if "error" in answer else 0


def _quantise(job: dict[str, Any]) -> None:
    images = np.load(job["images"], allow_pickle=False)
    parameters = AdvancedQuantizationParameters()
    if not job["smooth_quant"]:
        parameters.smooth_quant_alphas = _OFF
    quantised = nncf.quantize(
        onnx.load(job["source"]),
        nncf.Dataset(
            [images[index : index + 1] for index in range(len(images))],
            lambda image: {job["input"]: image},
        ),
        # Weights symmetric, activations with a zero point: those behind a GELU are one-sided.
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(images),
        # Of its own choice NNCF also quantises operands of attention, which OpenVINO then may not
        # compute in one layer.
        ignored_scope=nncf.IgnoredScope(names=job["left_out"]),
        advanced_parameters=parameters,
    )
    onnx.save(quantised, job["target"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
