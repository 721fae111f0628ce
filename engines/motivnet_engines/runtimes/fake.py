"""A runtime without a model, for tests of this toolkit and of programs that use it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import (
    FileEntry,
    GraphSummary,
    InputDtype,
    InputEntry,
    Manifest,
    Source,
)
from motivnet.config import ModelConfig
from motivnet.errors import RuntimeUnavailableError
from motivnet.labels import labels_for
from motivnet.parity import ParityReport
from motivnet.preprocess import Preprocessing
from motivnet.runtime import Arrays, TensorSpec, check_inputs
from motivnet_engines.runtimes.signature import input_specs, output_specs


class FakeRuntime:
    """Outputs of the right names and shapes that depend only on mean colours and a seed.

    An image has the same outputs in any batch. ``calls`` holds the arrays of every call, in order.

    Example:
        >>> manifest = fake_manifest()
        >>> classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
    """

    def __init__(self, manifest: Manifest, *, seed: int = 0) -> None:
        self.name = "fake"
        self.compute = "float32"
        self.inputs: tuple[TensorSpec, ...] = input_specs(manifest)
        self.outputs: tuple[TensorSpec, ...] = output_specs(manifest)
        self.calls: list[dict[str, NDArray[Any]]] = []
        self.closed = False
        generator = np.random.default_rng(seed)
        self._projections = {
            spec.name: generator.standard_normal((3, spec.shape[1] or 0)) for spec in self.outputs
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the mean colours ``(batch, 3)`` times one fixed random matrix per output.

        Raises:
            InputError: If the arrays do not fit ``inputs``.
            RuntimeUnavailableError: After ``close``.
        """
        if self.closed:
            raise RuntimeUnavailableError("the fake runtime is closed; open the artifact again")
        check_inputs(inputs, self.inputs)
        self.calls.append(dict(inputs))
        array = inputs[self.inputs[0].name]
        colours = array.mean(axis=(1, 2) if array.dtype == np.uint8 else (2, 3), dtype=np.float64)
        return {
            name: (colours @ matrix).astype(np.float32)
            for name, matrix in self._projections.items()
        }

    def close(self) -> None:
        """Make every later call fail; a second call does nothing."""
        self.closed = True

    def __enter__(self) -> FakeRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fake_manifest(
    config: ModelConfig | None = None,
    *,
    preprocessing: str = "stretch",
    dtype: InputDtype = "float32",
    max_batch: int = 8,
) -> Manifest:
    """Return a valid manifest of a model that does not exist, by default of the ``tiny`` size."""
    config = config or ModelConfig.named("tiny")
    return Manifest(
        kind="onnx",
        model="model.onnx",
        files=(FileEntry(path="model.onnx", size=0, sha256="0" * 64),),
        input=InputEntry(
            name="image",
            dtype=dtype,
            preprocessing=Preprocessing.named(preprocessing, size=config.encoder.image_size),
        ),
        outputs=("logits", "embedding"),
        labels=labels_for(config.decoder.num_classes),
        max_batch=max_batch,
        precision="fp32",
        requested_precision="fp32",
        attention="decomposed",
        source=Source(
            checkpoint=None, sha256=None, random_weights=True, fresh_head=False, config=config
        ),
        graph=GraphSummary(opset=23, nodes=0, attention_nodes=0, compute_nodes={}, weight_bytes={}),
        parity=ParityReport(
            passed=False, images=0, image_source="none", comparisons=(), activations=(), warnings=()
        ),
    )
