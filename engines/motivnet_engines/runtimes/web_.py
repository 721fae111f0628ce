"""ONNX Runtime Web as a ``Runtime``: a headless Chromium runs the library of an artifact's folder.

What is compared and measured is what a visitor's browser loads, its worker included.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.errors import ConfigError, RuntimeUnavailableError
from motivnet.parity import COMPUTE_DTYPES
from motivnet.runtime import Arrays, check_inputs
from motivnet_engines.browser.chromium import Chromium
from motivnet_engines.browser.site import BLANK, Site
from motivnet_engines.runtimes.signature import input_specs, output_specs

Backend = Literal["wasm", "webgpu"]

_OPEN = """async ({ backend, threads }) => {
  const { EmotionClassifier } = await import("./motivnet.js");
  const options = threads ? { backend, threads } : { backend };
  globalThis.classifier = await EmotionClassifier.open("./", options);
  return globalThis.classifier.verified.threads;
}"""
_HAS_ADAPTER = "async () => Boolean(await navigator.gpu?.requestAdapter().catch(() => null))"
_HAS_GPU = """async (feature) => {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const isGpu = adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  return Boolean(isGpu && (feature === null || adapter.features.has(feature)));
}"""
_SET_INPUT = """(text) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  globalThis.input = new Float32Array(bytes.buffer);
}"""
_RUN = """async (batch) => {
  const outputs = await globalThis.classifier._run(globalThis.input, batch);
  return Object.fromEntries(Object.entries(outputs).map(([name, values]) => [name, [...values]]));
}"""


def browser_has_gpu(artifact: Artifact) -> bool:
    """Return whether Chromium's WebGPU can run the artifact here: on a GPU, not on the processor.

    Raises:
        RuntimeUnavailableError: If there is no Chromium.
    """
    feature = "shader-f16" if artifact.manifest.precision == "fp16" else None
    with Site(artifact.folder) as site, site.in_background():
        chromium = Chromium(f"{site.url}{BLANK}")
        try:
            return bool(chromium.evaluate(_HAS_GPU, feature))
        finally:
            chromium.close()


class WebRuntime:
    """A folder for the browser, opened in Chromium by its own library.

    The library checks every file and the reference samples when it opens. The input of a call stays
    in the page while it is the same array, so that repeated calls measure the model. Each call
    takes about a millisecond more than in the page, for the way there and back.

    Args:
        artifact: The artifact to open; its folder is one for the browser.
        backend: WebAssembly or WebGPU.
        threads: Threads of WebAssembly at most; the library's choice if None.

    Raises:
        ArtifactError: If the files are not those of the folder's description.
        RuntimeUnavailableError: If there is no Chromium, it has no such backend, or the model does
            not give its reference results in it.
        ConfigError: If ``threads`` is below 1.
    """

    def __init__(self, artifact: Artifact, *, backend: Backend, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, not {threads}")
        manifest = artifact.manifest
        self.name = f"web-{backend}"
        self.compute = COMPUTE_DTYPES[manifest.precision] if backend == "webgpu" else "float32"
        self.inputs = input_specs(manifest)
        self.outputs = output_specs(manifest)
        self._input: NDArray[Any] | None = None
        with contextlib.ExitStack() as stack:
            site = stack.enter_context(Site(artifact.folder))
            stack.enter_context(site.in_background())
            chromium = Chromium(f"{site.url}{BLANK}")
            stack.callback(chromium.close)
            if backend == "webgpu" and not chromium.evaluate(_HAS_ADAPTER):
                raise RuntimeUnavailableError("Chromium offers no WebGPU adapter on this machine")
            chromium.evaluate(_OPEN, {"backend": backend, "threads": threads})
            self._open: contextlib.ExitStack | None = stack.pop_all()
        self._chromium = chromium

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return every output by name.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
            RuntimeUnavailableError: After ``close``, or if the page cannot compute.
        """
        if self._open is None:
            raise RuntimeUnavailableError(f"the {self.name} runtime is closed")
        check_inputs(inputs, self.inputs)
        array = inputs[self.inputs[0].name]
        if array is not self._input:
            text = base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
            self._chromium.evaluate(_SET_INPUT, text)
            self._input = array
        found: dict[str, list[float]] = self._chromium.evaluate(_RUN, len(array))
        return {
            spec.name: np.array(found[spec.name], np.float32).reshape(len(array), -1)
            for spec in self.outputs
        }

    def close(self) -> None:
        """End the browser and the server; a second call does nothing."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()

    def __enter__(self) -> WebRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
