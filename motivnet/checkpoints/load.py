"""From a weights file of any known kind to a MotivNet, and from a MotivNet to a file of ours.

A file is recognised by its first bytes and by its keys, never by its name. Nothing in it but
tensors and, in our own format, strict JSON is ever used: what a trainer wrote beside the weights is
left out, with a warning. The model that a file tells of is compared with the shapes of its tensors
before memory is taken for either.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from motivnet.checkpoints import key_maps
from motivnet.checkpoints.key_maps import Layout
from motivnet.checkpoints.safetensors_files import Description, read_safetensors, write_safetensors
from motivnet.checkpoints.sizes import (
    config_from_sizes,
    differences,
    sizes_from_config,
    sizes_from_shapes,
)
from motivnet.checkpoints.torch_files import read_torch_file
from motivnet.checkpoints.weights import (
    check_dense,
    check_names,
    is_finite,
    listed,
    outline_of_stored,
    positions_from_pretraining,
    weights_from_stored,
)
from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.errors import CheckpointError, FileError
from motivnet.files import open_regular
from motivnet.labels import labels_for
from motivnet.model import MotivNet
from motivnet.model.motivnet import initialise, outline_model
from motivnet.preprocess import InputRecipe

logger = logging.getLogger(__name__)

HEAD_SEED = 0
MAX_ENTRIES = 20_000
"""Ten times the tensors of the largest model, with those of its optimiser."""
_CLASS_TOKEN = "encoder.class_token"  # noqa: S105 - no password
_POSITIONS = "encoder.pos_embed"
_TOO_LARGE = "is for a model that does not fit into this machine's memory"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model and what its file says of it.

    ``labels`` are in output order; ``recipe`` is None where the file names none; ``fresh_head``
    says that the file held an encoder alone, so that the head is random; ``layout`` is the name in
    ``key_maps`` of the keys found; ``has_checksum`` that damage to the file would have been seen.
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


def load_checkpoint(
    path: Path | str, config: ModelConfig | None = None, *, quiet: bool = False
) -> Checkpoint:
    """The model in a weights file, with all that the file says of it.

    Understands the published ``MotivNet.pth``, its Lightning checkpoints, Sapiens encoders (flat
    pretraining ones and mmengine ones with their head), and our safetensors.

    Args:
        config: The sizes, where neither the file nor its shapes tell them; otherwise it must agree
        with both.
        quiet: Log no warning of a fresh head, a missing checksum or objects that were left out: it
            was said when the file was loaded before.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, has an object in the place of a
            weight, describes a head that it does not hold and that is of no named size, or does not
            fit the sizes.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = Path(path)
    with _naming(path), _stored(path) as stored:
        layout = key_maps.layout_of(stored.values)
        if layout is None:
            raise CheckpointError(f"has keys of no known layout: {listed(stored.values)}")
        checkpoint = _checkpoint(stored, layout, config)
    if not quiet:
        _warn(path, checkpoint, stored.ignored)
    return checkpoint


def name_of(path: Path) -> str:
    """What to call the model in a file: by the file, or by its folder where that is a run and the file its best."""
    folder = path.resolve().parent.name
    return folder if path.stem in ("best", "last") and folder else path.stem


@contextlib.contextmanager
def open_stored(path: Path | str) -> Iterator[dict[str, object]]:
    """What a weights file holds by its own keys, whatever they are, after every check of the file
    itself.

    The tensors are for ``weights.weights_from_stored``, inside the block.

    Raises:
        CheckpointError: If the file is damaged or of an unknown kind.
        FileError: If it is missing, not a regular file or not readable.
    """
    path = Path(path)
    with _naming(path), _stored(path) as stored:
        yield stored.values


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
        CheckpointError: If a weight is NaN or infinite, or configuration, labels, recipe and
        weights do not agree.
        FileError: If the file cannot be written.
    """
    path = Path(path)
    with _naming(path):
        description = Description(
            config=config, labels=labels, recipe=recipe, metadata=dict(metadata or {})
        )
        state = model.state_dict()
        check_dense({name: tensor.cpu() for name, tensor in state.items()})
        if different := differences(sizes_from_shapes(_shapes(state)), sizes_from_config(config)):
            raise CheckpointError(
                f"is not written: the model does not fit its configuration, {different}"
            )
        if infinite := [name for name, tensor in state.items() if not is_finite(tensor)]:
            raise CheckpointError(
                f"is not written: the model has weights that are NaN or infinite, {listed(infinite)}"
            )
        write_safetensors(path, state, description)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a file holds by its own keys, what it says of it, and the names of the objects that were not made."""

    values: dict[str, object]
    description: Description | None = None
    has_checksum: bool = True
    ignored: tuple[str, ...] = ()


