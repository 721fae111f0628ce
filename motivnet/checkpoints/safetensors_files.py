"""Our own format: safetensors with the configuration, labels and input recipe in its metadata, and
a checksum.

Safetensors has no checksum of its own: a flipped bit in a weight loads silently. Ours is in the
metadata, whose one entry holds all that we add, because the library orders several entries anew in
each process and equal models should make equal files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from motivnet import strict_json
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError
from motivnet.files import atomic_path, open_regular
from motivnet.labels import is_label
from motivnet.preprocess import InputRecipe

ENTRY = "motivnet"
MAX_HEADER = 8 << 20
_CHUNK = 1 << 26
_AGAIN = "copy or download it again"
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a file of ours says of its model besides the weights."""

    config: ModelConfig
    labels: tuple[str, ...]
    recipe: InputRecipe | None
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = self.config.decoder.num_classes
        if len(self.labels) != classes or len(set(self.labels)) != classes:
            raise CheckpointError(
                f"needs {classes} different labels, one a class, not {len(set(self.labels))}"
            )
        if unfit := [label for label in self.labels if not is_label(label)]:
            raise CheckpointError(
                f"has the label {unfit[0][:80]!r}, which is not a short printable text"
            )
        if self.recipe is not None and self.recipe.size != self.config.encoder.image_size:
            raise CheckpointError(
                f"has an input recipe of {self.recipe.size} for a model of {self.config.encoder.image_size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """The metadata's one entry: the description's JSON as it was hashed, and the hash."""

    description: str
    sha256: str


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], Description | None]:
    """The tensors of a safetensors file, and what it says of its model if this toolkit wrote it.

    Raises:
        CheckpointError: If it is truncated, is not safetensors, or does not have its checksum.
    """
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise CheckpointError(f"is truncated or damaged; {_AGAIN}") from error
    return tensors, _description(metadata, tensors)


def check_header(path: Path) -> None:
    """Returns when a safetensors file's header is no longer than one of ours can be, before it is
    parsed.

    The library takes 100 MB, of which it makes many times as much.

    Raises:
        CheckpointError: If it is longer than that or than the file.
        FileError: If the file is not regular or cannot be opened.
    """
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > file.seek(0, os.SEEK_END) - 8:
            raise CheckpointError(f"is truncated or damaged; {_AGAIN}")
    if length > MAX_HEADER:
        raise CheckpointError(
            f"describes its tensors in {length:,} bytes, more than the {MAX_HEADER:,} allowed"
        )


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], description: Description) -> None:
    """Writes tensors and description to ``path``, whole or not at all; equal content makes equal
    bytes.

    Raises:
        FileError: If it cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dataclasses.asdict(description), allow_nan=False)
    entry = _Entry(description=text, sha256=_digest(text, plain))
    with atomic_safetensors(path) as temporary:
        save_file(plain, temporary, metadata={ENTRY: json.dumps(dataclasses.asdict(entry))})


@contextlib.contextmanager
def atomic_safetensors(path: Path, *, private: bool = False) -> Iterator[Path]:
    """``atomic_path`` for what safetensors writes, whose one error hides the system's refusals in
    its text.

    Raises:
        FileError: If the file cannot be written; an older one is untouched.
    """
    with atomic_path(path, private=private) as temporary:
        try:
            yield temporary
        except SafetensorError as error:
            refused = _SYSTEM_ERROR.search(str(error))
            if refused is None:
                raise
            number = int(refused[1])
            raise OSError(number, os.strerror(number)) from error


def _description(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Description | None:
    """What a file of ours says; None for one that this toolkit did not write."""
    if ENTRY not in metadata and _is_foreign(metadata):
        return None
    try:
        entry = strict_json.build(_Entry, _loads(metadata.get(ENTRY, "")))
        if set(metadata) != {ENTRY} or entry.sha256 != _digest(entry.description, tensors):
            raise CheckpointError(f"is damaged (its checksum differs); {_AGAIN}")
        return strict_json.build(Description, _loads(entry.description))
    except (strict_json.StrictJSONError, ConfigError) as error:
        raise CheckpointError(f"describes its model in a way that is not valid: {error}") from error


def _is_foreign(metadata: Mapping[str, str]) -> bool:
    """Whether no entry looks like ours with a flipped bit in its name."""
    return not any('"sha256"' in text for text in metadata.values())


def _loads(text: str) -> Any:
    return strict_json.loads(text.encode("utf-8", "surrogatepass"))


def _digest(description: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the description, and over every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(description.encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        data = tensor.reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(data), _CHUNK):  # an interruption is heard between two chunks
            digest.update(data[start : start + _CHUNK])
    return digest.hexdigest()
