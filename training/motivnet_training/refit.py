"""The head of a trained model, trained again for smaller images or fewer tokens.

The encoder is as it was: its positions are resampled, or some of them left out, and the head learns
to read the tokens that come of it.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.checkpoints.load import Checkpoint
from motivnet.config import ModelConfig
from motivnet.datasets.split import Split
from motivnet.errors import CheckpointError, ConfigError, FileError
from motivnet.files import atomic_path, write_atomic
from motivnet.metrics import ClassificationMetrics
from motivnet.model import MotivNet
from motivnet.path_kind import kind_of
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema, encode
from motivnet_training.fit import fit_split, starting_model
from motivnet_training.fit_request import FitRequest
from motivnet_training.history import VALIDATION_METRICS
from motivnet_training.kept_tokens import count_kept, most_used_tokens
from motivnet_training.refit_request import SUFFIX, RefitRequest
from motivnet_training.refit_targets import (
    Targets,
    ask_full_model,
    choose_targets,
    preprocessing_of,
    read_images,
)
from motivnet_training.run_folder import check_usable
from motivnet_training.summary import TrainingSummary, evaluate
from motivnet_training.token_cache import COMPUTE, images_per_batch
from motivnet_training.unlabelled import Samples

logger = logging.getLogger(__name__)


class RefitSummary(Schema, frozen=True, kw_only=True):
    """A refit that has ended: what the model gets right of the images to validate on.

    ``before`` is that of the model with resampled positions or fewer tokens and its old head,
    ``validation`` that of the checkpoint, ``full`` that of the model that it was made from. Where
    ``targets`` are the full model's answers, right is what agrees with it. The epoch was chosen by
    the loss on the images of ``validation``, which flatters it a little; nothing was chosen by
    those of ``test``, the checkpoint's metrics on the test split. ``flop`` and ``full_flop`` are
    per image. ``training`` is of its best epoch, also where the head stayed as it was.
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
    epoch_chosen_on: Literal["validation"] = "validation"
    test: ClassificationMetrics | None
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
    targets = choose_targets(request, full.labels)
    dataset, split = read_images(request, full.labels, targets)
    split, full_metrics = ask_full_model(request, full, split, targets)
    facts = _describe(request, full, targets, full_metrics)
    labels, full_flop = full.labels, full.config.flop
    preprocess = replace(preprocessing_of(request, full), size=config.encoder.image_size)
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

    def measure(model: MotivNet, samples: Samples) -> ClassificationMetrics:
        return evaluate(
            model,
            samples,
            preprocess=preprocess,
            labels=labels,
            batch_size=images_per_batch(config.encoder.tokens),
            device=request.devices.single_device,
        )

    before = measure(model, split.validation)
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
    validation, test = trained.validation, trained.test
    if validation.loss >= before.loss:
        logger.warning(
            "%s: the refit did not help, its loss on the validation images is %.4f after %.4f: "
            "the checkpoint has the head as it was; give more images, or another --lr",
            training.out,
            validation.loss,
            before.loss,
        )
        model = starting_model(training)
        _restore(request.folder.best, model, before)
        validation, test = before, measure(model, split.test) if split.test else None
    summary = RefitSummary(
        checkpoint=str(_place(request)),
        targets=targets,
        image_size=config.encoder.image_size,
        tokens=config.encoder.tokens,
        flop=config.flop,
        full_flop=full_flop,
        before=before,
        validation=validation,
        test=test,
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


def _restore(best: Path, model: MotivNet, metrics: ClassificationMetrics) -> None:
    """Put the model as it was before in place of the best epoch's, with its own metrics."""
    epoch = load_checkpoint(best, quiet=True)
    values = {name: getattr(metrics, name) for name in VALIDATION_METRICS}
    values |= {"epoch": 0, "steps": 0, "train_loss": None, "val_loss": metrics.loss}
    texts = {name: "" if value is None else str(value) for name, value in values.items()}
    save_model(
        model,
        best,
        config=epoch.config,
        labels=epoch.labels,
        preprocessing=epoch.preprocessing,
        metadata={**epoch.metadata, **texts},
    )


def _place(request: RefitRequest) -> Path:
    """Return where the best weights are, after copying them to the file that was asked for."""
    best = request.folder.best
    if request.out.suffix != SUFFIX:
        return best
    with atomic_path(request.out) as temporary:
        shutil.copyfile(best, temporary)
    return request.out
