"""The one place that calls ``torch.load`` and ``torch.save``: archives that are checked before they are parsed.

``torch.load`` does not compare the archive's checksums, so that a flipped bit becomes a wrong weight without a word;
``zipfile`` does. Both read the same open file. Only tensors and plain values are accepted, with no way around it: a
pickle that asks for anything else could run code.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch

from motivnet.errors import CheckpointError

OVERRIDE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_DOS_DIRECTORY = 0x10
_REFUSED_OBJECT = re.compile(r"GLOBAL ([\w.]+)")
# What zipfile raises on damaged archives: its own error, and those of the fields that it uses unchecked.
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, RuntimeError, EOFError, ValueError, OverflowError, struct.error)


def read_torch_file(file: BinaryIO) -> dict[str, object]:
    """The state dict in an archive of ``torch.save``, alone or under the key ``state_dict``; on the CPU.

    Its values are whatever the file holds under those keys; nothing else of the file is looked at.

    Raises:
        CheckpointError: If the archive is damaged, asks for more than tensors, or holds no state dict.
    """
    content = read_archive(file)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"holds no state dict but a {type(content).__name__}; save model.state_dict()")
    return dict(content)


def read_archive(file: BinaryIO, *, device: Literal["cpu", "meta"] = "cpu") -> object:
    """What an archive of ``torch.save`` holds, of tensors and plain values.

    Args:
        device: ``meta`` gives tensors of the right shape without values: every byte's checksum is compared and the
            structure is parsed, but no memory is needed for the weights.

    Raises:
        CheckpointError: If the archive is damaged or asks for more than tensors and plain values.
    """
    if os.environ.get(OVERRIDE):
        raise CheckpointError(f"refused while {OVERRIDE} is set, which asks PyTorch to run code from files; unset it")
    _check_archive(file)
    return _load(file, device)


def write_archive(content: object, path: Path) -> None:
    """Writes ``content`` as an archive, through a file of Python's, which knows why a write failed; torch's does not.

    Raises:
        OSError: If the system refuses; call it inside ``motivnet.files.atomic_path``.
    """
    handled = sys.exception()
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # What stopped the writing, an OSError or an interruption, is hidden by the failure to end the archive.
            hidden = error.__context__
            if hidden is None or hidden is handled:
                raise
            raise hidden from None


def _check_archive(file: BinaryIO) -> None:
    """Returns when every member of the archive has its checksum and the archive is one of ``torch.save``."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist())
            damaged = archive.testzip()
    except _ZIP_ERRORS as error:
        raise CheckpointError("is truncated or damaged; copy or download it again") from error
    if damaged is not None:
        raise CheckpointError(f"is damaged (the checksum of {damaged!r} differs); copy or download it again")


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    # PyTorch takes a member with the directory bit for empty and leaves its tensor uninitialised, without a word.
    folders = any(member.is_dir() or member.external_attr & _DOS_DIRECTORY for member in members)
    compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if folders or compressed or len(set(names)) != len(names):
        raise CheckpointError("is damaged, or not as torch.save writes it (folders, compressed or repeated members)")
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError("is a TorchScript program; give the weights that it was made from")
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError("is a zip archive, but not one of torch.save; give a .pth, .ckpt or .safetensors file")


def _load(file: BinaryIO, device: Literal["cpu", "meta"]) -> Any:
    file.seek(0)
    try:
        return torch.load(file, map_location=device, weights_only=True, mmap=False)
    except Exception as error:
        if refused := _REFUSED_OBJECT.search(str(error)):
            raise CheckpointError(
                f"asks for the Python object {refused[1]}, which is refused because it could run code; "
                "save only its state dict, of plain tensors"
            ) from error
        raise CheckpointError("is damaged, or not as torch.save writes it; copy or download it again") from error
