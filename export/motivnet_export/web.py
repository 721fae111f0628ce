"""An artifact as a folder that any web server serves, where faces are read in the browser.

The folder holds everything: the model, the face detector, ONNX Runtime Web, the library and the
page (``motivnet_engines/web``, with the service's modules below ``page/``), reference samples, and
``motivnet.json``, which has the SHA-256 of every file. The page runs the samples before it answers.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import ARTIFACTS, Artifact, own_files
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.artifact.reference import read_reference
from motivnet.errors import ConfigError, ExportError
from motivnet.files import make_folder, read_bytes, sha256_of, write_atomic
from motivnet.folders import atomic_folder
from motivnet.parity import TOLERANCES, Precision
from motivnet.path_kind import is_file
from motivnet.terminal import progress
from motivnet_engines.faces import YUNET
from motivnet_engines.inference.calibration import calibration_of_artifact
from motivnet_engines.system.user_folders import user_cache
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest
from motivnet_export.source import model_source

RUNTIME = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = (
    "sha512-"
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
"""Of npm's package, as its registry gives it."""

MAX_PACKAGE = 100_000_000
REGISTRY = "https://registry.npmjs.org"
WASM_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
WEBGPU_FILES = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)

DESCRIPTION, VERSION_FILE = "motivnet.json", "version.js"
_UNLISTED = frozenset((DESCRIPTION, VERSION_FILE, FILE_NAME))
"""Not in ``files``: what has the hashes, what has its hash, and what ``verify`` rewrites."""

_NOT_OF_A_PAGE = frozenset(("index.html", "main.js"))
"""Of the service's page: they ask a server."""

_PRECISIONS = ("fp32", "fp16")
"""That ONNX Runtime Web was seen to run: FP16 with FP32 sums in WebAssembly, whole on GPUs."""

_TOLERANCE = 1e-4
"""Of FP32; that of FP16 is the parity check's."""


def build_for_browsers(
    request: BuildRequest, package: Path | None, *, on_message: Callable[[str], None]
) -> Path:
    """Build an artifact and write the folder of it; the artifact itself does not stay.

    Args:
        package: As of ``write_web_folder``.

    Raises:
        MotivNetError: As ``build_artifact`` and ``write_web_folder``; nothing is written then.
    """
    if request.precision not in _PRECISIONS or request.input != "float32":
        raise ConfigError("--target web takes FP32 or --fp16, and --input float32")
    _package(package, on_message)  # before minutes of building
    source = model_source(request.checkpoint, model=request.model, preprocess=request.preprocess)
    out = request.out or ARTIFACTS / f"{source.name}-web"
    with tempfile.TemporaryDirectory(prefix="motivnet-web-") as temporary:
        artifact = build_artifact(
            # Another precision than the one asked for may be none for a browser.
            replace(request, out=Path(temporary) / out.name, attention="decomposed", strict=True),
            on_message=on_message,
        )
        return write_web_folder(artifact, out, package=package, on_message=on_message)


def describe_folder(folder: Path) -> str:
    """Return what was written, and how it is looked at."""
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    model = (folder / "model.onnx").stat().st_size
    return (
        f"built {folder}: {size / 1e6:.1f} MB, of which the model {model / 1e6:.1f} MB; look at it "
        f"with: python3 -m http.server --directory {folder}"
    )


