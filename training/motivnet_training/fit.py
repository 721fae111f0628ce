"""A training on a folder of faces, in a run folder that it can be resumed from."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from motivnet.checkpoints import load_checkpoint
from motivnet.datasets.sample import Sample
from motivnet.datasets.split import Split
from motivnet.model import MotivNet
from motivnet_training.cache import tokens_of
from motivnet_training.data import LabelledInputs, labelled_inputs
from motivnet_training.dataset_selection import read_split
from motivnet_training.devices import is_first_process
from motivnet_training.epoch import EpochKeeper
from motivnet_training.feature_cache import TokenStore
from motivnet_training.fit_request import FitRequest, identity_of
from motivnet_training.initialisation import fresh_model
from motivnet_training.inputs import ImageInputs, Inputs, TokenInputs, pictures_of
from motivnet_training.recipe_file import yaml_from_recipe
from motivnet_training.result import TrainingResult
from motivnet_training.run_folder import check_identity, check_usable, sole_training, write_identity
from motivnet_training.session import Session, train
from motivnet_training.signals import stopping
from motivnet_training.summary import data_counts, metadata_of, result_of, write_outcome

logger = logging.getLogger(__name__)


def fit(request: FitRequest, *, announce: Callable[[str], None] | None = None) -> TrainingResult:
    """Trains a model on a dataset and leaves checkpoints, curves and a summary in the run folder.

    Args:
        announce: Hears a line about each epoch.

    Raises:
        ConfigError, FileError: If the request does not fit together or the folder cannot be used.
        DatasetError: If the data cannot be read as a dataset.
        CheckpointError: If the encoder does not fit, or the state to resume from is damaged.
        TrainingError: If a number stops being finite; the files of the last good epoch stay.
        TrainingStoppedError: If a signal asked for it; ``resume`` goes on from there.
    """
    started = time.monotonic()
    folder, first = request.folder, is_first_process()
    if first:
        check_usable(folder, resume=request.resume)
    model = starting_model(request)
    dataset, split = read_split(
        request.data,
        request.recipe,
        labels=request.labels,
        seed=request.seed,
        allow_outside=request.allow_outside,
    )
    identity = identity_of(request, split)
    with sole_training(folder) if first else contextlib.nullcontext():
        check_identity(folder, identity)
        if first:  # before the tokens, which may take hours: a folder without it is nobody's
            write_identity(folder, identity, recipe=yaml_from_recipe(request.recipe))
        counts = data_counts(dataset, split, labels=request.labels)
        metadata = metadata_of(request, counts, encoder_sha256=identity.encoder)
        session = _session(request, model, split, metadata=metadata, announce=announce)
        resume = folder.resume if folder.resume.exists() else None
        if request.resume and resume is None:
            logger.warning("%s holds no state to go on from: the training begins anew", request.out)
        position = train(session, resume=resume)
        with stopping(
            f"all epochs are done, but not the summary of {request.out}: finish it with --resume"
        ):
            result = result_of(request, position, counts, test=split.test, started=started)
            if first:
                write_outcome(request, session, position, result)
        return result


def starting_model(request: FitRequest) -> MotivNet:
    """A fresh model, with the encoder that was given.

    Raises:
        CheckpointError: If the encoder is not of the model's size.
    """
    model = fresh_model(request.config, seed=request.seed)
    if request.encoder is not None:
        given = load_checkpoint(request.encoder, request.config, quiet=True)
        model.encoder.load_state_dict(given.model.encoder.state_dict())
    return model


def _session(
    request: FitRequest,
    model: MotivNet,
    split: Split,
    *,
    metadata: Mapping[str, str],
    announce: Callable[[str], None] | None,
) -> Session:
    training, validation = _inputs(request, model, split)
    keeper = EpochKeeper(
        folder=request.folder,
        recipe=request.recipe,
        config=request.config,
        labels=request.labels,
        preprocess=request.preprocess,
        validation=validation,
        metadata=metadata,
    )
    return Session(
        model=model,
        training=training,
        keeper=keeper,
        seed=request.seed,
        hardware=request.hardware,
        checkpoint_seconds=request.checkpoint_seconds,
        announce=announce,
    )


def _inputs(
    request: FitRequest, model: MotivNet, split: Split
) -> tuple[LabelledInputs, LabelledInputs]:
    store = None
    if request.recipe.cached:
        samples = split.training + split.validation
        store = tokens_of(
            model.encoder,
            samples,
            request.token_folder,
            recipe=request.recipe,
            preprocess=request.preprocess,
            device=request.hardware.torch_device,
        )
    classes = request.config.decoder.num_classes
    training, validation = (
        labelled_inputs(
            part, _inputs_of(part, request, store, digests=split.digests), classes=classes
        )
        for part in (split.training, split.validation)
    )
    return training, validation


def _inputs_of(
    samples: tuple[Sample, ...],
    request: FitRequest,
    store: TokenStore | None,
    *,
    digests: Mapping[str, str],
) -> Inputs:
    if store is not None:
        return TokenInputs(store=store, digests=tuple(digests[sample.name] for sample in samples))
    return ImageInputs(
        pictures=pictures_of(samples, request.preprocess),
        recipe=request.preprocess,
        seed=request.seed,
        augmentations=request.recipe.augmentations,
    )
