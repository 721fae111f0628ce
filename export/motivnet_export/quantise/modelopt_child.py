"""Run by ModelOpt's own Python, not imported: writes Q/DQ pairs into an ONNX graph.

Nothing of this project can be imported here. Packages that the environment does not have (PyTorch,
NumPy) come from the environment of the export, whose folders are last in the search path.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(job_file: str) -> int:
    """Run the job in a JSON file; write ``version`` or ``error`` to the file that it names."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    sys.path.extend(job["borrowed"])
    try:
        answer = {"version": _quantise(job)}
    except Exception as error:  # noqa: BLE001 - reported by the parent process
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path(job["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if "error" in answer else 0


def _quantise(job: dict[str, Any]) -> str:
    """Write the quantised graph; return the version of ModelOpt."""
    _free_activations_early()
    modelopt = importlib.import_module("modelopt.onnx.quantization")
    numpy = importlib.import_module("numpy")
    modelopt.quantize(
        job["source"],
        quantize_mode=job["mode"],
        calibration_data={job["input"]: numpy.load(job["images"], allow_pickle=False)},
        calibration_method="max",
        calibration_eps=["cpu"],
        nodes_to_quantize=job["nodes"],
        disable_mha_qdq=True,  # only the nodes named
        enable_gemv_detection_for_trt=False,  # would hold every product's result in memory
        high_precision_dtype="fp32",  # as it is: FP16 is in the graph already
        use_external_data_format=job["external_data"],
        output_path=job["target"],
        log_level="WARNING",
    )
    return version("nvidia-modelopt")


def _free_activations_early() -> None:
    """Make ONNX Runtime reduce each activation to its range as soon as it is computed.

    In the default order all the ranges come last and every activation stays in memory until then:
    10.1 GB instead of 6.2 GB for one image of sapiens-0.3b, and more with each image.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    opened = onnxruntime.InferenceSession.__init__

    def open_by_priority(session: Any, *args: Any, **options: Any) -> None:
        if options.get("sess_options") is not None:
            options["sess_options"].execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        opened(session, *args, **options)

    onnxruntime.InferenceSession.__init__ = open_by_priority


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