def write_web_folder(
    artifact: Artifact,
    out: Path,
    *,
    package: Path | None = None,
    webgpu: bool = True,
    on_message: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write an artifact as a folder for browsers, whole or not at all.

    Args:
        artifact: In FP32 or FP16, with decomposed attention and ``float32`` input.
        package: npm's ``onnxruntime-web-1.30.0.tgz``; from the user's cache or npm's registry if
            None. Its hash is checked wherever it comes from.
        webgpu: Whether it has the 27 MB that WebGPU needs; without them it offers WebAssembly.
        on_message: Called with a line before anything is fetched.

    Raises:
        ConfigError: If the artifact is none for a browser.
        ExportError: If ONNX Runtime Web cannot be had.
        FileError: If the folder holds anything else, or cannot be written.
    """
    check_for_browsers(artifact)
    names = (*WASM_FILES, *(WEBGPU_FILES if webgpu else ()))
    runtime = _runtime_files(_package(package, on_message), names)
    with atomic_folder(out, own=own_files) as folder:
        (folder / "ort").mkdir()
        (folder / "page").mkdir()
        for name, content in runtime.items():
            (folder / "ort" / name).write_bytes(content)
        for file in _scripts("web"):
            (folder / file.name).write_bytes(file.read_bytes())
        for file in _scripts("serving/http/page"):
            if file.name not in _NOT_OF_A_PAGE:
                (folder / "page" / file.name).write_bytes(file.read_bytes())
        (folder / "model.onnx").write_bytes(artifact.file_bytes(artifact.manifest.model))
        for name in _for_python(artifact):
            (folder / name).write_bytes(artifact.file_bytes(name))
        shutil.copyfile(YUNET, folder / "face_detection.onnx")
        samples = _write_samples(artifact, folder / "samples.bin")
        _describe(artifact, folder, samples)
        (folder / FILE_NAME).write_bytes(_manifest(artifact, folder).to_json())
    return out


def check_for_browsers(artifact: Artifact) -> None:
    """Refuse an artifact that the library does not run.

    Raises:
        ConfigError: Saying how to build one that it does.
    """
    manifest = artifact.manifest
    if manifest.kind != "onnx" or manifest.input.dtype != "float32":
        raise ConfigError("a browser takes an ONNX graph with --input float32")
    if manifest.precision not in _PRECISIONS or manifest.attention != "decomposed":
        raise ConfigError(
            "a browser takes fp32 or fp16 with decomposed attention, and this is "
            f"{manifest.precision} with {manifest.attention} attention; build it with "
            "--target web"
        )
    if manifest.input.preprocessing.aligns:
        raise ConfigError("the browser's library does not align faces; train without --align")
    if any(entry.path.endswith(".data") for entry in manifest.files):
        raise ConfigError(
            "the model is too large for a browser: its weights are in a file of their own; distil "
            "a student (motivnet-train distill)"
        )


def _for_python(artifact: Artifact) -> tuple[str, ...]:
    """Return the files that ``motivnet verify`` and ``predict`` read, and a page does not."""
    manifest = artifact.manifest
    return tuple(name for name in (manifest.reference, manifest.calibration) if name is not None)


def _manifest(artifact: Artifact, folder: Path) -> Manifest:
    """Return the artifact's manifest with the files of the folder, without what stays behind."""
    listed = (each for each in sorted(folder.rglob("*")) if each.is_file())
    entries = tuple(
        FileEntry(
            path=each.relative_to(folder).as_posix(),
            size=each.stat().st_size,
            sha256=sha256_of(each),
        )
        for each in listed
    )
    return msgspec.structs.replace(
        artifact.manifest, files=entries, engines=(), reports=(), escalation=None
    )


def _scripts(place: str) -> list[Path]:
    folder = Path(str(files("motivnet_engines"))) / place
    return [each for each in sorted(folder.iterdir()) if each.is_file() and each.suffix != ".py"]


def _write_samples(artifact: Artifact, path: Path) -> dict[str, Any]:
    """Write inputs, then logits, as float32 in the order of bytes of every browser's machine."""
    reference = read_reference(artifact)
    inputs = artifact.manifest.input.preprocessing.normalise(reference.pixels).astype("<f4")
    logits = np.asarray(reference.logits, "<f4")
    path.write_bytes(inputs.tobytes() + logits.tobytes())
    return {
        "file": path.name,
        "count": len(inputs),
        "input_shape": inputs.shape[1:],
        "logits_shape": logits.shape[1:],
        **_tolerances(artifact.manifest.precision, logits),
    }


def _tolerances(precision: Precision, logits: NDArray[np.float32]) -> dict[str, float]:
    """Return how far a browser's logits may be from PyTorch's: ``atol + rtol |logit|``."""
    if precision == "fp32":
        return {"atol": _TOLERANCE, "rtol": _TOLERANCE}
    scale = max(1.0, float(np.abs(logits).max()))
    return {"atol": TOLERANCES[precision].logit * scale, "rtol": 0.0}


def _describe(artifact: Artifact, folder: Path, samples: dict[str, Any]) -> None:
    manifest, recipe = artifact.manifest, artifact.manifest.input.preprocessing
    calibration = calibration_of_artifact(artifact)
    listed = (each for each in sorted(folder.rglob("*")) if each.is_file())
    description = {
        "format": 1,
        "name": artifact.folder.name,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "labels": manifest.labels,
        "temperature": 1.0 if calibration is None else calibration.metadata.temperature,
        "purpose": manifest.purpose,
        "model": {
            "file": "model.onnx",
            "precision": manifest.precision,
            "input": manifest.input.name,
            "outputs": manifest.outputs,
            "size": recipe.size,
        },
        "preprocess": {"name": recipe.name, "mean": recipe.mean, "std": recipe.std},
        "detector": {"file": "face_detection.onnx"},
        "runtime": {"name": RUNTIME, "version": VERSION, "folder": "ort"},
        "samples": samples,
        "files": {
            each.relative_to(folder).as_posix(): {
                "sha256": hashlib.sha256(each.read_bytes()).hexdigest(),
                "bytes": each.stat().st_size,
            }
            for each in listed
            if each.name not in {*_UNLISTED, *_for_python(artifact)}
        },
    }
    text = json.dumps(description, indent=2).encode()
    (folder / DESCRIPTION).write_bytes(text)
    # The service worker reads it: another build of the folder replaces the copy for use offline.
    digest = hashlib.sha256(text).hexdigest()
    (folder / VERSION_FILE).write_text(f'self.VERSION = "{digest}";\n')


def _runtime_files(package: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return files of ONNX Runtime Web, by name, from npm's package whose hash was checked."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
        for name in names:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None  # the hash says which package this is
            found[name] = member.read()
    return found


def _package(given: Path | None, on_message: Callable[[str], None]) -> bytes:
    """Return npm's package, its hash checked."""
    if given is not None:
        return _checked(read_bytes(given, max_bytes=MAX_PACKAGE), str(given))
    cached = user_cache() / f"{RUNTIME}-{VERSION}.tgz"
    if is_file(cached):
        return _checked(read_bytes(cached, max_bytes=MAX_PACKAGE), str(cached))
    registry = _registry()
    on_message(
        f"fetching {RUNTIME} {VERSION} (33 MB) from {registry}, once; it is kept in {cached.parent}"
    )
    url = f"{registry}/{RUNTIME}/-/{RUNTIME}-{VERSION}.tgz"
    try:
        with (
            progress(f"fetching {RUNTIME} {VERSION}"),
            urllib.request.urlopen(url, timeout=60) as answer,  # noqa: S310 - http or https, above
        ):
            content = answer.read(MAX_PACKAGE + 1)
    except (OSError, urllib.error.URLError) as error:
        raise ExportError(
            f"{RUNTIME} {VERSION} cannot be fetched from {registry} ({error}); give npm's package "
            f"with --web-runtime {RUNTIME}-{VERSION}.tgz (npm pack {RUNTIME}@{VERSION})"
        ) from error
    content = _checked(content, url)
    make_folder(cached.parent, private=True)
    write_atomic(cached, content, private=True)
    return content


def _checked(content: bytes, source: str) -> bytes:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise ExportError(
            f"{source} is not {RUNTIME} {VERSION}: its hash is another one; get it again, "
            f"for example with: npm pack {RUNTIME}@{VERSION}"
        )
    return content


def _registry() -> str:
    """Return npm's registry: that of its settings where npm is, else the public one."""
    named = os.environ.get("NPM_CONFIG_REGISTRY")
    if not named and (npm := shutil.which("npm")):
        asked = subprocess.run(  # noqa: S603 - npm of the user's PATH
            [npm, "config", "get", "registry"], capture_output=True, text=True, check=False
        )
        named = asked.stdout.strip()
    named = (named or REGISTRY).rstrip("/")
    if not re.match(r"https?://", named):
        raise ExportError(f"npm's registry must be an http address, not {named[:80]}")
    return named