@contextlib.contextmanager
def _stored(path: Path) -> Iterator[_Stored]:
    """The content of a file, whose first bytes say what it is, while the file is open."""
    with open_regular(path) as file, _memory_errors():
        with _read_errors(path):
            start = file.read(9)
        if start.startswith(_ZIP):
            found = read_torch_file(file)
            stored = _Stored(values=found.values, ignored=found.ignored)
        elif start[8:] == b"{":
            tensors, description = read_safetensors(path)
            stored = _Stored(
                values=dict(tensors), description=description, has_checksum=description is not None
            )
        else:
            raise _unknown_kind(start)
        if len(stored.values) > MAX_ENTRIES:
            raise CheckpointError(
                f"holds {len(stored.values):,} entries, more than the {MAX_ENTRIES:,} allowed"
            )
        yield stored


def _unknown_kind(start: bytes) -> CheckpointError:
    if not start:
        return CheckpointError("is empty; copy or download it again")
    if start.startswith(_PICKLE):
        return CheckpointError(
            "is in PyTorch's format of before 1.6, which is not read; get it as .safetensors"
        )
    return CheckpointError("is not a weights file; give a .pth, .ckpt or .safetensors file")


def _warn(path: Path, checkpoint: Checkpoint, ignored: tuple[str, ...]) -> None:
    if checkpoint.fresh_head:
        logger.warning("%s holds an encoder alone: the head is random and has to be trained", path)
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


def _checkpoint(stored: _Stored, layout: Layout, config: ModelConfig | None) -> Checkpoint:
    plan, unknown = key_maps.plan(stored.values, layout)
    outline = outline_of_stored(stored.values, plan)
    config = _settled_config(outline, stored.description, config)
    model = outline_model(config)
    fresh_head = not _has_head(outline)
    outlined = _positioned(outline, config) | (_head_weights(model) if fresh_head else {})
    check_names(outlined, model.state_dict(), unknown, layout)
    weights = _positioned(weights_from_stored(stored.values, plan), config)
    if fresh_head:
        initialise(model.decoder.to_empty(device="cpu"), torch.Generator().manual_seed(HEAD_SEED))
        weights |= _head_weights(model)
    model.load_state_dict(weights, assign=True)
    return Checkpoint(
        model=model,
        config=config,
        labels=stored.description.labels
        if stored.description
        else labels_for(config.decoder.num_classes),
        recipe=stored.description.recipe if stored.description else None,
        fresh_head=fresh_head,
        layout=layout.name,
        metadata=stored.description.metadata if stored.description else {},
        has_checksum=stored.has_checksum,
    )


def _settled_config(
    outline: Mapping[str, Tensor], description: Description | None, given: ModelConfig | None
) -> ModelConfig:
    """The configuration that is given, else described, else of a named size; it fits the shapes.

    What the shapes leave open, a head that is not there or the grid that positions are resized to,
    is made anew and may be of any size: there only the user's word counts, or a named size.
    """
    sizes = sizes_from_shapes(_shapes(outline))
    for part in ("encoder", "decoder"):
        if f"{part}.depth" not in sizes and (part == "encoder" or _has_head(outline)):
            raise CheckpointError(f"has none of the blocks of a MotivNet's {part}")
    described = description.config if description else None
    if described is not None and given not in (None, described):
        raise CheckpointError(
            f"does not have the sizes asked for: {_config_differences(described, given)}"
        )
    leaves_open = not _has_head(outline) or _CLASS_TOKEN in outline
    if (
        given is None
        and described is not None
        and leaves_open
        and described not in NAMED_SIZES.values()
    ):
        raise CheckpointError(
            "describes more than it holds; give its sizes with --model CONFIG.json"
        )
    config = given or described
    if config is None:
        return config_from_sizes(sizes)
    if different := differences(sizes, sizes_from_config(config)):
        raise CheckpointError(f"does not have the sizes asked for: {different}")
    return config


def _has_head(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("decoder.") for name in weights)


def _head_weights(model: MotivNet) -> dict[str, Tensor]:
    return dict(model.decoder.state_dict(prefix="decoder."))


def _positioned(weights: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """The weights without a class token, the positions of a pretraining with one resized to the model's grid."""
    if _CLASS_TOKEN not in weights:
        return weights
    rest = {name: weight for name, weight in weights.items() if name != _CLASS_TOKEN}
    if _POSITIONS in rest:
        rest[_POSITIONS] = positions_from_pretraining(rest[_POSITIONS], config.encoder.grid_size)
    return rest


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _config_differences(found: ModelConfig, wanted: ModelConfig) -> str:
    pairs = zip(_flat(found).items(), _flat(wanted).values(), strict=True)
    return ", ".join(
        f"{name} is {value} and not {other}" for (name, value), other in pairs if value != other
    )


def _flat(config: ModelConfig) -> dict[str, object]:
    return {
        f"{part}.{name}": value
        for part, sizes in config.to_dict().items()
        for name, value in sizes.items()
    }


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise CheckpointError(_TOO_LARGE) from error
    except RuntimeError as error:  # PyTorch's allocator raises no MemoryError
        if "allocate" not in str(error):
            raise
        raise CheckpointError(_TOO_LARGE) from error


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
