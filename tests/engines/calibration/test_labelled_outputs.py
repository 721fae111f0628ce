"""The outputs of a model for folders of labelled images."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from motivnet.datasets.class_folders import read_class_folders
from motivnet.errors import ArtifactError
from motivnet_engines.calibration.labelled_outputs import compute_outputs
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.runtimes.signature import batch_from_images


def fill(folder: Path, names: list[str]) -> Path:
    """Pictures of one colour each, which the fake runtime tells apart."""
    for number, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number * 20 % 256, number * 7 % 256, number * 3 % 256)).save(
            path
        )
    return folder


def test_outputs_are_those_of_the_runtime_in_order(tmp_path: Path) -> None:
    manifest = fake_manifest()
    names = [f"{label}/{number}.png" for label in manifest.labels for number in range(5)]
    images = read_class_folders(fill(tmp_path, names), labels=manifest.labels)
    shares: list[float] = []
    with EmotionClassifier(FakeRuntime(manifest), manifest) as classifier:
        [found] = compute_outputs(
            classifier, [images], labels=manifest.labels, on_share=shares.append
        )
        pixels = [np.asarray(Image.open(path)) for paths in images.paths.values() for path in paths]
        expected = classifier.runtime.run({"image": batch_from_images(manifest.input, pixels)})
    assert [manifest.labels[place] for place in found.classes] == [
        label for label in images.paths for _ in range(5)
    ]
    np.testing.assert_allclose(found.logits, expected["logits"], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.embedding, expected["embedding"])
    assert shares == [1 / 35] * 35
    assert found.counts() == dict.fromkeys(manifest.labels, 5)


def test_a_model_without_an_embedding_is_refused(tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(fake_manifest(), outputs=("logits",))
    images = read_class_folders(fill(tmp_path, ["neutral/a.png"]), labels=manifest.labels)
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
    with pytest.raises(ArtifactError, match="the artifact gives no embedding"):
        compute_outputs(classifier, [images], labels=manifest.labels)
