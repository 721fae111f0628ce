"""A training on a dataset, in a run folder that it can be resumed from."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping

from motivnet.checkpoints import load_checkpoint
from motivnet.datasets.sample import Dataset, Sample
from motivnet.datasets.split import Split
from motivnet.errors import CheckpointError
from motivnet.model import MotivNet
from motivnet.path_kind import kind_of
from motivnet_training.data import (
    ImageInputs,
    Inputs,
    LabelledInputs,
    TokenInputs,
    decode_images,
    label_inputs,
    read_split,
    warn_of_unaligned,
)
from motivnet_training.devices import is_first_process
from motivnet_training.feature_cache import TokenStore
from motivnet_training.fit_request import FitRequest, identify
from motivnet_training.loop import train
from motivnet_training.model import fresh_model
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.run_folder import (
    check_identity,
    check_usable,
    lock_folder,
    write_identity,
)
from motivnet_training.session import Session
from motivnet_training.signals import stopping
from motivnet_training.summary import (
    TrainingSummary,
    count_data,
    describe_training,
    summarise,
    write_summary,
)
from motivnet_training.token_cache import cache_samples

logger = logging.getLogger(__name__)


def fit(
    request: FitRequest, *, on_message: Callable[[str], None] = lambda _: None
) -> TrainingSummary:
    """Train a model on a dataset, and leave checkpoints, curves and a summary in the run folder.

    Args:
        on_message: Called with a line about each epoch.

    Raises:
        ConfigError, FileError: If the devices are not available or the folder cannot be used.
        DatasetError: If the data cannot be read as a dataset.
        CheckpointError: If the encoder does not fit, or the state to resume from is damaged.
        TrainingError: If a number stops being finite; the files of the last good epoch stay.
        TrainingStoppedError: If a signal asked for it; ``resume`` continues from there.
    """
    started = time.monotonic()
    if is_first_process():
        check_usable(request.folder, resume=request.resume)
    model = starting_model(request)
    dataset, split = read_split(
        request.data,
        request.recipe,
        labels=request.labels,
        seed=request.seed,
        allow_outside=request.allow_outside,
    )
    return fit_split(request, model, dataset, split, started=started, on_message=on_message)


def fit_split(
    request: FitRequest,
    model: MotivNet,
    dataset: Dataset,
    split: Split,
    *,
    metadata: Mapping[str, str] | None = None,
    started: float,
    on_message: Callable[[str], None] = lambda _: None,
) -> TrainingSummary:
    """Train a model on a dataset that was read and split, as ``fit`` does.

    Args:
        metadata: What the checkpoints say besides what every training says.
        started: When the work began, of ``time.monotonic``.

    Raises:
        MotivNetError: As ``fit``.
    """
    folder, is_first = request.folder, is_first_process()
    identity = identify(request, split)
    with lock_folder(folder) if is_first else contextlib.nullcontext():
        check_identity(folder, identity)
        if is_first:  # before the tokens, which may take hours
            write_identity(folder, identity, recipe=yaml_from_recipe(request.recipe))
        counts = count_data(dataset, split, labels=dataset.labels)
        training, validation = _make_inputs(request, model, split)
        session = Session(
            model=model,
            config=request.config,
            recipe=request.recipe,
            labels=dataset.labels,
            preprocess=request.preprocess,
            training=training,
            validation=validation,
            seed=request.seed,
            devices=request.devices,
            folder=folder,
            metadata={
                **describe_training(request, counts, encoder_sha256=identity.encoder),
                **(metadata or {}),
            },
            checkpoint_seconds=request.checkpoint_seconds,
            on_message=on_message if is_first else lambda _: None,
        )
        resume = folder.resume if kind_of(folder.resume) else None
        if request.resume and resume is None and is_first:
            logger.warning(
                "%s holds no state to resume from: the training starts from the beginning",
                request.out,
            )
        progress = train(session, resume=resume)
        with stopping(
            f"all epochs are done, but not the summary of {request.out}: finish it with --resume"
        ):
            summary = summarise(request, progress, counts, test=split.test, started=started)
            if is_first:
                write_summary(request, summary)
        return summary


def starting_model(request: FitRequest) -> MotivNet:
    """Return a fresh model, with the encoder, or all weights, of the file that was given.

    Raises:
        CheckpointError: If the file is not of the model's sizes, or has no head to start from.
    """
    model = fresh_model(request.config, seed=request.seed)
    if request.encoder is not None:
        given = load_checkpoint(request.encoder, request.config, ema=request.ema, quiet=True)
        for note in given.notes if is_first_process() else ():
            logger.warning("%s %s", request.encoder, note)
        if request.with_head:
            if given.fresh_head:
                raise CheckpointError(
                    f"{request.encoder} holds an encoder alone, and no head to start from: "
                    "train one with motivnet-train fit"
                )
            return given.model
        model.encoder.load_state_dict(given.model.encoder.state_dict())
    return model


def _make_inputs(
    request: FitRequest, model: MotivNet, split: Split
) -> tuple[LabelledInputs, LabelledInputs]:
    if request.preprocess.aligns and is_first_process():
        warn_of_unaligned(split.training + split.validation)
    store = mirrored = None
    if request.recipe.cached:
        cache = functools.partial(
            cache_samples,
            model.encoder,
            folder=request.tokens or request.folder.tokens,
            recipe=request.recipe,
            preprocess=request.preprocess,
            devices=request.devices,
        )
        store = cache(split.training + split.validation)
        if request.recipe.augmentations == "mirror":
            mirrored = cache(split.training, mirrored=True)
    classes = request.config.decoder.num_classes
    training, validation = (
        label_inputs(
            samples, _inputs(request, samples, store, mirrored, split.digests), classes=classes
        )
        for samples in (split.training, split.validation)
    )
    return training, validation


def _inputs(
    request: FitRequest,
    samples: tuple[Sample, ...],
    store: TokenStore | None,
    mirrored: TokenStore | None,
    digests: Mapping[str, str],
) -> Inputs:
    if store is not None:
        names = tuple(digests[each.name] for each in samples)
        return TokenInputs(store=store, digests=names, mirrored=mirrored, seed=request.seed)
    return ImageInputs(
        samples=samples,
        preprocess=request.preprocess,
        decoded=decode_images(samples, request.preprocess),
        seed=request.seed,
        augmentations=request.recipe.augmentations,
    )
