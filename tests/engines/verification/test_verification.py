"""Verification on a device: an artifact's own reference, through every runtime, without PyTorch."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import FileEntry
from motivnet.artifact.reference import read_reference
from motivnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from motivnet_engines.cli import app
from motivnet_engines.runtimes.selection import parity_status
from motivnet_engines.verification import parity_run as verification
from motivnet_engines.verification.parity_run import add_comparisons, verify_on_device


@pytest.fixture
def artifact(fp16_artifact: Path, tmp_path: Path) -> Artifact:
    return open_artifact(shutil.copytree(fp16_artifact, tmp_path / "artifact"))


def rewritten(artifact: Artifact, file_entry, **arrays: np.ndarray) -> Artifact:
    """The artifact with other arrays in its reference, and a manifest that vouches for them."""
    path = artifact.folder / "reference.npz"
    buffer = io.BytesIO()
    with np.load(path) as old:
        np.savez(buffer, **{**dict(old), **arrays})
    path.write_bytes(buffer.getvalue())
    entries = tuple(file_entry(path) if e.path == path.name else e for e in artifact.manifest.files)
    (artifact.folder / "manifest.json").write_bytes(
        msgspec.structs.replace(artifact.manifest, files=entries).to_json()
    )
    return open_artifact(artifact.folder)


def test_reference_is_pytorchs_answer(artifact: Artifact, tiny_model) -> None:
    import torch

    reference = read_reference(artifact)
    preprocessing = artifact.manifest.input.preprocessing
    with torch.inference_mode():
        logits, embedding = tiny_model.eval().logits_and_embedding(
            torch.from_numpy(preprocessing.normalise(reference.pixels))
        )
    assert len(reference.pixels) == 4
    np.testing.assert_allclose(reference.logits, logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(reference.embedding, embedding.numpy(), atol=1e-5)


def test_reference_is_drawn_even_where_photos_checked_the_build(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    import cv2

    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest

    (tmp_path / "photos").mkdir()
    photo = np.full((50, 40, 3), 77, np.uint8)
    assert cv2.imwrite(str(tmp_path / "photos" / "private.png"), photo)
    request = BuildRequest(
        checkpoint=tiny_checkpoint, out=tmp_path / "out", images=tmp_path / "photos"
    )
    reference = read_reference(build_artifact(request))
    assert not any((pixels == 77).all() for pixels in reference.pixels)


def test_every_runtime_here_is_compared_and_written_down(artifact: Artifact) -> None:
    forgotten = msgspec.structs.replace(
        artifact.manifest, parity=msgspec.structs.replace(artifact.manifest.parity, comparisons=())
    )
    (artifact.folder / "manifest.json").write_bytes(forgotten.to_json())
    found = verify_on_device(open_artifact(artifact.folder))
    assert found.passed
    assert found.recorded
    assert {"onnxruntime", "openvino"} <= {row.backend for row in found.comparisons}
    assert parity_status(open_artifact(artifact.folder).manifest, "openvino") == "verified"


def test_what_others_wrote_meanwhile_is_kept(artifact: Artifact) -> None:
    later = msgspec.structs.replace(artifact.manifest, tools={"written": "meanwhile"})
    (artifact.folder / "manifest.json").write_bytes(later.to_json())
    assert verify_on_device(artifact, runtimes=["onnxruntime"]).recorded
    manifest = open_artifact(artifact.folder).manifest
    assert manifest.tools == {"written": "meanwhile"}
    assert parity_status(manifest, "onnxruntime") == "verified"


def test_comparisons_are_not_written_into_another_model(artifact: Artifact) -> None:
    other = msgspec.structs.replace(
        artifact.manifest, source=msgspec.structs.replace(artifact.manifest.source, sha256="0" * 64)
    )
    (artifact.folder / "manifest.json").write_bytes(other.to_json())
    assert not verify_on_device(artifact, runtimes=["onnxruntime"]).recorded
    assert (artifact.folder / "manifest.json").read_bytes() == other.to_json()


def test_outputs_of_another_model_fail_and_are_recorded(artifact: Artifact, file_entry) -> None:
    logits = read_reference(artifact).logits[:, ::-1].copy()
    found = verify_on_device(
        rewritten(artifact, file_entry, logits=logits), runtimes=["onnxruntime"]
    )
    assert not found.passed
    assert parity_status(open_artifact(artifact.folder).manifest, "onnxruntime") == "failed"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("tensorflow", ConfigError, "no runtime is called 'tensorflow'"),
        (
            "tensorrt-rtx",
            RuntimeUnavailableError,
            "nothing was compared: tensorrt-rtx: the artifact has no",
        ),
    ],
)
def test_runtime_that_cannot_be_is_one_line_and_changes_nothing(
    name: str, error: type[Exception], message: str, artifact: Artifact
) -> None:
    before = (artifact.folder / "manifest.json").read_bytes()
    with pytest.raises(error, match=message):
        verify_on_device(artifact, runtimes=[name])
    assert (artifact.folder / "manifest.json").read_bytes() == before


def test_older_comparisons_of_the_same_runtime_are_replaced(artifact: Artifact) -> None:
    found = verify_on_device(artifact, runtimes=["openvino"])
    rows = add_comparisons(artifact.manifest, found.comparisons).parity.comparisons
    assert [row.backend for row in rows].count("openvino") == 1
    assert any(row.evidence == "rounding" for row in rows)


@pytest.fixture
def read_only(artifact: Artifact) -> Iterator[Artifact]:
    """The artifact in a read-only folder; root becomes another user, as modes do not bind it."""
    parent, superuser = Path(tempfile.mkdtemp()), os.geteuid() == 0
    folder = Path(shutil.copytree(artifact.folder, parent / "artifact"))
    for path in (folder, parent):
        path.chmod(0o555)
    if superuser:
        os.seteuid(65_534)
    yield open_artifact(folder)
    if superuser:
        os.seteuid(0)
    for path in (folder, parent):
        path.chmod(0o755)
    shutil.rmtree(parent)


def test_folder_that_cannot_be_written_is_still_verified(
    artifact: Artifact, read_only: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is an older one: nobody may load libraries out of a private environment."""
    before = (read_only.folder / "manifest.json").read_bytes()
    [row] = [row for row in artifact.manifest.parity.comparisons if row.backend == "openvino"]
    monkeypatch.setattr(verification, "compare_runtime", lambda *arguments: row)
    found = verify_on_device(read_only, runtimes=["openvino"])
    assert found.passed
    assert not found.recorded
    assert (read_only.folder / "manifest.json").read_bytes() == before


