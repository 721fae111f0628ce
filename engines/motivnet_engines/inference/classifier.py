"""Images in, emotions out, over any runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ArtifactError, ConfigError, InputError, MotivNetError
from motivnet.prediction import Prediction
from motivnet_engines.faces.detector import Face, FaceDetector
from motivnet_engines.inference.calibration import Calibration, calibration_of_artifact
from motivnet_engines.inference.heads import Readout, SoftmaxReadout
from motivnet_engines.inference.pipeline import Outcome, outcomes
from motivnet_engines.inference.predictions import predictions_from_outputs
from motivnet_engines.inference.preparation import Image, PreparedImage, prepared_image
from motivnet_engines.inference.results import ImageResult, Timing
from motivnet_engines.runtimes.inputs import profile_of
from motivnet_engines.runtimes.registry import Runtime, open_runtime
from motivnet_engines.runtimes.signature import check_graph

__all__ = ["EmotionClassifier", "Image"]

_VALUES_OF_A_CALL = 1 << 26
"""Pixels times channels; 2160x3840 twice."""


class EmotionClassifier:
    """Emotions of faces, by an open runtime that the classifier owns and closes.

    It may be used from several threads at once, as its runtime may.

    Args:
        runtime: An open runtime that fits the manifest.
        manifest: Of the artifact that the runtime has open: recipe, labels and largest batch.
        batch_size: Faces of one call of the runtime; the manifest's ``max_batch`` if None.
        detector: What finds the faces of ``read`` and ``stream``; None where each image is one
        face.
        readout: How outputs become probabilities; the softmax of the logits, at the calibration's
        temperature, if None.
        calibration: Of the artifact; gives ``distance`` and ``known``. None where there is none.
        unknown: Whether a face beyond the calibration's threshold is labelled ``unknown``.

    Raises:
        ArtifactError: If runtime and manifest do not fit each other.
        ConfigError: If ``batch_size`` is not between 1 and the manifest's ``max_batch``, or
            ``unknown`` is asked for without a calibration.

    Example:
        >>> with EmotionClassifier.open("artifacts/demo") as classifier:
        ...     [prediction] = classifier.predict("face.jpg")
    """

    def __init__(
        self,
        runtime: Runtime,
        manifest: Manifest,
        *,
        batch_size: int | None = None,
        detector: FaceDetector | None = None,
        readout: Readout | None = None,
        calibration: Calibration | None = None,
        unknown: bool = False,
    ) -> None:
        check_graph(manifest, inputs=runtime.inputs, outputs=runtime.outputs)
        batch_size = manifest.max_batch if batch_size is None else batch_size
        if not 1 <= batch_size <= manifest.max_batch:
            raise ConfigError(
                f"the batch size must be between 1 and {manifest.max_batch}, not {batch_size}"
            )
        if unknown and readout is not None:
            raise ConfigError(
                "unknown does not go with added classes: distances are from the model's own; leave out one"
            )
        if unknown and calibration is None:
            raise ConfigError(
                "the artifact has no calibration; make one with: motivnet calibrate ARTIFACT FOLDER"
            )
        if (calibration or readout) and "embedding" not in manifest.outputs:
            raise ArtifactError(
                "the artifact gives no embedding, which a calibration and added classes stand on"
            )
        temperature = 1.0 if calibration is None else calibration.temperature
        self.runtime = runtime
        self.manifest = manifest
        self.batch_size = batch_size
        self.detector = detector
        self.readout = readout or SoftmaxReadout(labels=manifest.labels, temperature=temperature)
        self.calibration = calibration
        self.unknown = unknown
        self._profile = profile_of(manifest, runtime.name)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
        detector: FaceDetector | None = None,
        unknown: bool = False,
        classes: Path | str | None = None,
        trust_engines: bool = False,
    ) -> Self:
        """A classifier over the artifact in a folder, with the runtime that ``open_runtime``
        chooses.

        Args:
            classes: What ``motivnet adapt`` made of the artifact: its classes take the place of the
                model's. Distances are from the model's classes, so that there are none then.
            trust_engines: As ``open_runtime``: whether an engine that this user did not build here
            may be chosen.

        Raises:
            MotivNetError: As ``open_runtime``, the constructor, and the readers of a calibration
            and of classes.
        """
        artifact = open_artifact(folder)
        readout = None
        calibration = None
        if classes is None:
            calibration = calibration_of_artifact(artifact)
        else:
            from motivnet_engines.inference.classes_file import readout_from_file

            readout = readout_from_file(Path(classes), artifact)
        opened = open_runtime(
            artifact, runtime=runtime, threads=threads, trust_engines=trust_engines
        )
        try:
            return cls(
                opened,
                artifact.manifest,
                batch_size=batch_size,
                detector=detector,
                readout=readout,
                calibration=calibration,
                unknown=unknown,
            )
        except BaseException:
            opened.close()
            raise

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of every prediction's probabilities."""
        return self.readout.labels

    @property
    def takes_any_size(self) -> bool:
        """Whether the runtime is given whole crops, which its graph resizes."""
        return self.manifest.input.any_size

    def predict(self, images: Image | Iterable[Image]) -> list[Prediction]:
        """One prediction per image, each of which is a face, in the order given; one image gives a
        list of one.

        Images are prepared a few batches ahead, so that an iterator of any length needs little
        memory. Where the artifact itself resizes, the images of a batch that differ in size go to
        the runtime in several calls.

        Raises:
            FileError, ImageError, InputError: Naming the image, ``images[i]`` where it has no path.
            ArtifactError: If the model gives logits that are not finite.
        """
        return [result.faces[0] for result in self._results(images, detector=None)]

    def read(self, images: Image | Iterable[Image]) -> list[ImageResult]:
        """One result per image with every face that the detector finds in it; one image gives a
        list of one.

        Raises:
            FileError, ImageError, InputError, ArtifactError: As ``predict``.
        """
        return list(self.stream(images))

    def stream(self, images: Image | Iterable[Image]) -> Iterator[ImageResult]:
        """As ``read``, one result after the other while later images are being prepared.

        Closing it before its end ends the threads behind it, after what they are at.

        Raises:
            FileError, ImageError, InputError, ArtifactError: As ``predict``.
        """
        return self._results(images, detector=self.detector)

    def outcomes(self, images: Iterable[Image]) -> Generator[Outcome, None, None]:
        """As ``stream``, with the error in the place of the result where an image cannot be read.

        Raises:
            ArtifactError: If the model gives logits that are not finite.
        """
        return outcomes(
            self, enumerate(images), lambda item: self.prepare(item[1], name=f"images[{item[0]}]")
        )

    def prepare(self, image: Image, *, name: str = "the image") -> PreparedImage:
        """An image ready for ``classify``; may be called from any thread.

        Raises:
            FileError, ImageError, InputError: Naming the image.
        """
        return self._prepared(image, name=name, detector=self.detector)

    def classify(self, inputs: Sequence[NDArray[Any]]) -> list[Prediction]:
        """One prediction per input that ``prepare`` made, in order, in calls of at most
        ``batch_size``.

        Raises:
            ArtifactError: If the model gives logits that are not finite.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, array in enumerate(inputs):
            by_shape.setdefault(array.shape, []).append(index)
        predictions: dict[int, Prediction] = {}
        for shape, indices in by_shape.items():
            for call in _chunks(indices, self._images_of_a_call(shape)):
                batch = np.stack([inputs[index] for index in call])
                predictions.update(zip(call, self._predict_batch(batch), strict=True))
        return [predictions[index] for index in range(len(inputs))]

    def result(
        self, prepared: PreparedImage, predictions: Sequence[Prediction], *, classify_ms: float
    ) -> ImageResult:
        """The result of an image, of the predictions for its inputs."""
        return ImageResult(
            name=prepared.name,
            width=prepared.width,
            height=prepared.height,
            faces=tuple(map(_located, predictions, prepared.faces)),
            timing=Timing(prepare_ms=prepared.prepare_ms, classify_ms=classify_ms),
        )

    def close(self) -> None:
        """Closes the runtime; a second call does nothing."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _results(
        self, images: Image | Iterable[Image], *, detector: FaceDetector | None
    ) -> Iterator[ImageResult]:
        if _is_one(images):
            return iter([self._result_of_one(images, detector)])
        if not isinstance(images, Iterable):
            raise InputError(
                f"images must be one image or an iterable of images, not {type(images).__name__}"
            )
        many = cast("Iterable[Image]", images)  # an array of four dimensions is a stack of images
        found = outcomes(
            self,
            enumerate(many),
            lambda item: self._prepared(item[1], name=f"images[{item[0]}]", detector=detector),
        )
        return _raising(found)

    def _result_of_one(self, image: Any, detector: FaceDetector | None) -> ImageResult:
        """Without the threads of many images, which would only cost a single one time."""
        prepared = self._prepared(image, name="the image", detector=detector)
        start = time.perf_counter()
        predictions = self.classify(prepared.inputs)
        return self.result(prepared, predictions, classify_ms=(time.perf_counter() - start) * 1e3)

    def _prepared(self, image: Image, *, name: str, detector: FaceDetector | None) -> PreparedImage:
        return prepared_image(
            image, name=name, entry=self.manifest.input, profile=self._profile, detector=detector
        )

    def _images_of_a_call(self, shape: tuple[int, ...]) -> int:
        """A runtime without an engine holds each image in float32, twice, before it resizes it."""
        if not self.manifest.input.any_size or self._profile is not None:
            return self.batch_size
        return max(1, min(self.batch_size, _VALUES_OF_A_CALL // math.prod(shape)))

    def _predict_batch(self, batch: NDArray[Any]) -> list[Prediction]:
        outputs = self.runtime.run({self.manifest.input.name: batch})
        if not np.isfinite(outputs["logits"]).all():
            raise ArtifactError(
                f"the model gives logits that are not finite in {self.manifest.precision} with {self.runtime.name}; "
                "choose another runtime, or build with --precision bf16 or fp32"
            )
        return predictions_from_outputs(
            outputs, readout=self.readout, calibration=self.calibration, unknown=self.unknown
        )


def _is_one(images: object) -> bool:
    return isinstance(images, (str, Path, bytes, bytearray, memoryview)) or (
        isinstance(images, np.ndarray) and images.ndim <= 3
    )


def _raising(found: Generator[Outcome, None, None]) -> Iterator[ImageResult]:
    """A generator, which ends the threads behind it when it is closed, and when an image cannot be read."""
    with contextlib.closing(found):
        for outcome in found:
            if isinstance(outcome, MotivNetError):
                raise outcome
            yield outcome


def _located(prediction: Prediction, face: Face | None) -> Prediction:
    return (
        prediction
        if face is None
        else dataclasses.replace(prediction, box=face.box, score=face.score)
    )


def _chunks(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (indices[start : start + size] for start in range(0, len(indices), size))
