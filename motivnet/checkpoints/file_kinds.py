"""What a file is that holds no weights that can be read, by its first bytes, and what to do.

The texts follow the name of the file in an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

START = 512
"""So many bytes tell the kind of a file."""

_GIVE = "give a .pth, .ckpt or .safetensors file"
_STATE_DICT = "give the state dict that it was made from, a .pth, .ckpt or .safetensors file"
_SAPIENS = "for Sapiens-Lite: sapiens_*.pth of the same model"
_UNPACK = f"unpack it, and {_GIVE}"

_KINDS: tuple[tuple[str, str], ...] = (
    (r"version https://git-lfs", "is a Git LFS pointer and not the file itself; run: git lfs pull"),
    (
        r"\s*<(!doctype html|html|head|body)",
        "is a web page, as a download without a login gives; download the file itself",
    ),
    (r"\s*<(\?xml|error)", "is XML, as a refused download or OpenVINO gives; download the weights"),
    (
        r"\s*[{\[]",
        f"is JSON and holds no weights; {_GIVE}, or the .index.json of sharded weights",
    ),
    (r"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", f"is an ONNX model; {_STATE_DICT}"),
    (
        r"\x89HDF\r\n\x1a\n",
        f"is an HDF5 file, as Keras and TensorFlow write; no MotivNet is published so; {_GIVE}",
    ),
    (r"GGUF", f"is a GGUF file of llama.cpp; {_STATE_DICT}"),
    (r".trt\0", f"is a TensorRT engine; {_STATE_DICT}"),
    (r".{4}TFL3", f"is a TensorFlow Lite model; {_STATE_DICT}"),
    (r"\x93NUMPY", f"is an array of NumPy; {_GIVE}"),
    (r"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", f"is a packed archive; {_UNPACK}"),
    (
        r"(sys_info|pickle|storages|tensors)\0{80,}",
        "is in PyTorch's tar format of 2017, which is not read; load it with PyTorch, and save the "
        "state dict again",
    ),
    (r".{257}ustar", f"is a tar archive; {_UNPACK}"),
    (
        r"\x80[\x02-\x05]",
        f"is a pickle, but not one of torch.save, and is not run; {_GIVE}",
    ),
)
"""The beginning of a file as a pattern, and what to say; the first that matches counts."""

_ZIPS: tuple[tuple[str, str], ...] = (
    (
        r".*/constants\.pkl",
        f"is a TorchScript program and no checkpoint; {_STATE_DICT} ({_SAPIENS})",
    ),
    (
        r"(.*/)?(serialized_exported_program\.json|archive_format|models/[^/]*\.json)",
        f"is a program of torch.export and no checkpoint; {_STATE_DICT} ({_SAPIENS})",
    ),
    (r".*\.weights\.h5", f"is a model of Keras; no MotivNet is published so; {_GIVE}"),
    (r".*/data\.pkl", ""),
    (r".*\.npy", f"is an archive of NumPy arrays; {_GIVE}"),
    (
        r".*\.(pth|pt|ckpt|bin|safetensors)",
        "is a zip archive that holds a weights file; unpack it, and give that file",
    ),
)
"""A member of a zip archive, and what to say; nothing for an archive of ``torch.save``."""


def kind_of_file(start: bytes) -> str:
    """Return what a file is that begins so, and what to give instead."""
    text = start.decode("latin-1")
    for pattern, kind in _KINDS:
        if re.match(pattern, text, re.DOTALL | re.IGNORECASE):
            return kind
    return f"is not a weights file; {_GIVE}"


def kind_of_zip(names: Sequence[str]) -> str | None:
    """Return what an archive of such members is, and what to give; None for torch.save's."""
    for pattern, kind in _ZIPS:
        if any(re.fullmatch(pattern, name[:START], re.DOTALL) for name in names):
            return kind or None
    return f"is a zip archive, but not one of torch.save; {_GIVE}"
