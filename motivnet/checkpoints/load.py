"""From a weights file of any known kind to a MotivNet, and from a MotivNet to a file of ours.

The model that a file describes is compared with the shapes of its tensors before memory is
allocated for either.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from motivnet.checkpoints.safetensors_files import Description, write_safetensors
from motivnet.checkpoints.shards import is_folder, is_index, is_shard, naming
from motivnet.checkpoints.sizes import (
    config_from_sizes,
    differences,
    sizes_from_config,
    sizes_from_weights,
)
from motivnet.checkpoints.state_dicts import StateDict, find_state_dict
from motivnet.checkpoints.stored_files import StoredFile, open_stored_file
from motivnet.checkpoints.weights import (
    check_dense,
    check_names,
    is_finite,
    listed,
    outline_of_stored,
    positions_from_pretraining,
    resample_positions,
    weights_from_stored,
)
from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.errors import CheckpointError
from motivnet.labels import labels_for
from motivnet.model import MotivNet
from motivnet.model.motivnet import initialise, outline_model
from motivnet.preprocess import Preprocessing

logger = logging.getLogger(__name__)

_CLASS_TOKEN = "encoder.class_token"  # noqa: S105 - no password
_POSITIONS = "encoder.pos_embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model and what its file says about it.

    ``labels`` are in output order; ``preprocessing`` is None if the file has none. ``fresh_head``
    means that the file held an encoder alone, so that the head is random. ``trained_image_size`` is
    (height, width) of the images that the positions were learnt for. ``layout`` is the name in
    ``key_maps`` of the keys. ``has_checksum`` means that damage to the file would be detected.
    ``notes`` are sentences, which follow the file's name, about what else it holds.
    """

    model: MotivNet
    config: ModelConfig
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None
    fresh_head: bool
    trained_image_size: tuple[int, int]
    layout: str
    metadata: dict[str, str]
    has_checksum: bool
    notes: tuple[str, ...]


def load_model(
    path: Path | str, config: ModelConfig | None = None, *, ema: bool = False
) -> MotivNet:
    """Return the model in a weights file, in FP32 on the CPU, in evaluation mode."""
    return load_checkpoint(path, config, ema=ema).model


def load_checkpoint(
    path: Path | str,
    config: ModelConfig | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    ema: bool = False,
    quiet: bool = False,
) -> Checkpoint:
    """Return the model in a weights file, with everything that the file says about it.

    Reads the published ``MotivNet.pth``, checkpoints of training frameworks, Sapiens encoders (flat
    pretraining ones and mmengine ones with their head), sharded weights by their index or folder,
    and our safetensors.

    Args:
        ema: Take the EMA weights that the file holds beside the others.
        config: The sizes, if neither the file nor its shapes tell them; else it must agree, but for
            its ``image_size`` and ``kept_tokens``.
        image_size: (height, width) in pixels, if it is not the configuration's. The position
            embedding is resampled from the size that it was learnt at.
        quiet: Log no warning of a random head, a missing checksum or what was left out, for a file
            that was loaded before.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, has an object in the place of a
            weight, holds several models or no EMA weights, describes a head that it does not hold
            and that is of no named size, or does not fit the sizes.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = Path(path)
    with open_stored_file(path) as stored:
        found = find_state_dict(stored.content, ema=ema)
        checkpoint = _load(stored, found, config, image_size=image_size, is_part=is_shard(path))
    if not quiet:
        _warn(path, checkpoint, stored.ignored)
    return checkpoint


def name_of(path: Path) -> str:
    """Return a name for the model in a file: the file's, or the folder's if that says nothing.

    The names ``best`` and ``last`` say nothing, and the one of an index of shards.
    """
    if is_folder(path):
        return path.resolve().name
    folder = path.resolve().parent.name
    return folder if (path.stem in ("best", "last") or is_index(path)) and folder else path.stem


@contextlib.contextmanager
def open_stored(path: Path | str, *, ema: bool = False) -> Iterator[StateDict]:
    """Open a weights file of which any part is enough, after every check of the file itself.

    The tensors are for ``weights.weights_from_stored``, inside the block.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or has no known keys.
        FileError: If it is missing, not a regular file or not readable.
    """
    with open_stored_file(Path(path)) as stored:
        yield find_state_dict(stored.content, ema=ema)


def save_model(
    model: MotivNet,
    path: Path | str,
    *,
    config: ModelConfig,
    labels: tuple[str, ...],
    preprocessing: Preprocessing | None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a model as safetensors with all that is needed to use it, whole or not at all.

    Raises:
        CheckpointError: If a weight is NaN or infinite, or configuration, labels, preprocessing and
            weights do not agree.
        FileError: If the file cannot be written.
    """
    path = Path(path)
    with naming(path):
        description = Description(
            config=config, labels=labels, preprocessing=preprocessing, metadata=dict(metadata or {})
        )
        state = model.state_dict()
        check_dense({name: tensor.cpu() for name, tensor in state.items()})
        if different := differences(sizes_from_weights(state), sizes_from_config(config)):
            raise CheckpointError(
                f"is not written: the model does not fit its configuration, {different}"
            )
        if infinite := [name for name, tensor in state.items() if not is_finite(tensor)]:
            raise CheckpointError(
                "is not written: the model has weights that are NaN or infinite, "
                f"{listed(infinite)}"
            )
        write_safetensors(path, state, description)