def test_artifact_without_a_reference_says_what_to_do(artifact: Artifact) -> None:
    (artifact.folder / "manifest.json").write_bytes(
        msgspec.structs.replace(artifact.manifest, reference=None).to_json()
    )
    with pytest.raises(ArtifactError, match="no reference outputs to compare with; build it again"):
        verify_on_device(open_artifact(artifact.folder))


@pytest.mark.parametrize(
    ("array", "value", "message"),
    [
        ("pixels", np.zeros((4, 3, 3, 3), np.uint8), "pixels of the reference should be uint8"),
        ("logits", np.zeros((4, 9), np.float32), "logits of the reference should be float32"),
        (
            "embedding",
            np.zeros((4, 96), np.float64),
            "embedding of the reference should be float32",
        ),
        ("pixels", np.zeros((0, 128, 96, 3), np.uint8), "should be uint8"),
        ("logits", np.array([None]), "is not a reference"),
    ],
)
def test_reference_of_another_shape_is_refused(
    artifact: Artifact, file_entry, array, value, message
) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_reference(rewritten(artifact, file_entry, **{array: value}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"text"])
def test_reference_that_is_no_archive_is_refused(
    artifact: Artifact, content: bytes, file_entry
) -> None:
    path = artifact.folder / "reference.npz"
    path.write_bytes(content)
    entries = tuple(file_entry(path) if e.path == path.name else e for e in artifact.manifest.files)
    assert all(isinstance(entry, FileEntry) for entry in entries)
    changed = Artifact(
        folder=artifact.folder, manifest=msgspec.structs.replace(artifact.manifest, files=entries)
    )
    with pytest.raises(ArtifactError, match="is not a reference"):
        read_reference(changed)


def test_damaged_reference_is_refused_by_its_hash(artifact: Artifact) -> None:
    path = artifact.folder / "reference.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="SHA-256"):
        read_reference(artifact)


def test_command_prints_the_figures_and_ends_well(artifact: Artifact) -> None:
    outcome = CliRunner().invoke(app, ["verify", str(artifact.folder)], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "logit cosine" in outcome.stdout
    assert "passed" in outcome.stdout
    outcome = CliRunner().invoke(
        app,
        ["verify", str(artifact.folder), "--runtime", "openvino", "--json"],
        catch_exceptions=False,
    )
    assert [row["backend"] for row in json.loads(outcome.stdout)["comparisons"]] == ["openvino"]


def test_reference_that_unpacks_to_gigabytes_is_refused(artifact: Artifact, file_entry) -> None:
    path = artifact.folder / "reference.npz"
    zeros = bytes(64 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pixels.npy", zeros)
    entries = tuple(file_entry(path) if e.path == path.name else e for e in artifact.manifest.files)
    changed = Artifact(
        folder=artifact.folder, manifest=msgspec.structs.replace(artifact.manifest, files=entries)
    )
    with pytest.raises(ArtifactError, match=r"unpacks to more than the .* bytes allowed"):
        read_reference(changed)
