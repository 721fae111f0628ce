"""Folders of labelled images, and what a model says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivnet.errors import ArtifactError, DatasetError
from motivnet_engines.calibration.labelled_images import labelled_images, outputs_of_images
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.runtimes.inputs import batch_from_images

LABELS = ("neutral", "happiness")


def fill(folder: Path, names: list[str]) -> Path:
    """Pictures of one colour each, which the fake runtime tells apart."""
    for number, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number * 20 % 256, number * 7 % 256, number * 3 % 256)).save(
            path
        )
    return folder


def test_classes_are_found_in_any_case_and_other_things_are_not_looked_at(tmp_path: Path) -> None:
    fill(
        tmp_path,
        ["Neutral/b.png", "Neutral/a.JPG", "happiness/c.webp", ".hidden/d.png", "happiness/.e.png"],
    )
    (tmp_path / "README").write_text("a dataset")
    (tmp_path / "Neutral" / "list.txt").write_text("a.JPG b.png")
    found = labelled_images(tmp_path, labels=LABELS)
    assert {label: [path.name for path in paths] for label, paths in found.paths.items()} == {
        "neutral": ["a.JPG", "b.png"],
        "happiness": ["c.webp"],
    }


def test_an_emotion_that_the_model_lacks_is_left_out_and_named(tmp_path: Path) -> None:
    found = labelled_images(fill(tmp_path, ["neutral/a.png", "contempt/b.png"]), labels=LABELS)
    assert (list(found.paths), found.skipped) == (["neutral"], ("contempt",))


def test_any_name_is_a_class_where_none_are_given(tmp_path: Path) -> None:
    assert list(
        labelled_images(fill(tmp_path, ["Schadenfreude/a.png", "boredom/b.png"])).paths
    ) == [
        "Schadenfreude",
        "boredom",
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["a.png"],
            "holds no class folders; put the images of each class into a folder of its name",
        ),
        (
            ["neutral/a.png", "Neutral/b.png"],
            "holds two folders of the class neutral; put their images into one",
        ),
        (
            ["neutral/a.png", "happy/b.png"],
            "happy is not called as a class of the model; give .* neutral, happiness",
        ),
        (["neutral/.a.png"], "neutral holds no image"),
    ],
)
def test_a_folder_that_does_not_do_says_what_to_do(
    names: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=message):
        labelled_images(fill(tmp_path, names), labels=LABELS)


def test_outputs_are_those_of_the_runtime_in_order(tmp_path: Path) -> None:
    manifest = fake_manifest()
    names = [f"{label}/{number}.png" for label in manifest.labels for number in range(5)]
    images = labelled_images(fill(tmp_path, names), labels=manifest.labels)
    seen: list[int] = []
    with EmotionClassifier(FakeRuntime(manifest), manifest) as classifier:
        found = outputs_of_images(
            classifier, images, labels=manifest.labels, on_image=lambda: seen.append(1)
        )
        pixels = [np.asarray(Image.open(path)) for paths in images.paths.values() for path in paths]
        expected = classifier.runtime.run({"image": batch_from_images(manifest.input, pixels)})
    assert [manifest.labels[place] for place in found.classes] == [
        label for label in images.paths for _ in range(5)
    ]
    np.testing.assert_allclose(found.logits, expected["logits"], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.embedding, expected["embedding"])
    assert sum(seen) == 35
    assert found.counts() == dict.fromkeys(manifest.labels, 5)


def test_a_model_without_an_embedding_is_refused(tmp_path: Path) -> None:
    manifest = dataclasses.replace(fake_manifest(), outputs=("logits",))
    images = labelled_images(fill(tmp_path, ["neutral/a.png"]), labels=manifest.labels)
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
    with pytest.raises(ArtifactError, match="the artifact gives no embedding"):
        outputs_of_images(classifier, images, labels=manifest.labels)
