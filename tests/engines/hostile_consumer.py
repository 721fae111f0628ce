"""A program that opens folders with one user of artifacts, and prints its errors and memory."""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import MotivNetError
from motivnet_engines.system.machine import memory_from_meminfo, process_status

MODULES = {
    "build-engine": ("motivnet_engines.build.engine_artifact", "tensorrt_rtx"),
    "inspect": ("motivnet_export.verify",),
    "onnxruntime": ("motivnet_engines.runtimes.onnxruntime_",),
    "openvino": ("motivnet_engines.runtimes.openvino_",),
    "openvino-bf16": ("motivnet_engines.runtimes.openvino_",),
    "serve": ("motivnet_engines.serving.http.server", "motivnet_engines.runtimes.openvino_"),
    "triton": ("motivnet_engines.serving.triton.export",),
    "verify": (
        "motivnet_engines.verification.parity_run",
        "motivnet_engines.runtimes.onnxruntime_",
    ),
}
"""What each one imports, before its memory is limited."""


def use(consumer: str, artifact: Artifact) -> object:
    module = importlib.import_module(MODULES[consumer][0])
    if consumer == "build-engine":
        options = importlib.import_module("motivnet_engines.build.options").EngineOptions(
            backend="tensorrt-rtx"
        )
        return module.build_engine(artifact, options, out=None, on_message=lambda _: None)
    if consumer == "inspect":
        return module.check_graph(artifact)
    if consumer == "verify":
        return module.verify_on_device(artifact, runtimes=["onnxruntime"])
    if consumer == "triton":
        return module.export_triton(
            artifact, artifact.folder.with_name(f"{artifact.folder.name}.triton")
        )
    if consumer == "serve":
        settings = importlib.import_module("motivnet_engines.serving.settings").ServeSettings(
            port=0
        )
        return module.open_service(artifact.folder, settings)
    from motivnet_engines.runtimes.registry import open_backend

    with open_backend(consumer, artifact, threads=1) as runtime:
        import numpy as np

        return (
            runtime.run({"image": np.zeros((1, 3, 128, 96), np.float32)})["logits"].tobytes().hex()
        )


def main() -> None:
    consumer, extra, *folders = sys.argv[1:]
    for name in MODULES[consumer]:
        importlib.import_module(name)
    limit = (memory_from_meminfo(process_status(), "VmSize") or 0) + int(extra)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for folder in folders:
        started = time.monotonic()
        try:
            said = f"accepted: {use(consumer, open_artifact(Path(folder)))}"
        except MotivNetError as error:
            said = f"{type(error).__name__}: {error}"
        took = {
            "seconds": time.monotonic() - started,
            "peak": memory_from_meminfo(process_status(), "VmHWM"),
        }
        sys.stdout.write(json.dumps({"folder": Path(folder).name, "said": said, **took}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
