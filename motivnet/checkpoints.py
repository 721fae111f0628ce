"""From a weights file of any known kind to a MotivNet, and from a MotivNet to a file of ours.

A file is recognised by its first bytes and by its keys, never by its name. Nothing in it but tensors and, in our own
format, strict JSON is ever used: what a trainer wrote beside the weights is not looked at.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from motivnet import key_maps
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, FileError
from motivnet.files import open_regular
from motivnet.key_maps import Layout
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model
from motivnet.model.motivnet import initialise
from motivnet.model_sizes import config_from_sizes, differences, sizes_from_config, sizes_from_shapes
from motivnet.preprocess import InputRecipe
from motivnet.safetensors_files import Description, read_safetensors, write_safetensors
from motivnet.torch_files import read_torch_file
from motivnet.weights import (
    check_dense,
    check_names,
    is_finite,
    listed,
    positions_from_pretraining,
    weights_from_stored,
)

logger = logging.getLogger(__name__)

HEAD_SEED = 0
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model and what its file says of it.

    ``labels`` are in output order; ``recipe`` is None where the file names none; ``fresh_head`` says that the file
    held an encoder alone, so that the head is random; ``layout`` is the name in ``key_maps`` of the keys found;
    ``has_checksum`` that damage to the file would have been seen.
    """

    model: MotivNet
    config: ModelConfig
    labels: tuple[str, ...]
    recipe: InputRecipe | None
    fresh_head: bool
    layout: str
    metadata: dict[str, str]
    has_checksum: bool


def load_model(path: Path | str, config: ModelConfig | None = None) -> MotivNet:
    """The model in a weights file, in FP32 on the CPU, in evaluation mode; see ``load_checkpoint``."""
    return load_checkpoint(path, config).model


def load_checkpoint(path: Path | str, config: ModelConfig | None = None, *, quiet: bool = False) -> Checkpoint:
    """The model in a weights file, with all that the file says of it.

    Understands the published ``MotivNet.pth``, its Lightning checkpoints, Sapiens encoders (flat pretraining ones and
    mmengine ones with their head), and our safetensors.

    Args:
        config: The sizes, where neither the file nor its shapes tell them; otherwise it must agree with both.
        quiet: Log no warning of a fresh head or a missing checksum: it was said when the file was loaded before.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, could run code, or does not fit the sizes.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = Path(path)
    with _naming(path):
        stored, description, has_checksum = _stored(path)
        layout = key_maps.layout_of(stored)
        if layout is None:
            raise CheckpointError(f"has keys of no known layout: {listed(stored)}")
        checkpoint = _checkpoint(stored, layout, description, config, has_checksum=has_checksum)
    if not quiet:
        _warn(path, checkpoint)
    return checkpoint


def name_of(path: Path) -> str:
    """What to call the model in a file: by the file, or by its folder where that is a run and the file its best."""
    folder = path.resolve().parent.name
    return folder if path.stem in ("best", "last") and folder else path.stem


def read_stored(path: Path | str) -> dict[str, object]:
    """What a weights file holds by its own keys, whatever they are, after every check of the file itself.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or could run code.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = Path(path)
    with _naming(path):
        return _stored(path)[0]


