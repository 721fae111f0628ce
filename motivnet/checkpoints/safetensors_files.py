"""Our own format: safetensors with a description of the model and a checksum in its metadata.

The metadata has one entry, because the library writes several in a random order and equal models
should make equal files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError
from motivnet.files import atomic_path, open_regular
from motivnet.labels import is_label
from motivnet.preprocess import Preprocessing
from motivnet.schema import Schema, SchemaError, decode

ENTRY = "motivnet"
MAX_HEADER = 8 << 20
_CHUNK = 1 << 26
_AGAIN = "copy or download it again"
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


class Description(Schema, frozen=True, kw_only=True):
    """What a file of ours says about its model besides the weights."""

    config: ModelConfig
    labels: tuple[str, ...]
    preprocessing: Preprocessing | None
    metadata: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = self.config.decoder.num_classes
        if len(self.labels) != classes or len(set(self.labels)) != classes:
            raise CheckpointError(
                f"needs {classes} different labels, one per class, not {len(set(self.labels))}"
            )
        if unfit := [label for label in self.labels if not is_label(label)]:
            raise CheckpointError(
                f"has the label {unfit[0][:80]!r}, which is not a short printable text"
            )
        size = self.config.encoder.image_size
        if self.preprocessing is not None and self.preprocessing.size != size:
            raise CheckpointError(
                f"has a preprocessing to {self.preprocessing.size} for a model of {size}"
            )


class _Entry(Schema, frozen=True, kw_only=True):
    """The only entry of the metadata: the description's JSON as it was hashed, and the hash."""

    description: str
    sha256: str


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], Description | None]:
    """Return the tensors of a safetensors file, and its description if this toolkit wrote it.

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
    """Refuse a header that is longer than one of ours can be, before it is parsed.

    The library accepts 100 MB, and needs many times as much memory to parse it.

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
    """Write tensors and description to ``path``, whole or not at all.

    Equal content makes equal bytes.

    Raises:
        FileError: If it cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = _to_json(description)
    entry = _Entry(description=text, sha256=_digest(text, plain))
    with atomic_safetensors(path) as temporary:
        save_file(plain, temporary, metadata={ENTRY: _to_json(entry)})


@contextlib.contextmanager
def atomic_safetensors(path: Path, *, private: bool = False) -> Iterator[Path]:
    """``atomic_path`` for safetensors, whose error has that of the system only in its text.

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
    """Return the description in a file of ours, None for a file of another tool."""
    # An entry that is like ours may be ours with a flipped bit in its name.
    if ENTRY not in metadata and not any(map(_is_entry, metadata.values())):
        return None
    try:
        entry = decode(_to_bytes(metadata.get(ENTRY, "")), _Entry)
        if set(metadata) != {ENTRY} or entry.sha256 != _digest(entry.description, tensors):
            raise CheckpointError(f"is damaged (its checksum differs); {_AGAIN}")
        return decode(_to_bytes(entry.description), Description)
    except (SchemaError, ConfigError) as error:
        raise CheckpointError(f"describes its model in a way that is not valid: {error}") from error


def _is_entry(text: str) -> bool:
    try:
        decode(_to_bytes(text), _Entry)
    except SchemaError:
        return False
    return True


def _to_json(value: Schema) -> str:
    return json.dumps(value, allow_nan=False, default=msgspec.to_builtins)


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(description: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the description and of every tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(_to_bytes(description))
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        data = tensor.reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(data), _CHUNK):  # Ctrl-C is handled between two chunks
            digest.update(data[start : start + _CHUNK])
    return digest.hexdigest()
