"""TensorRT's timing cache, with a JSON file beside it that says what it was measured on.

A cache holds kernel timings of one TensorRT version on one GPU. For others they are wrong, and
TensorRT drops such a cache with only a line in its log; here it is refused with the difference.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from motivnet.errors import EngineError, FileError
from motivnet.files import make_folder, read_bytes, write_atomic
from motivnet.path_kind import kind_of
from motivnet.schema import Schema, SchemaError, decode, encode
from motivnet.workspace import write_lock

_MAX_BYTES = 1 << 30
_REMEDY = "remove it, or give another --timing-cache"


class CacheRecord(Schema, frozen=True, kw_only=True):
    """The JSON file: what the timings were measured on, by name, and their SHA-256."""

    key: dict[str, str]
    sha256: str


def read_timing_cache(path: Path, key: Mapping[str, str]) -> bytes:
    """Return the timings in a file, for ``create_timing_cache``; ``b""`` if there is no file yet.

    Args:
        path: Where ``write_timing_cache`` put them.
        key: What they must have been measured on: TensorRT's version, the GPU, the driver, flags.

    Raises:
        EngineError: If they were measured on something else, are damaged, or have no JSON file.
        FileError: If the file cannot be read.
    """
    if kind_of(path) is None and not path.is_symlink():
        return b""
    with _locked(path):
        data = read_bytes(path, max_bytes=_MAX_BYTES)
        record = _read_record(path)
    if differences := _differences(record.key, key):
        raise EngineError(
            f"the timing cache {path} was measured elsewhere: {'; '.join(differences)}; {_REMEDY}"
        )
    if record.sha256 != hashlib.sha256(data).hexdigest():
        raise EngineError(f"the timing cache {path} is damaged; {_REMEDY}")
    return data


def write_timing_cache(path: Path, data: bytes, key: Mapping[str, str]) -> None:
    """Write timings and their JSON file; of two simultaneous builds the later one's stay.

    Raises:
        FileError: If a file cannot be written.
    """
    record = CacheRecord(key=dict(key), sha256=hashlib.sha256(data).hexdigest())
    with _locked(path):
        write_atomic(path, data)
        write_atomic(_record_path(path), encode(record))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other builds from the two files, which must not be mixed up."""
    try:
        make_folder(path.parent)
        with write_lock(path, wait=True):
            yield
    except OSError as error:
        raise FileError(f"{path} cannot be used: {error.strerror or error}") from error


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_record(path: Path) -> CacheRecord:
    beside = _record_path(path)
    if kind_of(beside) is None:
        raise EngineError(
            f"{path} is not a timing cache of motivnet build-engine: there is no {beside.name} "
            f"beside it; {_REMEDY}"
        )
    try:
        return decode(read_bytes(beside), CacheRecord)
    except SchemaError as error:
        raise EngineError(f"the timing cache {path} is damaged: {error}; {_REMEDY}") from error


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    names = [*expected, *(name for name in found if name not in expected)]
    return [
        f"{name} is {expected.get(name, 'none')} here and {found.get(name, 'none')} in the cache"
        for name in names
        if expected.get(name) != found.get(name)
    ]