def save_model(
    model: MotivNet,
    path: Path | str,
    *,
    config: ModelConfig,
    labels: tuple[str, ...],
    recipe: InputRecipe | None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a model as safetensors with all that is needed to use it, whole or not at all.

    Raises:
        CheckpointError: If a weight is NaN or infinite, or configuration, labels, recipe and weights do not agree.
        FileError: If the file cannot be written.
    """
    path = Path(path)
    with _naming(path):
        description = Description(config=config, labels=labels, recipe=recipe, metadata=dict(metadata or {}))
        state = model.state_dict()
        check_dense({name: tensor.cpu() for name, tensor in state.items()})
        if different := differences(sizes_from_shapes(_shapes(state)), sizes_from_config(config)):
            raise CheckpointError(f"is not written: the model does not fit its configuration, {different}")
        if infinite := [name for name, tensor in state.items() if not is_finite(tensor)]:
            raise CheckpointError(f"is not written: the model has weights that are NaN or infinite, {listed(infinite)}")
        write_safetensors(path, state, description)


def _stored(path: Path) -> tuple[dict[str, object], Description | None, bool]:
    """What the file holds by its own keys, and whether it has a checksum; its first bytes say what it is."""
    with open_regular(path) as file, _read_errors(path):
        start = file.read(9)
        if start.startswith(_ZIP):
            return read_torch_file(file), None, True
    if start[8:] == b"{":
        tensors, description = read_safetensors(path)
        return dict(tensors), description, description is not None
    if not start:
        raise CheckpointError("is empty; copy or download it again")
    if start.startswith(_PICKLE):
        raise CheckpointError("is in the format of PyTorch before 1.6; load it there and save it again with torch.save")
    raise CheckpointError("is not a weights file; give a .pth, .ckpt or .safetensors file")


def _warn(path: Path, checkpoint: Checkpoint) -> None:
    if checkpoint.fresh_head:
        logger.warning("%s holds an encoder alone: the head is random and has to be trained", path)
    if not checkpoint.has_checksum:
        logger.warning("%s was not written by this toolkit and has no checksum: damage would go unnoticed", path)


def _checkpoint(
    stored: dict[str, object],
    layout: Layout,
    description: Description | None,
    config: ModelConfig | None,
    *,
    has_checksum: bool,
) -> Checkpoint:
    plan, unknown = key_maps.plan(stored, layout)
    weights = weights_from_stored(stored, plan)
    config = _settled_config(weights, description, config)
    model, fresh_head = _model(config, weights, unknown, layout)
    return Checkpoint(
        model=model,
        config=config,
        labels=labels_for(config.decoder.num_classes) if description is None else description.labels,
        recipe=None if description is None else description.recipe,
        fresh_head=fresh_head,
        layout=layout.name,
        metadata={} if description is None else description.metadata,
        has_checksum=has_checksum,
    )


def _settled_config(
    weights: Mapping[str, Tensor], description: Description | None, given: ModelConfig | None
) -> ModelConfig:
    """The configuration that is given, else described, else of a named size; it fits the shapes."""
    sizes = sizes_from_shapes(_shapes(weights))
    for part in ("encoder", "decoder"):
        if f"{part}.depth" not in sizes and (part == "encoder" or any(name.startswith(part) for name in weights)):
            raise CheckpointError(f"has none of the blocks of a MotivNet's {part}")
    if description is not None and given not in (None, description.config):
        raise CheckpointError(f"does not have the sizes asked for: {_config_differences(description.config, given)}")
    config = given or (description.config if description else None)
    if config is None:
        return config_from_sizes(sizes)
    if different := differences(sizes, sizes_from_config(config)):
        raise CheckpointError(f"does not have the sizes asked for: {different}")
    return config


def _model(
    config: ModelConfig, weights: dict[str, Tensor], unknown: list[str], layout: Layout
) -> tuple[MotivNet, bool]:
    """The model with these weights, and whether its head is fresh."""
    model = _unset_model(config)
    if weights.pop("encoder.class_token", None) is not None and "encoder.pos_embed" in weights:
        weights["encoder.pos_embed"] = positions_from_pretraining(
            weights["encoder.pos_embed"], config.encoder.grid_size
        )
    fresh_head = not any(name.startswith("decoder.") for name in weights)
    if fresh_head:
        initialise(model.decoder, torch.Generator().manual_seed(HEAD_SEED))
        weights |= model.decoder.state_dict(prefix="decoder.")
    check_names(weights, model.state_dict(), unknown, layout)
    model.load_state_dict(weights, assign=True)
    return model, fresh_head


def _unset_model(config: ModelConfig) -> MotivNet:
    try:
        return build_model(config, seed=None)
    except RuntimeError as error:  # PyTorch's allocator raises no MemoryError
        raise CheckpointError("is for a model that does not fit into this machine's memory") from error


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _config_differences(found: ModelConfig, wanted: ModelConfig) -> str:
    pairs = zip(_flat(found).items(), _flat(wanted).values(), strict=True)
    return ", ".join(f"{name} is {value} and not {other}" for (name, value), other in pairs if value != other)


def _flat(config: ModelConfig) -> dict[str, object]:
    return {f"{part}.{name}": value for part, sizes in config.to_dict().items() for name, value in sizes.items()}


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
