"""A build from checkpoint to artifact, and what is left behind when it fails or is killed."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motivnet.artifact import Artifact, add_reports, open_artifact
from motivnet.artifact.manifest import Manifest
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, FileError, MotivNetError
from motivnet.labels import labels_for
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.diagnostics.tables import print_inspection
from motivnet_export import build
from motivnet_export.build import build_artifact
from motivnet_export.fallback import BuildJob
from motivnet_export.request import BuildRequest
from motivnet_export.verify import verify_artifact


@pytest.fixture
def quick_build(small_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished export takes the place of a new one, in tests of the folder around it."""
    artifact = small_artifact("fp32")

    def copy(job: BuildJob) -> Manifest:
        for entry in artifact.manifest.files:
            shutil.copy(artifact.folder / entry.path, job.workspace / entry.path)
        return artifact.manifest

    monkeypatch.setattr(build, "build_with_fallback", copy)


def test_artifact_says_what_it_is(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path
) -> None:
    manifest = small_artifact().manifest
    assert (manifest.precision, manifest.requested_precision) == ("fp16", "fp16")
    assert (manifest.attention, manifest.graph.attention_nodes) == ("fused", 2)
    assert manifest.labels == labels_for(7)
    assert manifest.source.checkpoint == small_checkpoint.name
    assert not manifest.source.random_weights
    assert {"torch", "onnx"} <= set(manifest.tools)


def test_no_file_of_an_artifact_names_a_folder_of_the_machine_of_its_build(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path
) -> None:
    folder = small_artifact().folder
    told = {
        small_checkpoint.parent.name,
        folder.parent.name,
        Path.cwd().name,
        platform.node(),
        Path.home().name,
    }
    for file in folder.iterdir():
        content = file.read_bytes()
        assert [name for name in told if len(name) > 4 and name.encode() in content] == [], (
            file.name
        )


def test_bf16_with_decomposed_attention_is_built(small_artifact: Callable[..., Artifact]) -> None:
    graph = small_artifact("bf16", "decomposed").manifest.graph
    assert (graph.attention_nodes, set(graph.compute_nodes)) == (0, {"bfloat16"})


def test_model_of_other_classes_and_random_weights_is_built_on_the_same_faces(
    tmp_path: Path, small_config: ModelConfig
) -> None:
    sizes = small_config.to_dict()
    sizes["decoder"] |= {"num_groups": 5, "num_classes": 5}
    (tmp_path / "five.json").write_text(json.dumps(sizes))
    request = BuildRequest(model=str(tmp_path / "five.json"), out=tmp_path / "out", num_images=2)
    artifact = build_artifact(request)
    assert artifact.manifest.labels == tuple(f"class_{index}" for index in range(5))
    assert (artifact.manifest.source.random_weights, artifact.manifest.source.checkpoint) == (
        True,
        None,
    )
    assert verify_artifact(artifact, num_images=2).passed


