"""The head of a trained model, trained again for smaller images or fewer tokens.

The encoder is as it was: its positions are resampled, or some of them left out, and the head learns
to read the tokens that come of it.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.checkpoints.load import Checkpoint
from motivnet.checkpoints.shards import sha256_of_weights
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Dataset
from motivnet.datasets.split import Split
from motivnet.errors import CheckpointError, ConfigError, FileError
from motivnet.files import atomic_path, write_atomic
from motivnet.metrics import ClassificationMetrics, compute_sample_metrics
from motivnet.path_kind import kind_of
from motivnet.prediction import softmax
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema, encode
from motivnet_training.answers import THE_IMAGE_ITSELF, answers_to_images, cache_answers
from motivnet_training.data import read_split
from motivnet_training.devices import Devices
from motivnet_training.fit import fit_split, starting_model
from motivnet_training.fit_request import FitRequest
from motivnet_training.kept_tokens import check_share, count_kept, most_used_tokens
from motivnet_training.recipe import TrainingRecipe
from motivnet_training.run_folder import RunFolder, check_usable
from motivnet_training.summary import TrainingSummary, evaluate
from motivnet_training.token_cache import COMPUTE, images_per_batch
from motivnet_training.unlabelled import (
    NO_LABEL,
    Samples,
    holds_images_alone,
    read_every_image,
    with_answers,
)

logger = logging.getLogger(__name__)

SUFFIX = ".safetensors"

ANSWERS = "answers"
"""Folder of the full model's answers, in that of the tokens."""

Targets = Literal["labels", "answers"]
"""What a head learns from: the labels of the images, or the full model's answers."""

REFIT = TrainingRecipe(
    name="refit",
    epochs=10,
    batch_size=32,
    accumulate=1,
    encoder_lr=0.0,
    decoder_lr=1e-3,
    weight_decay=0.05,
    decay_vectors=False,
    lr_schedule="cosine",
    warmup=0.05,
    augmentations="mirror",
    per_class=None,
    stratified=True,
    gradient_norm=1.0,
    cached=True,
)
"""The head alone, gently, on tokens of the images and of their mirror images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRequest:
    """Which model to make cheaper, how, and on which images its head is trained again.

    Args:
        checkpoint: The full model.
        out: The run folder; with the name of a ``.safetensors`` file the run folder has that name
            without its end, and the best weights are copied to the file.
        image_size: (height, width) of the model's input; None for that of the checkpoint.
        keep_tokens: The share of tokens to keep; None for those that the checkpoint keeps.
        unlabelled: Whether to learn from the full model's answers, whatever labels there are; a
            folder of images alone always is.
        preprocess: Its name, if it is not the checkpoint's.
        tokens: A folder for cached tokens and answers, which several refits may share; ``tokens``
            in the run folder if None.
    """

    checkpoint: Path
    data: Path
    out: Path
    image_size: tuple[int, int] | None = None
    keep_tokens: float | None = None
    unlabelled: bool = False
    preprocess: str | None = None
    recipe: TrainingRecipe = REFIT
    tokens: Path | None = None
    devices: Devices = field(default_factory=Devices)
    seed: int = 0
    resume: bool = False
    allow_outside: bool = False

    def __post_init__(self) -> None:
        if self.keep_tokens is not None:
            check_share(self.keep_tokens)
        if self.devices.processes > 1:
            raise ConfigError("a refit is trained by one process; leave --devices and --nodes out")

    @property
    def answers_folder(self) -> Path:
        """Where the full model's answers are kept, beside the tokens."""
        return (self.tokens or self.folder.tokens) / ANSWERS

    @property
    def folder(self) -> RunFolder:
        """Where the training is written."""
        is_file = self.out.suffix == SUFFIX
        return RunFolder(self.out.with_suffix("") if is_file else self.out)


class RefitSummary(Schema, frozen=True, kw_only=True):
    """A refit that has ended: what the model gets right of the images to validate on.

    ``before`` is that of the model with resampled positions or fewer tokens and its old head,
    ``validation`` that of the checkpoint, ``full`` that of the model that it was made from. Where
    ``targets`` are the full model's answers, right is what agrees with it. ``flop`` and
    ``full_flop`` are per image.
    """

    format_version: Literal[1] = 1
    kind: Literal["refit"] = "refit"
    checkpoint: str
    targets: Targets
    image_size: tuple[int, int]
    tokens: int
    flop: int
    full_flop: int
    before: ClassificationMetrics
    validation: ClassificationMetrics
    full: ClassificationMetrics
    training: TrainingSummary
    seconds: float


