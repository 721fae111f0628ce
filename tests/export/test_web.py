"""The folder for browsers: what is in it, what is refused, and where ONNX Runtime Web is from.

That browsers run it is tested with the library (``tests/engines/web``).
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from motivnet.artifact import open_artifact
from motivnet.artifact.reference import read_reference
from motivnet.errors import ConfigError, ExportError, FileError
from motivnet.parity import Precision
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.verification.parity_run import verify_on_device
from motivnet_export import web
from motivnet_export.request import BuildRequest
from motivnet_export.web import build_for_browsers, check_for_browsers, write_web_folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the names of npm's, whose hash the module takes for the right one."""
    file = tmp_path / "package.tgz"
    with tarfile.open(file, "w:gz") as archive:
        for name in (*web.WASM_FILES, *web.WEBGPU_FILES):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    monkeypatch.setattr(web, "INTEGRITY", f"sha512-{digest}")
    return file


@pytest.fixture
def folder(fp32_artifact: Path, package: Path, tmp_path: Path) -> Path:
    return write_web_folder(open_artifact(fp32_artifact), tmp_path / "web", package=package)


def test_every_file_is_listed_with_its_hash(folder: Path) -> None:
    described = json.loads((folder / "motivnet.json").read_bytes())
    found = {
        each.relative_to(folder).as_posix()
        for each in folder.rglob("*")
        if each.is_file() and each.name not in {*web._UNLISTED, "reference.npz"}
    }
    assert set(described["files"]) == found
    assert {"model.onnx", "motivnet.js", "page/results.js", "ort/ort.wasm.min.mjs"} <= found
    assert not {"page/index.html", "page/main.js"} & found
    for name, entry in described["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    version = hashlib.sha256((folder / "motivnet.json").read_bytes()).hexdigest()
    assert (folder / "version.js").read_text() == f'self.VERSION = "{version}";\n'


def test_the_samples_are_the_references(folder: Path, fp32_artifact: Path) -> None:
    artifact = open_artifact(fp32_artifact)
    reference = read_reference(artifact)
    samples = json.loads((folder / "motivnet.json").read_bytes())["samples"]
    values = np.frombuffer((folder / "samples.bin").read_bytes(), "<f4")
    split = samples["count"] * int(np.prod(samples["input_shape"]))
    inputs = values[:split].reshape(samples["count"], *samples["input_shape"])
    expected = artifact.manifest.input.preprocessing.normalise(reference.pixels)
    assert np.array_equal(inputs, expected)
    assert np.array_equal(values[split:].reshape(samples["count"], -1), reference.logits)


def test_without_webgpu_its_files_are_not_there(
    fp32_artifact: Path, package: Path, tmp_path: Path
) -> None:
    artifact = open_artifact(fp32_artifact)
    out = write_web_folder(artifact, tmp_path / "web", package=package, webgpu=False)
    assert {each.name for each in (out / "ort").iterdir()} == set(web.WASM_FILES)


def test_an_older_folder_is_replaced_and_others_are_not(
    folder: Path, fp32_artifact: Path, package: Path, tmp_path: Path
) -> None:
    artifact = open_artifact(fp32_artifact)
    write_web_folder(artifact, folder, package=package)
    (folder / "own.txt").write_text("mine")
    with pytest.raises(FileError, match=r"own\.txt"):
        write_web_folder(artifact, folder, package=package)
    assert (folder / "own.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("mine")
    with pytest.raises(FileError, match="holds files that are not an artifact"):
        write_web_folder(artifact, tmp_path / "other", package=package)
    (folder / "own.txt").unlink()
    (folder / "index.html").write_text("changed by its owner")
    with pytest.raises(FileError, match=r"index\.html"):
        write_web_folder(artifact, folder, package=package)
    assert (folder / "index.html").read_text() == "changed by its owner"


def test_the_manifest_lists_the_folder_so_that_python_reads_it(folder: Path) -> None:
    artifact = open_artifact(folder)
    listed = {entry.path for entry in artifact.manifest.files}
    found = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    assert listed == found - {"manifest.json"}
    assert inspect_artifact(folder).manifest == artifact.manifest
    verification = verify_on_device(artifact, runtimes=["onnxruntime"])
    assert verification.passed
    assert verification.recorded


def test_another_form_of_attention_is_refused(fp16_artifact: Path) -> None:
    with pytest.raises(ConfigError, match="this is fp16 with fused attention; build it with"):
        check_for_browsers(open_artifact(fp16_artifact))


@pytest.mark.parametrize("precision", ["int8", "bf16", "fp8"])
def test_another_precision_is_refused_before_anything_is_built(precision: Precision) -> None:
    request = BuildRequest(model="tiny", precision=precision)
    with pytest.raises(ConfigError, match="--target web takes FP32 or --fp16"):
        build_for_browsers(request, None, on_message=print)


def test_fp16_is_built_with_its_own_tolerance(
    tiny_checkpoint: Path, package: Path, tmp_path: Path
) -> None:
    request = BuildRequest(
        checkpoint=tiny_checkpoint, out=tmp_path / "web", precision="fp16", num_images=4
    )
    folder = build_for_browsers(request, package, on_message=print)
    manifest = open_artifact(folder).manifest
    assert (manifest.precision, manifest.attention) == ("fp16", "decomposed")
    samples = json.loads((folder / "motivnet.json").read_bytes())["samples"]
    assert (samples["atol"], samples["rtol"]) == (0.02, 0.0)  # the logits are below 1
    assert (folder / "model.onnx").stat().st_size < 1_600_000  # 2.4 MB in FP32


def test_another_package_is_refused(fp32_artifact: Path, package: Path, tmp_path: Path) -> None:
    package.write_bytes(package.read_bytes() + b" ")
    with pytest.raises(ExportError, match=r"package\.tgz is not onnxruntime-web 1\.30\.0"):
        write_web_folder(open_artifact(fp32_artifact), tmp_path / "web", package=package)
    assert not (tmp_path / "web").exists()


def test_another_package_is_refused_before_minutes_of_building(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr(web, "build_artifact", build)
    package.write_bytes(b"something else")
    request = BuildRequest(model="tiny", out=tmp_path / "web")
    with pytest.raises(ExportError, match=r"is not onnxruntime-web"):
        web.build_for_browsers(request, package, on_message=print)


class _Registry(http.server.BaseHTTPRequestHandler):
    content = b""
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.content else 404)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[_Registry]:
    """A registry that npm's setting names; the user's cache is empty."""
    handler = type("Handler", (_Registry,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setattr(web, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("shutil.which", lambda _: None)
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_package_is_fetched_once_and_announced(
    fp32_artifact: Path, package: Path, tmp_path: Path, registry: type[_Registry]
) -> None:
    registry.content = package.read_bytes()
    said: list[str] = []
    artifact = open_artifact(fp32_artifact)
    for name in ("one", "two"):
        write_web_folder(artifact, tmp_path / name, on_message=said.append)
    assert registry.asked == ["/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"]
    [line] = said
    assert line.startswith("fetching onnxruntime-web 1.30.0 (33 MB) from http://127.0.0.1")


def test_a_registry_that_has_something_else_is_refused(
    fp32_artifact: Path, tmp_path: Path, registry: type[_Registry]
) -> None:
    artifact = open_artifact(fp32_artifact)
    with pytest.raises(ExportError, match="cannot be fetched from http"):
        write_web_folder(artifact, tmp_path / "web")
    registry.content = b"something else"
    with pytest.raises(ExportError, match=r"is not onnxruntime-web 1\.30\.0"):
        write_web_folder(artifact, tmp_path / "web")
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "web").exists()
