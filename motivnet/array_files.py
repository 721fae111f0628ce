"""Arrays and the facts about them in one ``.npz`` file, without pickle, bounded before anything is unpacked."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motivnet import strict_json
from motivnet.errors import ConfigError, FileError

MAX_BYTES = 1 << 28
"""Of the file, and of what is unpacked; the statistics of the largest encoder, of width 1920, have 15 MB."""

_MAX_ENTRIES = 100
_ENTRY = b"PK\1\2"
"""Begins each entry of the archive's directory, of which ``ZipFile`` keeps all in memory."""

_FACTS = "facts"
_DAMAGE = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and the standard library let through of a file that is none of theirs."""

T = TypeVar("T")


def npz_from(facts: object, arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The content of an ``.npz`` file of arrays and of a dataclass; equal values give equal bytes."""
    text = np.frombuffer(strict_json.dumps(facts), np.uint8)
    buffer = io.BytesIO()
    in_rows = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    np.savez_compressed(buffer, **{_FACTS: text}, **in_rows)  # type: ignore[arg-type]  # its stub takes no mapping
    return buffer.getvalue()


def read_npz(
    data: bytes, facts: type[T], *, names: Sequence[str]
) -> tuple[T, dict[str, NDArray[np.float32]]]:
    """The facts and the named arrays of what ``npz_from`` made, all float32 and finite.

    Raises:
        FileError: Saying what is wrong; the text fits after the name of the file.
    """
    arrays = read_arrays(data, names=(_FACTS, *names), max_bytes=MAX_BYTES)
    text = arrays.pop(_FACTS)
    try:
        found = strict_json.build(facts, strict_json.loads(text.tobytes()))
    except (*_DAMAGE, ConfigError) as error:
        raise FileError(f"cannot be read: {error or type(error).__name__}") from error
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise FileError(f"cannot be used: {name} is not float32 or not finite")
    return found, arrays


def read_arrays(data: bytes, *, names: Sequence[str], max_bytes: int) -> dict[str, NDArray[Any]]:
    """The named arrays of an ``.npz`` file, of any plain type, read-only.

    Args:
        max_bytes: The most that all of the file may unpack to.

    Raises:
        FileError: Saying what is wrong; the text fits after the name of the file.
    """
    try:
        if data.count(_ENTRY) > _MAX_ENTRIES:
            raise ValueError(f"it has more than the {_MAX_ENTRIES} entries allowed")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_size(archive, max_bytes)
            return {name: _array(archive, name) for name in names}
    except _DAMAGE as error:
        raise FileError(f"cannot be read: {error or type(error).__name__}") from error


def _check_size(archive: zipfile.ZipFile, max_bytes: int) -> None:
    """By the sizes that the archive states; the unpacking stops at them."""
    if sum(entry.file_size for entry in archive.infolist()) > max_bytes:
        raise ValueError(f"it unpacks to more than the {max_bytes:,} bytes allowed")


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array; ``np.load`` would allocate whatever its header promises before it looks for the values."""
    content = io.BytesIO(archive.read(f"{name}.npy"))
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{name} is of another version of NumPy's format")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(content)
    if dtype.hasobject or by_column:
        raise ValueError(f"{name} holds objects, or columns in the place of rows")
    return np.frombuffer(content.read(), dtype).reshape(
        shape
    )  # refuses a shape that the values do not have
