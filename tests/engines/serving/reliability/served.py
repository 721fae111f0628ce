"""A service to be measured: ``motivnet serve`` itself, or a runtime whose speed, or leak, the
measurement chooses.

Reads its options as JSON from the command line and prints the address.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import Manifest
from motivnet.runtime import Arrays
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.http.app import create_app
from motivnet_engines.serving.http.server import (
    HttpService,
    bind_socket,
    open_service,
    start_listening,
)
from motivnet_engines.serving.logs import configure_logging
from motivnet_engines.serving.settings import ServeSettings


class PacedRuntime(FakeRuntime):
    """Takes a time per image, keeps no record of its calls, and leaks some bytes if told to."""

    def __init__(self, manifest: Manifest, *, ms_per_image: float, leak: int) -> None:
        super().__init__(manifest)
        self._seconds = ms_per_image / 1e3
        self._leak = leak
        self._lost: list[bytes] = []

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        outputs = super().run(inputs)
        self.calls.clear()
        size = len(next(iter(outputs.values())))
        if self._seconds:
            time.sleep(self._seconds * size)
        if self._leak:
            self._lost.extend(bytes(self._leak) for _ in range(size))
        return outputs


def service_from(options: dict[str, Any]) -> HttpService:
    settings = ServeSettings(port=0, **options.get("settings", {}))
    if options.get("artifact"):
        runtime = options.get("runtime", "openvino")
        return open_service(Path(options["artifact"]), settings, runtime=runtime, threads=1)
    manifest = fake_manifest()
    runtime = PacedRuntime(
        manifest, ms_per_image=options.get("ms_per_image", 0), leak=options.get("leak", 0)
    )
    classifier = EmotionClassifier(runtime, manifest)
    batching = Batching(
        max_size=options.get("max_batch", 8), image_seconds=options.get("ms_per_image", 0) / 1e3
    )
    app = create_app(classifier, settings, name="paced", batching=batching)
    listener = bind_socket(settings)
    start_listening(listener)
    return HttpService(classifier=classifier, app=app, listener=listener, settings=settings)


if __name__ == "__main__":
    configure_logging(sys.stderr)
    service = service_from(json.loads(sys.argv[1]))
    sys.stdout.write(f"{service.url}\n")
    sys.stdout.flush()
    service.run()
