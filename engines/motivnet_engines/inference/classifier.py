"""The classifier: images in, emotions out, over any runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ArtifactError, ConfigError, InputError, MotivNetError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.prediction import Prediction
from motivnet.runtime import Runtime
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.adapted_classes import read_adapted_classes
from motivnet_engines.inference.calibration import Calibration, calibration_of_artifact
from motivnet_engines.inference.heads import Head, SoftmaxHead
from motivnet_engines.inference.pipeline import Outcome, run_pipeline
from motivnet_engines.inference.preprocessing import Image, PreparedImage, prepare_image
from motivnet_engines.inference.results import ImageResult, Timing, predictions_from_outputs
from motivnet_engines.runtimes.selection import open_runtime, warn_of_untrained
from motivnet_engines.runtimes.signature import check_graph, input_from_image, profile_of

_Other = TypeVar("_Other")

_MAX_VALUES_PER_CALL = 1 << 26
"""Pixels times channels; 2160x3840 twice."""


class EmotionClassifier:
    """Emotions of faces, from an open runtime that the classifier owns and closes.

    It may be used from several threads at once, as its runtime may.

    Args:
        runtime: An open runtime that fits the manifest.
        manifest: That of the artifact which the runtime has open.
        batch_size: Faces per call of the runtime; the manifest's ``max_batch`` if None.
        detector: Finds the faces for ``read`` and ``stream``; if None, each image is one face.
        head: Turns outputs into probabilities; the softmax of the logits at the calibration's
            temperature if None.
        calibration: That of the artifact; gives ``distance`` and ``known``.
        unknown: Whether a face beyond the calibration's threshold is labelled ``unknown``.
        limits: Of images that are files or bytes.

    Raises:
        ArtifactError: If runtime and manifest do not fit each other.
        ConfigError: If ``batch_size`` is not between 1 and the manifest's ``max_batch``, or
            ``unknown`` is requested without a calibration.

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
        head: Head | None = None,
        calibration: Calibration | None = None,
        unknown: bool = False,
        limits: ImageLimits = USER_LIMITS,
    ) -> None:
        check_graph(manifest, inputs=runtime.inputs, outputs=runtime.outputs)
        batch_size = manifest.max_batch if batch_size is None else batch_size
        if not 1 <= batch_size <= manifest.max_batch:
            raise ConfigError(
                f"the batch size must be between 1 and {manifest.max_batch}, not {batch_size}"
            )
        if unknown and head is not None:
            raise ConfigError(
                "unknown does not go with adapted classes: distances are from the model's own; "
                "leave out one"
            )
        if unknown and calibration is None:
            raise ConfigError(
                "the artifact has no calibration; make one with: motivnet calibrate ARTIFACT FOLDER"
            )
        if (calibration or head) and "embedding" not in manifest.outputs:
            raise ArtifactError(
                "the artifact gives no embedding, which a calibration and adapted classes need"
            )
        temperature = 1.0 if calibration is None else calibration.metadata.temperature
        self.runtime = runtime
        self.manifest = manifest
        self.batch_size = batch_size
        self.detector = detector
        self.head = head or SoftmaxHead(labels=manifest.labels, temperature=temperature)
        self.calibration = calibration
        self.unknown = unknown
        self.limits = limits
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
        adapted_classes: Path | str | None = None,
        trust_engines: bool = False,
        limits: ImageLimits = USER_LIMITS,
    ) -> EmotionClassifier:
        """Open the artifact in a folder with the runtime that ``open_runtime`` chooses.

        Args:
            adapted_classes: A file that ``motivnet adapt`` made of the artifact. Its classes
                replace those of the model; there are no distances then, because those are from the
                model's classes.
            trust_engines: Whether an engine that this user did not build here may be chosen.

        Raises:
            MotivNetError: As ``open_runtime``, the constructor, and the readers of a calibration
                and of adapted classes.
        """
        artifact = open_artifact(folder)
        warn_of_untrained(artifact)
        head = calibration = None
        if adapted_classes is None:
            calibration = calibration_of_artifact(artifact)
        else:
            head = read_adapted_classes(Path(adapted_classes), artifact).head
        opened = open_runtime(
            artifact, runtime=runtime, threads=threads, trust_engines=trust_engines
        )
        try:
            return cls(
                opened,
                artifact.manifest,
                batch_size=batch_size,
                detector=detector,
                head=head,
                calibration=calibration,
                unknown=unknown,
                limits=limits,
            )
        except BaseException:
            opened.close()
            raise

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of every prediction's probabilities."""
        return self.head.labels

    def predict(self, images: Image | Iterable[Image]) -> list[Prediction]:
        """Return one prediction per image, each of which is a face, in order.

        One image gives a list of one. Images are prepared a few batches ahead, so that an iterator
        of any length needs little memory. If the artifact resizes by itself, images of different
        sizes in a batch go to the runtime in several calls.

        Raises:
            FileError, ImageError, InputError: Naming the image, ``images[i]`` if it has no path.
            ArtifactError: If the model gives logits that are not finite.
        """
        return [result.faces[0] for result in self._results(images, detector=None)]

    def read(self, images: Image | Iterable[Image]) -> list[ImageResult]:
        """Return one result per image, with every face that the detector finds in it.

        Raises:
            FileError, ImageError, InputError, ArtifactError: As ``predict``.
        """
        return list(self.stream(images))

    def stream(self, images: Image | Iterable[Image]) -> Iterator[ImageResult]:
        """Yield the results of ``read`` one by one, while later images are being prepared.

        Closing it before its end stops its threads after the image that each is working on.

        Raises:
            FileError, ImageError, InputError, ArtifactError: As ``predict``.
        """
        return self._results(images, detector=self.detector)

    def outcomes(self, images: Iterable[Image]) -> Generator[Outcome, None, None]:
        """Yield as ``stream``, with the error in place of the result of an unreadable image.

        Raises:
            ArtifactError: If the model gives logits that are not finite.
        """
        return self._outcomes(images, detector=self.detector)

    def prepare(
        self,
        image: Image,
        *,
        name: str = "the image",
        detector: FaceDetector | None = None,
        limits: ImageLimits | None = None,
    ) -> PreparedImage:
        """Prepare an image for ``classify``; may be called from any thread.

        Args:
            detector: In place of the classifier's own.
            limits: In place of the classifier's own.

        Raises:
            FileError, ImageError, InputError: Naming the image.
        """
        return prepare_image(
            image,
            name=name,
            entry=self.manifest.input,
            profile=self._profile,
            detector=detector or self.detector,
            limits=limits or self.limits,
        )

    def input_from_crop(self, crop: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the input of ``classify`` for the RGB pixels of one face."""
        return input_from_image(self.manifest.input, crop, profile=self._profile)

    def classify(self, inputs: Sequence[NDArray[Any]]) -> list[Prediction]:
        """Return one prediction per input of ``prepare``, in calls of at most ``batch_size``.

        Raises:
            ArtifactError: If the model gives logits that are not finite.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, array in enumerate(inputs):
            by_shape.setdefault(array.shape, []).append(index)
        predictions: dict[int, Prediction] = {}
        for shape, indices in by_shape.items():
            size = self._max_batch(shape)
            for start in range(0, len(indices), size):
                call = indices[start : start + size]
                batch = np.stack([inputs[index] for index in call])
                predictions.update(zip(call, self._predict_batch(batch), strict=True))
        return [predictions[index] for index in range(len(inputs))]

    def classify_group(self, group: Sequence[PreparedImage | _Other]) -> list[ImageResult | _Other]:
        """Classify the faces of prepared images together; anything else stays as it is."""
        return classify_prepared(self.classify, group)

    def close(self) -> None:
        """Close the runtime; a second call does nothing."""
        self.runtime.close()

    def __enter__(self) -> EmotionClassifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _results(
        self, images: Image | Iterable[Image], *, detector: FaceDetector | None
    ) -> Iterator[ImageResult]:
        if isinstance(images, (str, Path, bytes, bytearray, memoryview)) or (
            isinstance(images, np.ndarray) and images.ndim <= 3
        ):
            # Without the pipeline's threads, which would only cost time.
            prepared = self._prepare(images, name="the image", detector=detector)
            return iter(self.classify_group([prepared]))
        if not isinstance(images, Iterable):
            raise InputError(
                f"images must be one image or an iterable of images, not {type(images).__name__}"
            )
        # An array of four dimensions is a stack of images.
        return _raise_errors(self._outcomes(images, detector=detector))

    def _outcomes(
        self, images: Iterable[Image], *, detector: FaceDetector | None
    ) -> Generator[Outcome, None, None]:
        return run_pipeline(
            enumerate(images),
            lambda item: self._prepare(item[1], name=f"images[{item[0]}]", detector=detector),
            self.classify_group,
            faces=self.batch_size,
            spare=0 if self.manifest.input.any_size else 2 * self.batch_size,
        )

    def _prepare(self, image: Image, *, name: str, detector: FaceDetector | None) -> PreparedImage:
        return prepare_image(
            image,
            name=name,
            entry=self.manifest.input,
            profile=self._profile,
            detector=detector,
            limits=self.limits,
        )

    def _max_batch(self, shape: tuple[int, ...]) -> int:
        """Return how many inputs of a shape fit in one call.

        A runtime without an engine holds each image in float32, twice, before it resizes it.
        """
        if not self.manifest.input.any_size or self._profile is not None:
            return self.batch_size
        return max(1, min(self.batch_size, _MAX_VALUES_PER_CALL // math.prod(shape)))

    def _predict_batch(self, batch: NDArray[Any]) -> list[Prediction]:
        outputs = self.runtime.run({self.manifest.input.name: batch})
        if not np.isfinite(outputs["logits"]).all():
            raise ArtifactError(
                f"the model gives logits that are not finite in {self.manifest.precision} with "
                f"{self.runtime.name}; choose another runtime, or build with --precision bf16 "
                "or fp32"
            )
        return predictions_from_outputs(
            outputs, head=self.head, calibration=self.calibration, unknown=self.unknown
        )


def classify_prepared(
    classify: Callable[[list[Any]], list[Prediction]], group: Sequence[PreparedImage | _Other]
) -> list[ImageResult | _Other]:
    """Classify the inputs of prepared images in one call; anything else stays as it is."""
    images = [one for one in group if isinstance(one, PreparedImage)]
    start = time.perf_counter()
    predictions = iter(classify([array for one in images for array in one.inputs]))
    elapsed = (time.perf_counter() - start) * 1e3
    return [
        image_result(one, [next(predictions) for _ in one.inputs], classify_ms=elapsed)
        if isinstance(one, PreparedImage)
        else one
        for one in group
    ]


def image_result(
    prepared: PreparedImage, predictions: Sequence[Prediction], *, classify_ms: float
) -> ImageResult:
    """Return the result of an image from the predictions for its inputs."""
    faces = tuple(
        prediction
        if face is None
        else dataclasses.replace(prediction, box=face.box, score=face.score)
        for prediction, face in zip(predictions, prepared.faces, strict=True)
    )
    return ImageResult(
        name=prepared.name,
        width=prepared.width,
        height=prepared.height,
        faces=faces,
        timing=Timing(prepare_ms=prepared.prepare_ms, classify_ms=classify_ms),
    )


def _raise_errors(outcomes: Generator[Outcome, None, None]) -> Iterator[ImageResult]:
    """Yield the results, and raise the first error; the pipeline's threads end with it."""
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, MotivNetError):
                raise outcome
            yield outcome
