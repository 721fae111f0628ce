from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.reference import reference_of_artifact
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.runtimes.inputs import input_from_pixels
from motivnet_engines.serving.batching import Batching, batching_for, exact_size


class RoundingRuntime(FakeRuntime):
    """Whose last bits depend on the size of the batch from ``first`` images on, as another kernel's would."""

    first = 2

    def run(self, inputs: Any) -> dict[str, np.ndarray]:
        outputs = super().run(inputs)
        size = len(next(iter(inputs.values())))
        scale = np.float32(1 + 2**-20) if size >= self.first else np.float32(1)
        return {name: array * scale for name, array in outputs.items()}


def inputs_of(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    height, width = fake_manifest().input.recipe.size
    return [generator.standard_normal((3, height, width)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize(("first", "exact"), [(2, 1), (5, 4), (9, 8)])
def test_batches_are_as_large_as_every_smaller_one_is_exact(first: int, exact: int) -> None:
    runtime = RoundingRuntime(fake_manifest())
    runtime.first = first
    assert exact_size(EmotionClassifier(runtime, fake_manifest()), inputs_of(3), largest=8) == exact


def test_one_row_of_a_batch_that_differs_is_enough() -> None:
    class LastRow(FakeRuntime):
        def run(self, inputs: Any) -> dict[str, np.ndarray]:
            outputs = super().run(inputs)
            if len(outputs["logits"]) > 2:
                outputs["logits"][-1] *= np.float32(1 + 2**-20)
            return outputs

    classifier = EmotionClassifier(LastRow(fake_manifest()), fake_manifest())
    assert exact_size(classifier, inputs_of(3), largest=8) == 2


def test_a_difference_in_the_embedding_alone_counts() -> None:
    class Embedding(RoundingRuntime):
        def run(self, inputs: Any) -> dict[str, np.ndarray]:
            return {**FakeRuntime.run(self, inputs), "embedding": super().run(inputs)["embedding"]}

    classifier = EmotionClassifier(Embedding(fake_manifest()), fake_manifest())
    assert exact_size(classifier, inputs_of(3), largest=8) == 1


def test_what_is_not_proven_in_time_is_not_used() -> None:
    classifier = EmotionClassifier(FakeRuntime(fake_manifest()), fake_manifest())
    assert exact_size(classifier, inputs_of(3), largest=8, seconds=0) == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_real_runtime_is_batched_only_as_far_as_no_bit_changes(
    request: pytest.FixtureRequest, precision: str, runtime: str
) -> None:
    folder: Path = request.getfixturevalue(f"{precision}_artifact")
    artifact = open_artifact(folder)
    pixels = reference_of_artifact(artifact).pixels
    inputs = list(input_from_pixels(artifact.manifest.input, pixels))
    with EmotionClassifier.open(folder, runtime=runtime, threads=1) as classifier:
        batching = batching_for(classifier, artifact)
        assert batching.bit_exact
        alone = [classifier.classify([array])[0] for array in inputs]
        for size in range(1, batching.max_size + 1):
            chosen = [place % len(inputs) for place in range(size)]
            batch = classifier.classify([inputs[index] for index in chosen])
            assert [face.to_dict() for face in batch] == [
                alone[index].to_dict() for index in chosen
            ]


def test_a_gpu_batches_anyway_and_says_so(
    fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(fp32_artifact)
    runtime = RoundingRuntime(artifact.manifest)
    classifier = EmotionClassifier(runtime, artifact.manifest)
    assert batching_for(classifier, artifact) == Batching(max_size=1, bit_exact=True)
    runtime.name = "tensorrt"
    monkeypatch.setattr("motivnet_engines.serving.batching.profile_of", lambda *_: None)
    assert batching_for(classifier, artifact, max_batch=4) == Batching(max_size=4, bit_exact=False)


def test_smaller_batches_than_asked_for_are_warned_of_with_the_reason(
    fp32_artifact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = open_artifact(fp32_artifact)
    largest = artifact.manifest.max_batch
    classifier = EmotionClassifier(RoundingRuntime(artifact.manifest), artifact.manifest)
    assert batching_for(classifier, artifact, max_batch=64) == Batching(max_size=1)
    assert [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ] == [
        f"batches of 64 are asked for, but the artifact takes at most {largest}",
        "fake is bit-equal to single images up to a batch of 1 here, so larger ones are not used",
    ]


def test_without_reference_inputs_nothing_is_batched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = Artifact(folder=tmp_path, manifest=fake_manifest())
    classifier = EmotionClassifier(FakeRuntime(artifact.manifest), artifact.manifest)
    with caplog.at_level(logging.WARNING):
        assert batching_for(classifier, artifact) == Batching(max_size=1)
    assert "no reference inputs" in caplog.text