def _warn(path: Path, checkpoint: Checkpoint, ignored: tuple[str, ...]) -> None:
    for note in checkpoint.notes:
        logger.warning("%s %s", path, note)
    if checkpoint.fresh_head:
        logger.warning("%s holds an encoder alone: the head is random and has to be trained", path)
    if checkpoint.trained_image_size != checkpoint.config.encoder.image_size:
        logger.warning(
            "%s was trained at %dx%d: its positions were resampled to %dx%d, which costs accuracy "
            "until the head is trained again",
            path,
            *checkpoint.trained_image_size,
            *checkpoint.config.encoder.image_size,
        )
    if not checkpoint.has_checksum:
        logger.warning(
            "%s was not written by this toolkit and has no checksum: damage would go unnoticed",
            path,
        )
    if ignored:
        logger.warning(
            "%s holds objects beside its tensors, which were left out and not run: %s",
            path,
            listed(ignored),
        )


def _load(
    stored: StoredFile,
    found: StateDict,
    given: ModelConfig | None,
    *,
    image_size: tuple[int, int] | None,
    is_part: bool,
) -> Checkpoint:
    """Return the model; its shapes are checked on the meta device before weights are read."""
    if is_part and not found.group.is_whole:
        raise CheckpointError("is one of several shards; give their .index.json, or the folder")
    layout = found.group.layout
    outline = outline_of_stored(found.values, found.matched)
    trained = _settle_config(outline, stored.description, given)
    config = _wanted_config(trained, given, image_size)
    if _CLASS_TOKEN in outline:
        trained = config  # resampled in any case, from a square
    model = outline_model(config)
    fresh_head = not _has_head(outline)
    outlined = _fit_positions(outline, trained, config)
    if fresh_head:
        outlined |= model.decoder.state_dict(prefix="decoder.")
    check_names(outlined, model.state_dict(), found.unknown, layout)
    weights = _fit_positions(weights_from_stored(found.values, found.matched), trained, config)
    if fresh_head:
        initialise(model.decoder.to_empty(device="cpu"), torch.Generator().manual_seed(0))
        weights |= model.decoder.state_dict(prefix="decoder.")
    model.load_state_dict(weights, assign=True)
    description = stored.description
    return Checkpoint(
        model=model,
        config=config,
        labels=description.labels if description else labels_for(config.decoder.num_classes),
        preprocessing=description.preprocessing if description else None,
        fresh_head=fresh_head,
        trained_image_size=trained.encoder.image_size,
        layout=layout.name,
        metadata=description.metadata if description else {},
        has_checksum=stored.has_checksum,
        notes=found.notes,
    )


