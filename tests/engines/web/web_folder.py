"""Makes the folder of a model for the browser out of an artifact, small enough for tests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

import motivnet_engines
from motivnet.artifact import open_artifact
from motivnet_engines.faces import YUNET

PACKAGE = Path(motivnet_engines.__file__).parent
RUNTIME = "onnxruntime-web"
VERSION = "1.30.0"
WASM_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU_FILES = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)


def runtime_folder() -> Path:
    """The ``dist`` of npm's onnxruntime-web, fetched once."""
    given = os.environ.get("MOTIVNET_ONNXRUNTIME_WEB")
    if given:
        return Path(given)
    cache = Path.home() / ".cache" / "motivnet-tests" / f"{RUNTIME}-{VERSION}"
    dist = cache / "package" / "dist"
    if not dist.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm to fetch onnxruntime-web, or MOTIVNET_ONNXRUNTIME_WEB=FOLDER")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", "--silent", f"{RUNTIME}@{VERSION}"]
        if subprocess.run(command, cwd=cache, capture_output=True, check=False).returncode:
            pytest.skip("npm cannot fetch onnxruntime-web")
        with tarfile.open(cache / f"{RUNTIME}-{VERSION}.tgz") as archive:
            archive.extractall(cache, filter="data")
    return dist


def make_web_folder(artifact: Path, out: Path, *, webgpu: bool = False) -> Path:
    """Write what a browser needs of an FP32 artifact."""
    (out / "ort").mkdir(parents=True)
    (out / "page").mkdir()
    for file in (PACKAGE / "web").iterdir():
        if file.is_file() and file.suffix != ".py":
            shutil.copy(file, out)
    for file in (PACKAGE / "serving/http/page").iterdir():
        if file.name not in {"index.html", "main.js"}:
            shutil.copy(file, out / "page")
    dist = runtime_folder()
    for name in (*WASM_FILES, *(WEBGPU_FILES if webgpu else ())):
        shutil.copy(dist / name, out / "ort")
    shutil.copy(artifact / "model.onnx", out)
    shutil.copy(artifact / "manifest.json", out)
    shutil.copy(YUNET, out / "face_detection.onnx")
    manifest = open_artifact(artifact).manifest
    recipe = manifest.input.preprocessing
    with np.load(artifact / "reference.npz") as reference:
        inputs, logits = recipe.normalise(reference["pixels"]), reference["logits"]
    samples = inputs.astype("<f4").tobytes() + logits.astype("<f4").tobytes()
    (out / "samples.bin").write_bytes(samples)
    describe(
        out,
        {
            "format": 1,
            "name": artifact.name,
            "created": "2026-12-01T00:00:00Z",
            "labels": manifest.labels,
            "temperature": 1.0,
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
            "samples": {
                "file": "samples.bin",
                "count": len(inputs),
                "input_shape": inputs.shape[1:],
                "logits_shape": logits.shape[1:],
                "atol": 1e-4,
                "rtol": 1e-4,
            },
        },
    )
    return out


def describe(folder: Path, description: dict[str, object]) -> None:
    """Write motivnet.json with the hashes of the files as they are now, and its version."""
    own = {"motivnet.json", "version.js"}
    files = {
        file.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in own
    }
    text = json.dumps({**description, "files": files}, indent=2)
    (folder / "motivnet.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "version.js").write_text(f'self.VERSION = "{digest}";\n')
