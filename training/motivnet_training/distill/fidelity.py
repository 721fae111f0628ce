"""Measures how close a student is to its teacher, on images that it has not learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import metrics

from motivnet.artifact.fidelity import ClassAgreement, DistanceFidelity, Fidelity, Teacher
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import DatasetError
from motivnet.model import MotivNet
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet.terminal import progress
from motivnet_engines.calibration.fitting import calibration_error
from motivnet_engines.inference.class_statistics import fit_class_statistics
from motivnet_training.batch_sampler import BatchSampler
from motivnet_training.data import ImageInputs

MIN_UNKNOWN = 10
"""With fewer images of other classes the area under the curve says nothing of them."""

_TILES = 6
"""Per side of an image; an eye or a mouth is cut in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """Logits ``(N, classes)`` and embeddings ``(N, width)`` of one model."""

    logits: NDArray[np.float64]
    embedding: NDArray[np.float32]

    @property
    def answers(self) -> NDArray[np.intp]:
        """The most likely class of each image ``(N,)``."""
        return np.asarray(self.logits.argmax(axis=1), np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Teacher and student, as functions from images to outputs."""

    teacher: Callable[[Sequence[Sample]], Outputs]
    student: Callable[[Sequence[Sample]], Outputs]


def outputs_of_model(
    model: MotivNet,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocessing,
    batch_size: int,
    device: str,
) -> Outputs:
    """Return the outputs of a model in FP32."""
    inputs = ImageInputs(samples=samples, preprocess=preprocess)
    model = model.eval().to(device)
    logits, embeddings = [], []
    with torch.inference_mode(), progress("comparing", total=len(samples)) as advance:
        for keys in BatchSampler(count=len(samples), batch_size=batch_size):
            found = model.logits_and_embedding(inputs.batch(keys).to(device))
            logits.append(found[0].double().cpu().numpy())
            embeddings.append(found[1].float().cpu().numpy())
            advance(len(keys))
    model.cpu()
    return Outputs(logits=np.concatenate(logits), embedding=np.concatenate(embeddings))


def measure_fidelity(
    pair: Pair,
    teacher: Teacher,
    *,
    training: Sequence[Sample],
    measured: Sequence[Sample],
    unknown: Sequence[Sample],
    labels: tuple[str, ...],
    unknown_names: Sequence[str],
    measured_on: str,
    image_size: tuple[int, int],
    temperature: float,
) -> Fidelity:
    """Compare a student with its teacher.

    Args:
        training: Images that the class statistics of the distance are fitted on, for each model
            from its own embeddings; those without a label by the teacher's answers.
        measured: Images of the model's classes, or without labels.
        unknown: Images of other classes, near to those of the model. The distance is also measured
            against the far unknown: the measured images with their tiles shuffled, no faces.
        unknown_names: The classes of ``unknown``.
    """
    kinds = {"measured images with shuffled tiles": [shuffled(sample) for sample in measured]}
    if len(unknown) >= MIN_UNKNOWN:
        kinds = {f"images of {', '.join(unknown_names)}": list(unknown)} | kinds
    known, student = pair.teacher(measured), pair.student(measured)
    truth = _labels(measured, len(labels))
    answers = student.answers
    right = np.asarray(answers == known.answers)
    probabilities = softmax(student.logits.astype(np.float32))
    return Fidelity(
        teacher=teacher,
        image_size=image_size,
        measured_on="test" if measured_on == "test" else "validation",
        images=len(measured),
        agreement=float(right.mean()),
        by_class={
            label: _agreement(right[known.answers == place]) for place, label in enumerate(labels)
        },
        kl=_divergence(known.logits, student.logits),
        calibration_error=calibration_error(
            probabilities, known.answers if truth is None else truth
        ),
        calibrated_on="the teacher's answers" if truth is None else "labels",
        accuracy=None if truth is None else float((answers == truth).mean()),
        teacher_accuracy=None if truth is None else float((known.answers == truth).mean()),
        distances=_distances(pair, training, measured, kinds, classes=len(labels)),
        temperature=temperature,
    )


def shuffled(sample: Sample) -> Sample:
    """Return an image with its tiles in a random order: the same colours, and no face."""
    pixels = sample.pixels()
    height, width = (max(1, side // _TILES) * _TILES for side in pixels.shape[:2])
    pixels = np.resize(pixels, (height, width, 3)) if pixels.shape[0] < _TILES else pixels
    pixels = np.ascontiguousarray(pixels[:height, :width])
    rows, columns = pixels.shape[0] // _TILES, pixels.shape[1] // _TILES
    tiles = pixels.reshape(_TILES, rows, _TILES, columns, 3).swapaxes(1, 2)
    tiles = tiles.reshape(_TILES**2, rows, columns, 3)
    order = np.random.default_rng(int(sample.digest()[:16], 16)).permutation(len(tiles))
    mixed = tiles[order].reshape(_TILES, _TILES, rows, columns, 3).swapaxes(1, 2)
    size = (rows * _TILES, columns * _TILES)
    image = RawPixels(data=np.ascontiguousarray(mixed).tobytes(), size=size)
    return Sample(name=f"{sample.name} (shuffled)", image=image, label=sample.label)


def _labels(samples: Sequence[Sample], classes: int) -> NDArray[np.intp] | None:
    labels = np.asarray([sample.label for sample in samples], np.intp)
    return labels if bool((labels < classes).all()) else None


def _agreement(right: NDArray[np.bool_]) -> ClassAgreement:
    share = float(right.mean()) if len(right) else None
    return ClassAgreement(images=len(right), agreement=share)


def _divergence(teacher: NDArray[np.float64], student: NDArray[np.float64]) -> float:
    wanted, found = _log_softmax(teacher), _log_softmax(student)
    return max(0.0, float((np.exp(wanted) * (wanted - found)).sum(axis=1).mean()))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def _distances(
    pair: Pair,
    training: Sequence[Sample],
    measured: Sequence[Sample],
    kinds: Mapping[str, Sequence[Sample]],
    *,
    classes: int,
) -> tuple[DistanceFidelity, ...]:
    """Return the areas under the ROC curve of the distances of student and teacher."""
    known = [sample for sample in training if sample.label < classes]
    taught = pair.teacher(known or training)
    places = np.asarray([each.label for each in known], np.intp) if known else taught.answers
    parts = (measured, *kinds.values())
    teacher = _distances_of(taught, [pair.teacher(part) for part in parts], places)
    own = pair.student(known or training)
    student = _distances_of(own, [pair.student(part) for part in parts], places)
    return tuple(
        DistanceFidelity(
            unknown=name,
            images=len(images),
            auroc=_area(student, kind),
            teacher_auroc=_area(teacher, kind),
        )
        for kind, (name, images) in enumerate(kinds.items(), 1)
    )


def _distances_of(
    training: Outputs, parts: Sequence[Outputs], places: NDArray[np.intp]
) -> list[NDArray[np.float64]] | None:
    """Return the distances of each part from the classes, None if a class has but one embedding."""
    try:
        statistics = fit_class_statistics(training.embedding, places)
    except DatasetError:
        return None
    return [statistics.distances(part.embedding) for part in parts]


def _area(distances: Sequence[NDArray[np.float64]] | None, kind: int) -> float | None:
    """Return the area under the ROC curve of a kind of unknown images against the first part."""
    if distances is None:
        return None
    known, unknown = distances[0], distances[kind]
    is_unknown = np.repeat([0, 1], [len(known), len(unknown)])
    return float(metrics.roc_auc_score(is_unknown, np.concatenate([known, unknown])))