def refit(
    request: RefitRequest, *, on_message: Callable[[str], None] = lambda _: None
) -> RefitSummary:
    """Train the head of a model again, for images of another size or for a share of its tokens.

    Args:
        on_message: Called with a line about each epoch.

    Raises:
        CheckpointError: If the checkpoint is damaged or has no head.
        ConfigError: If the size or the share does not fit the model.
        DatasetError: If the data has no images of the model's labels.
        MotivNetError: As ``fit``.
    """
    started = time.monotonic()
    _check_out(request)
    full = _open_full(request)
    config = _smaller(request, full.config)
    targets = _targets(request, full.labels)
    dataset, split = _read_images(request, full.labels, targets)
    split, full_metrics = _answer(request, full, split, targets)
    facts = _describe(request, full, targets, full_metrics)
    labels, full_flop = full.labels, full.config.flop
    preprocess = replace(_preprocessing(request, full), size=config.encoder.image_size)
    del full  # two large models need not be in memory
    if request.keep_tokens is not None:
        config = config.keeping(_find_tokens(request, config, split, preprocess))
    training = FitRequest(
        config=config,
        data=request.data,
        out=request.folder.path,
        recipe=request.recipe,
        preprocess=preprocess,
        seed=request.seed,
        encoder=request.checkpoint,
        with_head=True,
        tokens=request.tokens if request.recipe.cached else None,
        devices=request.devices,
        resume=request.resume,
        allow_outside=request.allow_outside,
    )
    model = starting_model(training)
    before = evaluate(
        model,
        split.validation,
        preprocess=preprocess,
        labels=labels,
        batch_size=images_per_batch(config.encoder.tokens),
        device=request.devices.single_device,
    )
    facts["refit_accuracy_before"] = str(before.accuracy)
    trained = fit_split(
        training,
        model.cpu(),
        dataset,
        split,
        metadata=facts,
        started=started,
        on_message=on_message,
    )
    helped = trained.validation.loss < before.loss
    if not helped:
        logger.warning(
            "%s: the refit did not help, its loss on the validation images is %.4f after %.4f: "
            "the checkpoint has the head as it was; give more images, or another --lr",
            training.out,
            trained.validation.loss,
            before.loss,
        )
        best = request.folder.best
        save_model(
            starting_model(training),
            best,
            config=config,
            labels=labels,
            preprocessing=preprocess,
            metadata=load_checkpoint(best, quiet=True).metadata,
        )
    summary = RefitSummary(
        checkpoint=str(_place(request)),
        targets=targets,
        image_size=config.encoder.image_size,
        tokens=config.encoder.tokens,
        flop=config.flop,
        full_flop=full_flop,
        before=before,
        validation=trained.validation if helped else before,
        full=full_metrics,
        training=trained,
        seconds=time.monotonic() - started,
    )
    write_atomic(request.folder.path / "refit.json", encode(summary, errors="replace"))
    return summary


def _check_out(request: RefitRequest) -> None:
    check_usable(request.folder, resume=request.resume)
    if request.out.suffix != SUFFIX:
        return
    kind = kind_of(request.out, output="--out")
    if kind == "folder":
        raise FileError(f"{request.out} is a folder; give the name of a file, or of a run folder")
    if kind is not None and not request.resume:
        raise FileError(f"{request.out} exists already; give another --out")


def _open_full(request: RefitRequest) -> Checkpoint:
    full = load_checkpoint(request.checkpoint, quiet=True)
    for note in full.notes:
        logger.warning("%s %s", request.checkpoint, note)
    if full.fresh_head:
        raise CheckpointError(
            f"{request.checkpoint} holds an encoder alone, and no head to start from: train one "
            "with motivnet-train fit"
        )
    return full


def _preprocessing(request: RefitRequest, full: Checkpoint) -> Preprocessing:
    """Return the preprocessing of the full model."""
    size = full.config.encoder.image_size
    if request.preprocess is not None or full.preprocessing is None:
        recorded = full.preprocessing
        return Preprocessing.named(
            request.preprocess or "stretch",
            size=size,
            align=recorded is not None and recorded.aligns,
        )
    return full.preprocessing


