"""Images in, emotions out, over any runtime."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import open_artifact
from motivnet.errors import ArtifactError, ConfigError, InputError
from motivnet.images import decode_image, read_image
from motivnet.manifest import Manifest
from motivnet.prediction import Prediction, predictions_from_logits
from motivnet_engines.inputs import input_from_image, profile_of
from motivnet_engines.runtime import Runtime, open_runtime
from motivnet_engines.specs import check_graph

Image: TypeAlias = Path | str | bytes | NDArray[np.uint8]
"""A path, the bytes of an image file, or RGB pixels ``(H, W, 3)`` of uint8 (OpenCV's are BGR: reverse them)."""

_VALUES_OF_A_CALL = 1 << 26
"""Pixels times channels; 2160x3840 twice."""


class EmotionClassifier:
    """Emotions of face images, by an open runtime that the classifier owns and closes.

    It may be used from several threads at once, as its runtime may.

    Args:
        runtime: An open runtime that fits the manifest.
        manifest: Of the artifact that the runtime has open: recipe, labels and largest batch.
        batch_size: Images of one call of the runtime; the manifest's ``max_batch`` if None.

    Raises:
        ArtifactError: If runtime and manifest do not fit each other.
        ConfigError: If ``batch_size`` is not between 1 and the manifest's ``max_batch``.

    Example:
        >>> with EmotionClassifier.open("artifacts/demo") as classifier:
        ...     [prediction] = classifier.predict("face.jpg")
    """

    def __init__(self, runtime: Runtime, manifest: Manifest, *, batch_size: int | None = None) -> None:
        check_graph(manifest, inputs=runtime.inputs, outputs=runtime.outputs)
        batch_size = manifest.max_batch if batch_size is None else batch_size
        if not 1 <= batch_size <= manifest.max_batch:
            raise ConfigError(f"the batch size must be between 1 and {manifest.max_batch}, not {batch_size}")
        self.runtime = runtime
        self.manifest = manifest
        self.batch_size = batch_size
        self._profile = profile_of(manifest, runtime.name)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> Self:
        """A classifier over the artifact in a folder, with the runtime that ``open_runtime`` chooses.

        Raises:
            MotivNetError: As ``open_runtime`` and the constructor.
        """
        artifact = open_artifact(folder)
        opened = open_runtime(artifact, runtime=runtime, threads=threads)
        try:
            return cls(opened, artifact.manifest, batch_size=batch_size)
        except BaseException:
            opened.close()
            raise

    def predict(self, images: Image | Iterable[Image]) -> list[Prediction]:
        """One prediction per image, in the order given; one image gives a list of one.

        Many images are decoded batch by batch, so that an iterator of any length needs the memory of one batch. Where
        the artifact itself resizes, the images of a batch that differ in size go to the runtime in several calls.

        Raises:
            FileError, ImageError, InputError: Naming the image, ``images[i]`` where it has no path.
            ArtifactError: If the model gives logits that are not finite.
        """
        named = self._named(images)
        predictions: list[Prediction] = []
        while batch := [self._input(name, image) for name, image in itertools.islice(named, self.batch_size)]:
            predictions += self._predict_inputs(batch)
        return predictions

    def close(self) -> None:
        """Closes the runtime; a second call does nothing."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _named(self, images: Image | Iterable[Image]) -> Iterator[tuple[str, Image]]:
        if isinstance(images, (str, Path, bytes)) or (isinstance(images, np.ndarray) and images.ndim <= 3):
            return iter([("the image", images)])
        if not isinstance(images, Iterable):
            raise InputError(f"images must be one image or an iterable of images, not {type(images).__name__}")
        return ((f"images[{index}]", image) for index, image in enumerate(images))

    def _input(self, name: str, image: Image) -> NDArray[Any]:
        pixels = _pixels(name, image)
        try:
            return input_from_image(self.manifest.input, pixels, profile=self._profile)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error

    def _predict_inputs(self, inputs: list[NDArray[Any]]) -> Iterator[Prediction]:
        """The predictions in order; a call of the runtime holds inputs of one shape."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, array in enumerate(inputs):
            by_shape.setdefault(array.shape, []).append(index)
        predictions: dict[int, Prediction] = {}
        for shape, indices in by_shape.items():
            step = self._images_of_a_call(shape)
            for start in range(0, len(indices), step):
                call = indices[start : start + step]
                batch = np.stack([inputs[index] for index in call])
                predictions.update(zip(call, self._predict_batch(batch), strict=True))
        return (predictions[index] for index in range(len(inputs)))

    def _images_of_a_call(self, shape: tuple[int, ...]) -> int:
        """A runtime without an engine holds each image in float32, twice, before it resizes it."""
        if not self.manifest.input.any_size or self._profile is not None:
            return self.batch_size
        return max(1, _VALUES_OF_A_CALL // math.prod(shape))

    def _predict_batch(self, batch: NDArray[Any]) -> list[Prediction]:
        logits = self.runtime.run({self.manifest.input.name: batch})["logits"]
        if not np.isfinite(logits).all():
            raise ArtifactError(
                f"the model gives logits that are not finite in {self.manifest.precision} with {self.runtime.name}; "
                "choose another runtime, or build with --precision bf16 or fp32"
            )
        return predictions_from_logits(logits, self.manifest.labels)


def _pixels(name: str, image: Image) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, bytes):
        return decode_image(image, name=name)
    if isinstance(image, np.ndarray):
        return image
    raise InputError(
        f"{name} must be a path, the bytes of an image file or an (H, W, 3) array of uint8, not {type(image).__name__}"
    )
