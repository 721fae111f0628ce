"""The runtime without a model: right shapes, the same numbers each time, checked inputs."""

from __future__ import annotations

import numpy as np
import pytest

from motivnet.artifact.manifest import Manifest
from motivnet.config import ModelConfig
from motivnet.errors import InputError, RuntimeUnavailableError
from motivnet.runtime import Runtime
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((batch, 3, 128, 96)).astype(np.float32)


def test_outputs_have_the_shapes_that_it_promises() -> None:
    runtime = FakeRuntime(
        fake_manifest(ModelConfig.named("sapiens-0.3b", num_classes=8, image_size=(32, 16)))
    )
    outputs = runtime.run({"image": np.zeros((5, 3, 32, 16), np.float32)})
    assert {name: (array.shape, str(array.dtype)) for name, array in outputs.items()} == {
        "logits": ((5, 8), "float32"),
        "embedding": ((5, 1024), "float32"),
    }
    assert isinstance(runtime, Runtime)


def test_bytes_are_taken_channels_last() -> None:
    runtime = FakeRuntime(fake_manifest(dtype="uint8"))
    assert runtime.run({"image": np.full((2, 128, 96, 3), 7, np.uint8)})["logits"].shape == (2, 7)


def test_an_image_gives_the_same_outputs_in_any_batch_and_in_any_process() -> None:
    batch = images(4)
    together = FakeRuntime(fake_manifest()).run({"image": batch})["logits"]
    alone = FakeRuntime(fake_manifest()).run({"image": batch[2:3]})["logits"]
    np.testing.assert_array_equal(together[2:3], alone)
    assert len(np.unique(together, axis=0)) == 4
    other = FakeRuntime(fake_manifest(), seed=1).run({"image": batch})["logits"]
    assert not np.array_equal(together, other)


def test_calls_are_recorded_and_refused_ones_are_not() -> None:
    runtime = FakeRuntime(fake_manifest())
    batch = images(2)
    runtime.run({"image": batch})
    with pytest.raises(InputError):
        runtime.run({"image": batch.astype(np.float64)})
    assert [call["image"] is batch for call in runtime.calls] == [True]


def test_after_closing_it_runs_no_more() -> None:
    with FakeRuntime(fake_manifest()) as runtime:
        pass
    runtime.close()
    with pytest.raises(RuntimeUnavailableError, match="closed"):
        runtime.run({"image": images(1)})


def test_its_manifest_survives_json() -> None:
    manifest = fake_manifest(preprocessing="square-white-pad", dtype="uint8")
    assert Manifest.from_json(manifest.to_json()) == manifest
