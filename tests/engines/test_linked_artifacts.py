"""Artifacts whose files are links, as caches make them, and files that this user may not read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from motivnet.artifact import Artifact, add_reports, link_files, open_artifact
from motivnet.errors import ArtifactError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.selection import open_runtime
from motivnet_engines.verification.parity_run import verify_on_device

from .hostile_graphs import DATA, listed_data

LinkFiles = Callable[[Path], Path]
Permissions = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def artifact(copied_artifact) -> Artifact:
    return copied_artifact(verified=("onnxruntime", "openvino"))


@pytest.fixture
def artifact_with_data(artifact: Artifact, file_entry) -> Artifact:
    """An artifact with weights beside its graph."""
    folder, manifest = artifact.folder, artifact.manifest
    model = onnx.load(folder / manifest.model)
    listed_data(model, folder)
    (folder / manifest.model).write_bytes(model.SerializeToString())
    files = tuple(file_entry(folder / name) for name in (manifest.model, DATA, "reference.npz"))
    manifest = msgspec.structs.replace(manifest, files=files)
    (folder / "manifest.json").write_bytes(manifest.to_json())
    return open_artifact(folder)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", ["artifact", "artifact_with_data"])
def test_links_are_followed_to_files_of_the_right_hash(
    kind: str,
    runtime: str,
    link_files_of: LinkFiles,
    pixels,
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue(kind).folder
    before = sorted(os.listdir(folder))
    with EmotionClassifier.open(folder, runtime=runtime) as classifier:
        expected = classifier.predict(pixels(1))
    linked = link_files_of(folder)
    with EmotionClassifier.open(folder, runtime=runtime) as classifier:
        assert classifier.predict(pixels(1)) == expected
    assert {name for name in os.listdir(folder) if not name.startswith("..")} == set(before)
    assert all(not name.startswith(".model") for name in os.listdir(linked))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_weights_behind_a_link_that_were_changed_are_refused(
    runtime: str, artifact_with_data: Artifact, link_files_of: LinkFiles
) -> None:
    folder = artifact_with_data.folder
    link_files_of(folder)
    target = Path(os.path.realpath(folder / DATA))
    target.chmod(0o644)
    data = bytearray(target.read_bytes())
    data[0] ^= 1
    target.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{DATA} is not the file that the manifest describes"):
        open_runtime(folder, runtime=runtime)


def test_reports_and_comparisons_replace_the_link_to_the_manifest(
    artifact: Artifact, link_files_of: LinkFiles
) -> None:
    linked = link_files_of(artifact.folder)
    before = {path.name: path.read_bytes() for path in linked.iterdir()}
    add_reports(artifact.folder, {"report.html": b"report"})
    assert verify_on_device(open_artifact(artifact.folder), runtimes=["onnxruntime"]).recorded
    assert not (artifact.folder / "manifest.json").is_symlink()
    assert (artifact.folder / "model.onnx").is_symlink()
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == before


def test_a_copy_of_linked_files_has_files(
    artifact: Artifact, link_files_of: LinkFiles, tmp_path: Path
) -> None:
    link_files_of(artifact.folder)
    (tmp_path / "copy").mkdir()
    paths = [entry.path for entry in artifact.manifest.files]
    link_files(open_artifact(artifact.folder), paths, tmp_path / "copy")
    shutil.copyfile(artifact.folder / "manifest.json", tmp_path / "copy" / "manifest.json")
    shutil.rmtree(artifact.folder)
    open_artifact(tmp_path / "copy").verify_files()
    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_dangling_link_is_named(name: str, artifact: Artifact) -> None:
    path = artifact.folder / name
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ArtifactError, match=f"{name} is a link to a file that does not exist"):
        open_runtime(artifact.folder)


@pytest.fixture
def copy(artifact: Artifact, public_folder: Path) -> Path:
    return shutil.copytree(artifact.folder, public_folder / "artifact")


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    name: str, copy: Path, permissions: Permissions
) -> None:
    (copy / name).chmod(0)
    with permissions(), pytest.raises(ArtifactError) as raised:
        open_runtime(copy)
    assert str(raised.value) == f"{copy / name} cannot be opened: Permission denied"


def test_a_folder_that_may_not_be_entered_is_not_called_missing(
    copy: Path, permissions: Permissions
) -> None:
    for closed, named in ((copy, copy / "manifest.json"), (copy.parent, copy)):
        closed.chmod(0)
        with permissions(), pytest.raises(ArtifactError) as raised:
            open_artifact(copy)
        assert str(raised.value) == f"{named} cannot be read: Permission denied"


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read: File name too long"):
        open_artifact(tmp_path / ("a" * 300))


def test_predictions_are_the_same_through_a_link_to_the_folder(
    artifact: Artifact, pixels, tmp_path: Path
) -> None:
    (tmp_path / "latest").symlink_to(artifact.folder.name)
    with (
        EmotionClassifier.open(artifact.folder) as first,
        EmotionClassifier.open(tmp_path / "latest") as second,
    ):
        images = np.stack(pixels(1))
        assert first.predict(images) == second.predict(images)