def _settle_config(
    outline: Mapping[str, Tensor], description: Description | None, given: ModelConfig | None
) -> ModelConfig:
    """Return the configuration that is given, else described, else of a named size.

    The shapes must fit it. They do not limit a head that is not in the file, or the grid that
    positions are resized to: for these a description is not trusted, only the user's or a named
    size.
    """
    has_head = _has_head(outline)
    sizes = sizes_from_weights(outline)
    for part in ("encoder", "decoder") if has_head else ("encoder",):
        if f"{part}.depth" not in sizes:
            raise CheckpointError(f"has none of the blocks of a MotivNet's {part}")
    described = description.config if description else None
    config = given or described
    if config is None:
        return config_from_sizes(sizes)
    if described:
        if different := differences(_flat(_settings(described)), _flat(_settings(config))):
            raise CheckpointError(f"does not have the sizes asked for: {different}")
        config = described
    else:
        config = _at_learnt_size(config, sizes)
    is_unlimited = not has_head or _CLASS_TOKEN in outline
    if given is None and is_unlimited and config not in NAMED_SIZES.values():
        raise CheckpointError(
            "describes more than it holds; give its sizes with --model CONFIG.json"
        )
    if different := differences(sizes, sizes_from_config(config)):
        raise CheckpointError(f"does not have the sizes asked for: {different}")
    return config


def _wanted_config(
    trained: ModelConfig, given: ModelConfig | None, image_size: tuple[int, int] | None
) -> ModelConfig:
    """Return the trained model at the size, and with the tokens, that are asked for."""
    wanted = given or trained
    wanted = wanted.at(image_size) if image_size else wanted
    if wanted.encoder.kept_tokens is None:
        return trained.at(wanted.encoder.image_size)
    return trained.keeping(None).at(wanted.encoder.image_size).keeping(wanted.encoder.kept_tokens)


def _at_learnt_size(config: ModelConfig, sizes: Mapping[str, int]) -> ModelConfig:
    """Return the configuration for the images that a file's positions are for.

    Their number alone does not tell the sides, so that only those of published models are known.
    """
    tokens = sizes.get("encoder.tokens")
    if tokens in (None, sizes_from_config(config)["encoder.tokens"]):
        return config
    for named in NAMED_SIZES.values():
        if (
            sizes_from_config(named)["encoder.tokens"] == tokens
            and _settings(named)["encoder"] == _settings(config)["encoder"]
        ):
            return config.at(named.encoder.image_size)
    return config


def _has_head(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("decoder.") for name in weights)


def _fit_positions(
    weights: dict[str, Tensor], trained: ModelConfig, config: ModelConfig
) -> dict[str, Tensor]:
    """Return the weights with positions of the model's grid and without a class token."""
    rest = {name: weight for name, weight in weights.items() if name != _CLASS_TOKEN}
    if _POSITIONS not in rest:
        return rest
    grid, new_grid = trained.encoder.grid_size, config.encoder.grid_size
    if _CLASS_TOKEN in weights:
        rest[_POSITIONS] = positions_from_pretraining(rest[_POSITIONS], new_grid)
    elif grid != new_grid:
        rest[_POSITIONS] = resample_positions(rest[_POSITIONS], grid, new_grid)
    return rest


def _settings(config: ModelConfig) -> dict[str, dict[str, object]]:
    """Return everything by part but what only decides on the positions."""
    settings: dict[str, dict[str, object]] = msgspec.to_builtins(config)
    del settings["encoder"]["image_size"], settings["encoder"]["kept_tokens"]
    return settings


def _flat(settings: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    return {
        f"{part}.{key}": value for part, each in settings.items() for key, value in each.items()
    }
