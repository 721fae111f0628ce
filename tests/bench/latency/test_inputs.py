from __future__ import annotations

import numpy as np
import pytest

from motivnet.artifact.manifest import InputEntry
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet_bench.latency.inputs import images_for, write_inputs

RECIPE = InputRecipe.named("stretch", size=(64, 48))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float32", (3, 3, 64, 48)), ("uint8", (3, 64, 48, 3))]
)
def test_pytorch_and_the_artifact_get_the_same_images_each_in_its_form(tmp_path, dtype, shape):
    entry = InputEntry(name="image", dtype=dtype, recipe=RECIPE)
    images = images_for(entry, batch=3, labels=EMOTIONS[:7], image=None)
    files = write_inputs(tmp_path, entry, images)
    ours, theirs = np.load(files.pytorch), np.load(files.artifact)
    assert (ours.dtype, ours.shape) == (np.float32, (3, 3, 64, 48))
    assert (theirs.dtype, theirs.shape) == (dtype, shape)
    expected = RECIPE.normalise(theirs) if dtype == "uint8" else theirs
    np.testing.assert_array_equal(ours, expected)


def test_the_drawn_faces_are_the_same_every_time():
    entry = InputEntry(name="image", dtype="float32", recipe=RECIPE)
    first, second = (images_for(entry, batch=2, labels=EMOTIONS[:7], image=None) for _ in range(2))
    np.testing.assert_array_equal(np.stack(first), np.stack(second))


def test_an_artifact_of_any_size_gets_the_images_themselves(tmp_path):
    entry = InputEntry(name="image", dtype="uint8", recipe=RECIPE, any_size=True)
    images = [np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)] * 2
    files = write_inputs(tmp_path, entry, images)
    np.testing.assert_array_equal(np.load(files.artifact), images)
    np.testing.assert_array_equal(np.load(files.pytorch), [RECIPE(image) for image in images])
