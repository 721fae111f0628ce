"""A calibration as a file of the artifact."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from motivnet.artifact import Artifact, add_reports, check_addable, open_artifact
from motivnet.artifact.manifest import FileEntry, ModelIdentity
from motivnet.errors import ArtifactError, FileError
from motivnet_engines.inference.calibration import (
    Calibration,
    CalibrationMetadata,
    add_calibration,
    calibration_of_artifact,
)
from motivnet_engines.inference.class_statistics import fit_class_statistics
from motivnet_engines.verification.parity_run import verify_on_device


@pytest.fixture
def artifact(copied_artifact) -> Artifact:
    return copied_artifact(verified=("onnxruntime",))


def calibration_for(artifact: Artifact, **changes: object) -> Calibration:
    labels = artifact.manifest.labels
    generator = np.random.default_rng(0)
    embedding = generator.normal(
        size=(70, artifact.manifest.source.config.encoder.embed_dim)
    ).astype(np.float32)
    counts = dict.fromkeys(labels, 10)
    metadata = CalibrationMetadata(
        model=artifact.manifest.model_identity(),
        labels=labels,
        temperature=1.5,
        distance_threshold=12.0,
        error_before=0.1,
        error_after=0.01,
        known_share=0.95,
        accuracy=0.9,
        images=counts,
        held_out=counts,
        folder="faces",
        held_out_folder=None,
        detected=False,
        runtime="onnxruntime",
    )
    statistics = fit_class_statistics(embedding, np.repeat(np.arange(7), 10))
    return Calibration(metadata=msgspec.structs.replace(metadata, **changes), statistics=statistics)


def vouched(artifact: Artifact, content: bytes) -> Artifact:
    """The artifact with these bytes as its calibration, and a manifest that vouches for them."""
    (artifact.folder / "calibration.npz").write_bytes(content)
    entry = FileEntry(
        path="calibration.npz", size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    kept = tuple(file for file in artifact.manifest.files if file.path != entry.path)
    manifest = msgspec.structs.replace(
        artifact.manifest, files=(*kept, entry), calibration=entry.path
    )
    (artifact.folder / "manifest.json").write_bytes(manifest.to_json())
    return open_artifact(artifact.folder)


def test_an_artifact_without_a_calibration_has_none(artifact: Artifact) -> None:
    assert calibration_of_artifact(artifact) is None


def test_what_was_written_is_what_is_read(artifact: Artifact) -> None:
    written = calibration_for(artifact)
    after = add_calibration(artifact, written)
    after.verify_files()
    read = calibration_of_artifact(after)
    assert read is not None
    assert read.metadata == written.metadata
    embedding = np.random.default_rng(1).normal(size=(5, 96)).astype(np.float32)
    assert (read.statistics.distances(embedding) == written.statistics.distances(embedding)).all()
    assert (read.metadata.temperature, read.metadata.distance_threshold) == (1.5, 12.0)


def test_links_become_files_and_what_they_named_is_not_written(
    artifact: Artifact, link_files_of: Callable[[Path], Path]
) -> None:
    linked = link_files_of(artifact.folder)
    before = {path.name: path.read_bytes() for path in linked.iterdir()}
    after = add_calibration(open_artifact(artifact.folder), calibration_for(artifact))
    after.verify_files()
    assert not any(
        (after.folder / name).is_symlink()
        for name in ("manifest.json", *(entry.path for entry in after.manifest.files))
    )
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == before


def test_equal_calibrations_are_equal_files(artifact: Artifact) -> None:
    assert calibration_for(artifact).to_bytes() == calibration_for(artifact).to_bytes()


def test_file_holds_no_pickle(artifact: Artifact) -> None:
    with np.load(io.BytesIO(calibration_for(artifact).to_bytes()), allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} <= {"f", "u"}


def test_a_second_calibration_takes_the_place_of_the_first(artifact: Artifact) -> None:
    add_calibration(artifact, calibration_for(artifact))
    after = add_calibration(artifact, calibration_for(artifact, temperature=2.5))
    read = calibration_of_artifact(after)
    assert read is not None
    assert read.metadata.temperature == 2.5
    assert [entry.path for entry in after.manifest.files].count("calibration.npz") == 1


def test_other_files_and_what_others_wrote_meanwhile_stay(artifact: Artifact) -> None:
    verify_on_device(artifact, runtimes=["openvino"])
    after = add_calibration(artifact, calibration_for(artifact))
    assert "openvino" in {row.backend for row in after.manifest.parity.comparisons}
    assert {entry.path for entry in artifact.manifest.files} < {
        entry.path for entry in after.manifest.files
    }
    assert sorted(path.name for path in artifact.folder.parent.iterdir()) == [artifact.folder.name]


def test_what_a_user_keeps_in_an_artifact_stays(artifact: Artifact) -> None:
    folder = artifact.folder
    add_reports(folder, {"report.html": b"report"})
    for name in ("report.html", "notes.txt", "photos/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    add_calibration(artifact, calibration_for(artifact))
    after = add_calibration(artifact, calibration_for(artifact))
    assert {
        (folder / name).read_text() for name in ("report.html", "notes.txt", "photos/a.jpg")
    } == {"report.html", "notes.txt", "photos/a.jpg"}
    assert [entry.path for entry in after.manifest.reports] == ["report.html"]


def test_a_users_file_with_the_name_of_the_calibration_is_told_of(artifact: Artifact) -> None:
    (artifact.folder / "calibration.npz").write_text("mine")
    with pytest.raises(
        FileError, match=r"calibration\.npz is in the way of a file of that name; move it away"
    ):
        add_calibration(artifact, calibration_for(artifact))
    with pytest.raises(
        FileError, match=r"calibration\.npz is not of the artifact and in the way; move it away"
    ):
        check_addable(artifact, "calibration.npz")
    assert (artifact.folder / "calibration.npz").read_text() == "mine"


def test_verifying_keeps_the_calibration(artifact: Artifact) -> None:
    after = add_calibration(artifact, calibration_for(artifact))
    assert verify_on_device(after, runtimes=["onnxruntime"]).recorded
    assert calibration_of_artifact(open_artifact(artifact.folder)) is not None


def test_an_engine_keeps_the_calibration_in_its_artifact_and_alone(
    fp16_artifact: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx")
    import shutil

    from motivnet_engines.build.engine_artifact import build_engine
    from motivnet_engines.build.options import EngineOptions

    artifact = open_artifact(shutil.copytree(fp16_artifact, tmp_path / "artifact"))
    artifact = add_calibration(artifact, calibration_for(artifact))
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))
    for out in (tmp_path / "alone", None):
        built = build_engine(artifact, options, out=out, on_message=lambda _: None)
        built.verify_files()
        read = calibration_of_artifact(built)
        assert read is not None
        assert read.metadata.temperature == 1.5


@pytest.mark.parametrize("part", ["graph", "checkpoint"])
def test_a_calibration_of_another_model_is_refused(part: str, artifact: Artifact) -> None:
    own = artifact.manifest.model_identity()
    other = calibration_for(artifact, model=msgspec.structs.replace(own, **{part: "0" * 64}))
    with pytest.raises(
        ArtifactError, match="the calibration is of another model; make one of this"
    ):
        add_calibration(artifact, other)
    assert open_artifact(artifact.folder).manifest == artifact.manifest
    with pytest.raises(
        ArtifactError, match="the calibration is of another model; make one of this"
    ):
        calibration_of_artifact(vouched(artifact, other.to_bytes()))


@pytest.mark.parametrize("name", ["mean", "matrix", "means"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda array: array[..., :-1], "has the shape"),
        (lambda array: array.astype(np.float64), "is not float32 or not finite"),
        (lambda array: array * np.nan, "is not float32 or not finite"),
        (lambda array: np.array([None]), "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    name: str, damage, message: str, artifact: Artifact
) -> None:
    with np.load(io.BytesIO(calibration_for(artifact).to_bytes())) as old:
        arrays = dict(old)
    arrays[name] = damage(arrays[name])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(ArtifactError, match=message):
        calibration_of_artifact(vouched(artifact, buffer.getvalue()))


def test_a_changed_file_is_refused_by_its_hash(artifact: Artifact) -> None:
    after = add_calibration(artifact, calibration_for(artifact))
    path = artifact.folder / "calibration.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="SHA-256"):
        calibration_of_artifact(after)


def test_manifest_that_names_a_calibration_it_has_not_is_refused(artifact: Artifact) -> None:
    with pytest.raises(
        ArtifactError, match=r"calibration 'calibration\.npz' is not among its files"
    ):
        msgspec.structs.replace(artifact.manifest, calibration="calibration.npz")


def test_a_full_disk_leaves_the_artifact_as_it_was(
    artifact: Artifact, file_size_limit: int
) -> None:
    calibration = calibration_for(artifact)
    wide = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    large = dataclasses.replace(calibration.statistics.whitening, matrix=wide)
    object.__setattr__(calibration.statistics, "whitening", large)
    with pytest.raises((FileError, ArtifactError)):
        add_calibration(artifact, calibration)
    after = open_artifact(artifact.folder)
    after.verify_files()
    assert after.manifest == artifact.manifest


def test_a_model_is_its_graph_and_its_checkpoint(artifact: Artifact) -> None:
    identity = artifact.manifest.model_identity()
    assert identity == ModelIdentity(
        graph=artifact.manifest.entry("model.onnx").sha256,
        checkpoint=artifact.manifest.source.sha256,
    )
