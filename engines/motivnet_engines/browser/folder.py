"""What ``motivnet.json`` names: the file that a page reads first in the folder of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motivnet import schema
from motivnet.artifact.manifest import FILE_NAME
from motivnet.errors import ArtifactError, FileError, RuntimeUnavailableError
from motivnet.files import read_bytes
from motivnet.path_kind import kind_of
from motivnet.schema import SchemaError

DESCRIPTION_FILE = "motivnet.json"
FORMAT = 1

UNLISTED = (DESCRIPTION_FILE, "version.js", FILE_NAME)
"""Files without a hash in it: itself, its hash, and the manifest, which ``verify`` rewrites."""

WEBGPU_FILE = "ort.webgpu.min.mjs"

_BUILD = "motivnet-export build --target web"


def is_web_folder(folder: Path) -> bool:
    """Return whether a folder was built for the browser."""
    return kind_of(folder / DESCRIPTION_FILE) is not None


def check_web_folder(folder: Path) -> None:
    """Check that a folder is one for the browser, of this version.

    Raises:
        ArtifactError, RuntimeUnavailableError: As ``files_of``.
    """
    files_of(folder)


def files_of(folder: Path) -> frozenset[str]:
    """Return the paths of everything that a page may ask for, with ``/``.

    Raises:
        ArtifactError: If its description is damaged or of another version.
        RuntimeUnavailableError: If the folder is not for the browser.
    """
    if not is_web_folder(folder):
        raise RuntimeUnavailableError(
            f"{folder} is not for the browser: it has no {DESCRIPTION_FILE}; "
            f"build one that is with: {_BUILD}"
        )
    try:
        described = schema.decode(read_bytes(folder / DESCRIPTION_FILE), dict[str, Any])
    except (FileError, SchemaError) as error:
        raise ArtifactError(
            f"{DESCRIPTION_FILE} of {folder} cannot be read: {error}; build it again"
        ) from error
    if described.get("format") != FORMAT:
        raise ArtifactError(
            f"{folder} is of another version ({DESCRIPTION_FILE} has format "
            f"{described.get('format')!r}, this version reads {FORMAT}); build it again with: "
            f"{_BUILD}"
        )
    files = described.get("files")
    if not isinstance(files, dict) or not files:
        raise ArtifactError(f"{DESCRIPTION_FILE} of {folder} names no files; build it again")
    return frozenset((*files, *UNLISTED))


def has_webgpu(folder: Path) -> bool:
    """Return whether the folder has the files that run the model with WebGPU."""
    return any(name.endswith(f"/{WEBGPU_FILE}") for name in files_of(folder))
