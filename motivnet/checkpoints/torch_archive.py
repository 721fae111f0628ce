"""The zip archive of ``torch.save``, read by rules that leave each byte of it one meaning.

Members that are compressed or overlap would give a small file any size, and are refused. Each
member's checksum is compared before anything of it is used.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from motivnet.checkpoints.file_kinds import kind_of_zip
from motivnet.errors import CheckpointError

_CHUNK = 1 << 20
_MAX_DIRECTORY = 16 << 20
_DOS_DIRECTORY = 0x10
_ENCRYPTED = 0x1
# What zipfile raises on damaged archives: its own error, and those of the fields that it uses
# unchecked.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)
_DAMAGED = "is truncated or damaged; copy or download it again"
_UNUSUAL = "is damaged, or not as torch.save writes it"


@dataclass(frozen=True, slots=True)
class _Member:
    start: int
    size: int


class TorchArchive:
    """The members of an archive by name, in an open file that has to stay open.

    Raises:
        CheckpointError: If the archive is damaged or is not one of ``torch.save``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        with _zip_errors():
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                _check_entries(entries)
                spans = {entry.filename: _span(file, entry) for entry in entries}
                _check_apart(entries, spans, end=archive.start_dir)
            for entry in entries:
                _check_crc(file, spans[entry.filename], entry)
        self._members = spans
        self._folder = _folder([entry.filename for entry in entries])

    def size(self, name: str) -> int | None:
        """Return the size of a member, by its name in the archive's folder, or None."""
        member = self._members.get(f"{self._folder}/{name}")
        return None if member is None else member.size

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of a member that must exist.

        Raises:
            CheckpointError: If it is larger than ``max_bytes``, or the file was cut meanwhile.
        """
        size = self._members[f"{self._folder}/{name}"].size
        if size > max_bytes:
            raise CheckpointError(
                f"describes its content in {size:,} bytes, more than the {max_bytes:,} allowed"
            )
        data = bytearray(size)
        self.read_into(memoryview(data), name)
        return bytes(data)

    def read_into(self, buffer: memoryview, name: str, *, offset: int = 0) -> None:
        """Fill a buffer from a member, which must have as many bytes after ``offset``.

        Raises:
            CheckpointError: If the file was cut meanwhile.
        """
        with _zip_errors():
            self._file.seek(self._members[f"{self._folder}/{name}"].start + offset)
            filled = 0
            while filled < len(buffer):
                count = self._file.readinto(buffer[filled:])  # type: ignore[attr-defined] # of every binary file
                if not count:
                    raise EOFError
                filled += count


def _check_end(file: BinaryIO) -> None:
    """Refuse a directory that is too large to list, before ``zipfile`` lists it.

    Archives of torch.save have no comment, so that the record with the size has a fixed place.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 98))
    tail = file.read(98)
    if len(tail) < 22 or tail[-22:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise CheckpointError(_DAMAGED)
    size = int.from_bytes(tail[-10:-6], "little")
    if len(tail) == 98 and tail[-42:-38] == b"PK\x06\x07" and tail[:4] == b"PK\x06\x06":
        size = max(0 if size == 0xFFFFFFFF else size, int.from_bytes(tail[40:48], "little"))
    if size > _MAX_DIRECTORY:
        raise CheckpointError(_UNUSUAL)


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if (kind := kind_of_zip(names)) is not None:
        raise CheckpointError(kind)
    # PyTorch takes a member with the directory bit for empty, so that others would read another
    # model than we do.
    folders = any(entry.is_dir() or entry.external_attr & _DOS_DIRECTORY for entry in entries)
    packed = any(
        entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED
        for entry in entries
    )
    if folders or packed or len(set(names)) != len(names):
        raise CheckpointError(f"{_UNUSUAL} (folders, compressed or repeated members)")
    if any(entry.compress_size != entry.file_size for entry in entries):
        raise CheckpointError(_DAMAGED)


def _span(file: BinaryIO, entry: zipfile.ZipInfo) -> _Member:
    """Return where a member is: after its header, which must have the name in the directory."""
    file.seek(entry.header_offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise CheckpointError(_DAMAGED)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    if file.read(name_length) != entry.orig_filename.encode(
        "utf-8" if entry.flag_bits & 0x800 else "cp437"
    ):
        raise CheckpointError(_DAMAGED)
    return _Member(
        start=entry.header_offset + 30 + name_length + extra_length, size=entry.file_size
    )


def _check_apart(entries: list[zipfile.ZipInfo], spans: dict[str, _Member], *, end: int) -> None:
    before = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        span = spans[entry.filename]
        if entry.header_offset < before:
            raise CheckpointError(f"{_UNUSUAL} (its members overlap)")
        before = span.start + span.size
    if before > end:
        raise CheckpointError(_DAMAGED)


def _check_crc(file: BinaryIO, span: _Member, entry: zipfile.ZipInfo) -> None:
    file.seek(span.start)
    left, checksum = span.size, 0
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise EOFError
        left -= len(chunk)
        checksum = zlib.crc32(chunk, checksum)
    if checksum != entry.CRC:
        shown = ascii(entry.filename)[:120]
        raise CheckpointError(
            f"is damaged (the checksum of {shown} differs); copy or download it again"
        )


def _folder(names: list[str]) -> str:
    """Return the one folder that every member is in."""
    folders = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(folders) != 1 or "/" in folders[0]:
        raise CheckpointError(f"{_UNUSUAL} (it holds several pickles)")
    return folders[0]


@contextlib.contextmanager
def _zip_errors() -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        raise CheckpointError(_DAMAGED) from error
