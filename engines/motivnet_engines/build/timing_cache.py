r"""TensorRT's timing cache in a file that says what it was measured on.

A cache holds kernel timings of one TensorRT on one GPU. With another they are wrong, and TensorRT
drops such a cache with no more than a line in its log; here it is refused by name. One file, so
that key and timings cannot part:

.. code-block:: text

    motivnet timing cache 1\n
    {"bytes": ..., "key": {...}, "sha256": "..."}\n
    <what ITimingCache.serialize gave>
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from motivnet import strict_json
from motivnet.errors import EngineError
from motivnet.files import read_bytes, write_atomic

_MAGIC = b"motivnet timing cache 1\n"
_MAX_BYTES = 1 << 30
_REMEDY = "remove it, or give another --timing-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    bytes: int
    key: dict[str, str]
    sha256: str


def read_timing_cache(path: Path, key: Mapping[str, str]) -> bytes:
    """The timings in a file, for ``create_timing_cache``; none (``b""``) where there is no file
    yet.

    Args:
        path: Where ``write_timing_cache`` put them.
        key: What they must have been measured on, by name: TensorRT's version, the GPU, the driver,
        the flags.

    Raises:
        EngineError: If they were measured on something else, are damaged, or are no timing cache of
        ours.
        FileError: If the file cannot be read.
    """
    if not path.exists() and not path.is_symlink():
        return b""
    header, data = _split(path, read_bytes(path, max_bytes=_MAX_BYTES))
    if differences := _differences(header.key, key):
        raise EngineError(
            f"the timing cache {path} was measured elsewhere: {'; '.join(differences)}; {_REMEDY}"
        )
    if len(data) != header.bytes or hashlib.sha256(data).hexdigest() != header.sha256:
        raise EngineError(f"the timing cache {path} is damaged; {_REMEDY}")
    return data


def write_timing_cache(path: Path, data: bytes, key: Mapping[str, str]) -> None:
    """Writes timings whole or not at all; of two builds at the same time the later one's stay.

    Raises:
        FileError: If the file cannot be written.
    """
    header = {"bytes": len(data), "key": dict(key), "sha256": hashlib.sha256(data).hexdigest()}
    text = json.dumps(header, sort_keys=True, ensure_ascii=False).encode()
    write_atomic(path, _MAGIC + text + b"\n" + data)


def _split(path: Path, content: bytes) -> tuple[_Header, bytes]:
    line, newline, data = content.removeprefix(_MAGIC).partition(b"\n")
    if not content.startswith(_MAGIC) or not newline:
        raise EngineError(f"{path} is not a timing cache of motivnet build-engine; {_REMEDY}")
    try:
        return strict_json.build(_Header, strict_json.loads(line)), data
    except strict_json.StrictJSONError as error:
        raise EngineError(f"the timing cache {path} is damaged: {error}; {_REMEDY}") from error


def _differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    names = [*wanted, *(name for name in found if name not in wanted)]
    return [
        f"{name} is {wanted.get(name, 'none')} here and {found.get(name, 'none')} in the cache"
        for name in names
        if wanted.get(name) != found.get(name)
    ]