def test_failed_rebuild_leaves_the_old_artifact_whole(
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = shutil.copytree(small_artifact().folder, tmp_path / "artifact")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def broken(job: BuildJob) -> None:
        (job.workspace / "model.onnx").write_bytes(b"half")
        raise MotivNetError("stopped on purpose")

    monkeypatch.setattr(build, "build_with_fallback", broken)
    with pytest.raises(MotivNetError, match="on purpose"):
        build_artifact(BuildRequest(checkpoint=small_checkpoint, out=out, num_images=1))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from motivnet import folders
from motivnet.artifact import open_artifact
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.diagnostics.tables import print_inspection
from motivnet_export import build
from motivnet_export.request import BuildRequest

checkpoint, out, finished, moment = sys.argv[1:]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def build_with_fallback(job):
    artifact = open_artifact(Path(finished))
    for entry in artifact.manifest.files:
        shutil.copy(artifact.folder / entry.path, job.workspace)
        if moment == "while it is written":
            kill()
    return artifact.manifest

build.build_with_fallback = build_with_fallback
folders.sync_entry = kill  # after the two folders have changed places
build.build_artifact(BuildRequest(checkpoint=Path(checkpoint), out=Path(out), num_images=1))
"""


@pytest.mark.parametrize(
    ("moment", "precision"), [("while it is written", "fp16"), ("when it is in place", "fp32")]
)
def test_killed_build_leaves_the_old_artifact_or_the_new_one(
    moment: str,
    precision: str,
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    out = shutil.copytree(small_artifact("fp16").folder, tmp_path / "artifact")
    arguments = [small_checkpoint, out, small_artifact("fp32").folder, moment]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr
    artifact = open_artifact(out)
    artifact.verify_files()
    assert artifact.manifest.precision == precision
    names = {path.name for path in out.iterdir()}
    assert names == {"manifest.json", *(entry.path for entry in artifact.manifest.files)}


def test_folder_of_other_files_is_not_replaced(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(FileError, match="not an artifact"):
        build_artifact(BuildRequest(checkpoint=small_checkpoint, out=tmp_path, num_images=1))
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


NEWER = "newer"


@pytest.mark.parametrize("manifest", ['{"name": "app"}', "[]", "", NEWER])
def test_a_folder_whose_manifest_is_not_ours_is_not_replaced(
    manifest: str,
    small_artifact: Callable[..., Artifact],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    if manifest == NEWER:
        text = (small_artifact().folder / "manifest.json").read_text()
        manifest = text.replace('"format_version": 1', '"format_version": 2')
        assert manifest != text
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "manifest.json").write_text(manifest)
    (tmp_path / "web" / "src" / "app.js").write_text("work")
    with pytest.raises(
        FileError,
        match=r"web is not replaced, because its manifest\.json is no .*; choose another",
    ):
        build_artifact(
            BuildRequest(checkpoint=small_checkpoint, out=tmp_path / "web", num_images=1)
        )
    assert (tmp_path / "web" / "src" / "app.js").read_text() == "work"
    assert (tmp_path / "web" / "manifest.json").read_text() == manifest


@pytest.mark.usefixtures("quick_build")
def test_a_rebuild_takes_the_reports_of_the_old_artifact_and_nothing_of_the_user(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(small_artifact("fp32").folder, tmp_path / "artifact")
    add_reports(out, {"report.html": b"report"})
    (out / "report.html").write_text("report")
    (out / "photos").mkdir()
    request = BuildRequest(checkpoint=small_checkpoint, out=out, num_images=1)
    with pytest.raises(
        FileError, match="artifact holds other files too: photos; move them away, or choose"
    ):
        build_artifact(request)
    assert (out / "report.html").exists()
    (out / "photos").rmdir()
    assert build_artifact(request).manifest.reports == ()
    assert not (out / "report.html").exists()


@pytest.mark.usefixtures("quick_build")
def test_a_listed_file_that_is_not_what_the_manifest_describes_is_the_users(
    small_artifact: Callable[..., Artifact], small_checkpoint: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(small_artifact("fp32").folder, tmp_path / "artifact")
    add_reports(out, {"src/app.py": b"as somebody wrote it"})
    (out / "src").mkdir()
    (out / "src" / "app.py").write_text("work")
    request = BuildRequest(checkpoint=small_checkpoint, out=out, num_images=1)
    with pytest.raises(
        FileError, match="artifact holds other files too: src; move them away, or choose"
    ):
        build_artifact(request)
    (out / "src" / "app.py").write_text("as somebody wrote it")
    (out / "model.onnx").write_bytes(b"damaged, and so built again")
    assert build_artifact(request).manifest.reports == ()
    assert not (out / "src").exists()


@pytest.mark.parametrize(
    ("precision", "names"),
    [
        ("fp8", ("86",)),
        ("fp8", ()),
        ("bf16", ("75",)),
        ("fp16", ("87",)),
        ("fp32", ("75",)),
    ],
)
def test_engine_that_no_gpu_can_run_is_refused_before_the_model_is_loaded(
    precision: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(build, "model_source", None)
    engine = EngineOptions(backend="tensorrt-rtx", compute_capabilities=names)
    with pytest.raises(ConfigError, match=r"SM 75|SM 86|SM 87|--sm 89"):
        build_artifact(BuildRequest(precision=precision, engine=engine))


@pytest.mark.usefixtures("quick_build")
def test_optional_engine_that_no_gpu_can_run_is_left_out_with_its_reason(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    messages: list[str] = []
    request = BuildRequest(
        checkpoint=small_checkpoint,
        out=tmp_path / "out",
        precision="bf16",
        num_images=1,
        engine=EngineOptions(backend="tensorrt-rtx", compute_capabilities=("75",)),
        engine_optional=True,
    )
    build_artifact(request, on_message=messages.append)
    [message] = messages
    assert message.startswith("the artifact stays without an engine: SM 75 has no BF16")


def test_what_an_artifact_is_for_is_recorded_and_inspected(
    small_artifact: Callable[..., Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    purpose = "research on acted expressions"
    artifact = small_artifact("fp32", purpose=purpose)
    assert open_artifact(artifact.folder).manifest.purpose == purpose
    print_inspection(inspect_artifact(artifact.folder))
    assert purpose in capsys.readouterr().out
