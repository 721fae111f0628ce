"""Arrays and metadata in one ``.npz`` file, without pickle, limited before they are unpacked."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motivnet import schema
from motivnet.errors import ConfigError, FileError
from motivnet.files import write_atomic
from motivnet.schema import Schema

MAX_BYTES = 1 << 28
"""Of the file, packed and unpacked; the largest encoder's statistics (width 1920) have 15 MB."""

_MAX_ENTRIES = 100
_ENTRY = b"PK\1\2"
"""Begins each entry of the archive's directory, of which ``ZipFile`` keeps all in memory."""

_ARCHIVE = b"PK"

_METADATA = "metadata"

# What NumPy and the standard library raise for a damaged file.
_DAMAGE = (
    EOFError,
    KeyError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

T = TypeVar("T")


def encode_npz(metadata: Schema, arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return the content of an ``.npz`` file; equal values give equal bytes."""
    text = np.frombuffer(schema.encode(metadata), np.uint8)
    entries = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{_METADATA: text}, **entries)  # type: ignore[arg-type] # its stub
    return buffer.getvalue()


def write_npy(path: Path, array: NDArray[np.generic]) -> None:
    """Write an ``.npy`` file whole or not at all.

    It is encoded in memory: what ``np.save`` writes to a file is cut short on a full disk without
    an error.

    Raises:
        FileError: If it cannot be written.
    """
    encoded = io.BytesIO()
    np.save(encoded, array, allow_pickle=False)
    write_atomic(path, encoded.getvalue())


def decode_npz(
    data: bytes, kind: type[T], *, names: Sequence[str]
) -> tuple[T, dict[str, NDArray[np.float32]]]:
    """Return the metadata, as a ``kind``, and the named arrays that ``encode_npz`` wrote.

    Raises:
        FileError: If something is wrong or an array is not float32 and finite; the text follows the
            name of the file.
    """
    arrays = read_arrays(data, names=(_METADATA, *names), max_bytes=MAX_BYTES)
    text = arrays.pop(_METADATA)
    try:
        metadata = schema.decode(text.tobytes(), kind)
    except (schema.SchemaError, ConfigError) as error:
        raise FileError(f"cannot be read: {error}") from error
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise FileError(f"cannot be used: {name} is not float32 or not finite")
    return metadata, arrays


def read_arrays(data: bytes, *, names: Sequence[str], max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an ``.npz`` file, of any plain dtype, read-only.

    Raises:
        FileError: If something is wrong, or the whole file unpacks to more than ``max_bytes``; the
            text follows the name of the file.
    """
    try:
        if data.count(_ENTRY) > _MAX_ENTRIES:
            raise ValueError(f"it has more than the {_MAX_ENTRIES} entries allowed")
        if not data.startswith(_ARCHIVE):
            raise FileError("is not an .npz file")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Unpacking stops at the sizes that the directory states.
            if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
                raise ValueError(f"it unpacks to more than the {max_bytes:,} bytes allowed")
            return {name: _read_array(archive, name) for name in names}
    except zipfile.BadZipFile as error:
        raise FileError("cannot be read: it is no .npz file, or a damaged one") from error
    except _DAMAGE as error:
        raise FileError(f"cannot be read: {error or type(error).__name__}") from error


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array; ``np.load`` would allocate what the header states before reading values."""
    content = io.BytesIO(archive.read(f"{name}.npy"))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{name} is of another version of NumPy's format")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(content)
    if dtype.hasobject or by_column:
        raise ValueError(f"{name} holds objects, or is stored by columns")
    # reshape refuses a shape that the values do not have
    return np.frombuffer(content.read(), dtype).reshape(shape)