def _smaller(request: RefitRequest, full: ModelConfig) -> ModelConfig:
    """Return the model at the size that is asked for, which tokens it keeps aside."""
    config = full if request.image_size is None else full.at(request.image_size)
    if request.keep_tokens is not None and full.encoder.kept_tokens is not None:
        rows, columns = full.encoder.grid_size
        raise ConfigError(
            f"{request.checkpoint} keeps {full.encoder.tokens} of its {rows * columns} tokens "
            "already; start from the model that has all of them"
        )
    if request.keep_tokens is not None:
        count_kept(config.encoder.tokens, request.keep_tokens)
    return config


def _targets(request: RefitRequest, labels: tuple[str, ...]) -> Targets:
    """Return what the head learns from."""
    if request.unlabelled:
        return "answers"
    if not holds_images_alone(request.data, labels):
        return "labels"
    logger.warning(
        "%s has images and no labels: the head learns from the full model's answers", request.data
    )
    return "answers"


def _read_images(
    request: RefitRequest, labels: tuple[str, ...], targets: Targets
) -> tuple[Dataset, Split]:
    """Return the images to train and to validate on."""
    recipe, seed, allow_outside = request.recipe, request.seed, request.allow_outside
    if targets == "labels":
        return read_split(
            request.data, recipe, labels=labels, seed=seed, allow_outside=allow_outside
        )
    dataset, split = read_every_image(
        request.data,
        names=(*labels, NO_LABEL),
        seed=seed,
        validation_share=recipe.validation_share,
        allow_outside=allow_outside,
    )
    return dataclasses.replace(dataset, labels=labels), split


def _answer(
    request: RefitRequest, full: Checkpoint, split: Split, targets: Targets
) -> tuple[Split, ClassificationMetrics]:
    """Return the split, with the full model's answers if they are the targets, and its metrics.

    The metrics are of the validation images.
    """
    asked = (*split.training, *split.validation, *split.test)
    store = cache_answers(
        full,
        sha256_of_weights(request.checkpoint),
        asked if targets == "answers" else split.validation,
        request.answers_folder,
        views=THE_IMAGE_ITSELF,
        preprocess=_preprocessing(request, full),
        compute=COMPUTE[request.recipe.precision],
        devices=request.devices,
        batch_size=images_per_batch(full.config.encoder.tokens),
    )

    def answers(samples: Samples) -> NDArray[np.float32]:
        digests = [split.digests[each.name] for each in samples]
        logits, _ = answers_to_images(store, digests, classes=len(full.labels))
        return logits.astype(np.float32)

    def answered(samples: Samples) -> Samples:
        return with_answers(samples, answers(samples)) if samples else ()

    if targets == "answers":
        split = dataclasses.replace(
            split,
            training=answered(split.training),
            validation=answered(split.validation),
            test=answered(split.test),
        )
    probabilities = softmax(answers(split.validation))
    return split, compute_sample_metrics(split.validation, probabilities, full.labels)


def _find_tokens(
    request: RefitRequest, config: ModelConfig, split: Split, preprocess: Preprocessing
) -> tuple[int, ...]:
    """Return the positions to keep: those of the training to resume, else the most used ones."""
    assert request.keep_tokens is not None
    count = count_kept(config.encoder.tokens, request.keep_tokens)
    if request.resume and kind_of(request.folder.best) is not None:
        kept = load_checkpoint(request.folder.best, quiet=True).config.encoder.kept_tokens
        if kept is not None and len(kept) == count:
            return kept
    return most_used_tokens(
        load_checkpoint(request.checkpoint, config, quiet=True).model,
        split.training,
        count,
        config=config.encoder,
        preprocess=preprocess,
        compute=COMPUTE[request.recipe.precision],
        batch_size=images_per_batch(config.encoder.tokens),
        device=request.devices.single_device,
    )


def _describe(
    request: RefitRequest,
    full: Checkpoint,
    targets: Targets,
    metrics: ClassificationMetrics,
) -> dict[str, str]:
    """Return what the checkpoint says of the model that it was made from, besides its hash."""
    height, width = full.config.encoder.image_size
    return {
        "refit_of": request.checkpoint.name,
        "refit_from_size": f"{height}x{width}",
        "refit_kept_share": "" if request.keep_tokens is None else f"{request.keep_tokens:g}",
        "refit_targets": targets,
        "refit_accuracy_of_full_model": str(metrics.accuracy),
    }


def _place(request: RefitRequest) -> Path:
    """Return where the best weights are, after copying them to the file that was asked for."""
    best = request.folder.best
    if request.out.suffix != SUFFIX:
        return best
    with atomic_path(request.out) as temporary:
        shutil.copyfile(best, temporary)
    return request.out
