"""``motivnet adapt`` on drawn faces: its file, what it prints, and predictions with the file."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ArtifactError, ConfigError, DatasetError, FileError
from motivnet_engines.adaptation.adapt import adapt_artifact
from motivnet_engines.cli.adapt import adapt
from motivnet_engines.inference.adapted_classes import read_adapted_classes, write_adapted_classes
from motivnet_engines.inference.classifier import EmotionClassifier

METADATA = "metadata"
"""Stands for the one entry of the file that is JSON."""


@pytest.fixture
def artifact(copied_artifact) -> Artifact:
    return copied_artifact(verified=("onnxruntime",))


@pytest.fixture
def faces(drawn_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: neutral and happiness; fear and a class that the model has not."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("neutral", "happiness")), (second, ("fear", "anger"))):
        for name in names:
            shutil.copytree(drawn_folder / name, folder / name)
    (second / "anger").rename(second / "Ärger")
    return first, second


@pytest.fixture
def learnt(artifact: Artifact, faces: tuple[Path, Path]) -> Path:
    return Path(adapt_artifact(artifact.folder, faces[0], runtime="onnxruntime", threads=1).path)


def command(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(adapt)
    return CliRunner().invoke(app, [*map(str, arguments), "--threads", "1"])


def test_classes_lie_beside_the_artifact_and_leave_it_alone(
    artifact: Artifact, learnt: Path
) -> None:
    assert learnt == artifact.folder.with_name("fp32.classes.npz")
    assert open_artifact(artifact.folder).manifest == artifact.manifest
    head = read_adapted_classes(learnt, artifact).head
    assert head.labels == ("happiness", "neutral")
    assert [mixture.images for mixture in head.mixtures] == [12, 12]


def test_classes_are_for_this_user_alone(
    artifact: Artifact, learnt: Path, open_umask: None
) -> None:
    write_adapted_classes(
        read_adapted_classes(learnt, artifact), learnt, manifest=artifact.manifest
    )
    assert learnt.stat().st_mode & 0o777 == 0o600


def test_accuracy_of_old_classes_is_printed_before_and_after(
    artifact: Artifact, faces: tuple[Path, Path], drawn_folder: Path, learnt: Path
) -> None:
    outcome = command(artifact.folder, faces[1], "--adapted-classes", learnt, "--val", drawn_folder)
    assert outcome.exit_code == 0, outcome.output
    rows = {line.split()[0]: line.split() for line in outcome.stdout.splitlines() if line}
    assert rows["neutral"][1:3] == ["12", "0"]
    assert rows["Ärger"][1:] == ["12", "12", "-", "-"]
    assert "(the older classes) ->" in outcome.stdout
    assert "held-out images of anger, disgust, sadness, surprise were not counted" in outcome.stderr
    assert read_adapted_classes(learnt, artifact).head.labels == (
        "happiness",
        "neutral",
        "fear",
        "Ärger",
    )


def test_first_classes_are_compared_with_the_models_own(
    artifact: Artifact, faces: tuple[Path, Path], tmp_path: Path
) -> None:
    outcome = command(
        artifact.folder, faces[0], "--out", tmp_path / "c.npz", "--val", faces[0], "--json"
    )
    found = json.loads(outcome.stdout)
    assert found["compared_with"] == "the model's own classes"
    assert found["accuracy"] == found["old_after"] > 0.9
    assert found["old_before"] is not None
    assert "no images of sadness, surprise, fear, disgust, anger" in outcome.stderr


def test_a_classifier_predicts_the_learnt_classes(
    artifact: Artifact, faces: tuple[Path, Path], learnt: Path
) -> None:
    adapt_artifact(
        artifact.folder, faces[1], adapted_classes=learnt, runtime="onnxruntime", threads=1
    )
    with EmotionClassifier.open(
        artifact.folder, runtime="onnxruntime", threads=1, adapted_classes=learnt
    ) as classifier:
        assert classifier.labels == ("happiness", "neutral", "fear", "Ärger")
        predictions = classifier.predict(sorted((faces[1] / "Ärger").iterdir()))
    assert [sum(prediction.probabilities.values()) for prediction in predictions] == pytest.approx(
        [1] * 12
    )
    assert {"Ärger"} < {prediction.label for prediction in predictions} <= set(classifier.labels)


def test_predicting_needs_no_scikit_learn(
    artifact: Artifact, faces: tuple[Path, Path], learnt: Path
) -> None:
    program = (
        "import sys\n"
        "from motivnet_engines.inference.classifier import EmotionClassifier\n"
        "sys.modules['sklearn'] = sys.modules['scipy'] = None\n"
        "folder, classes, image = sys.argv[1:]\n"
        "options = {'runtime': 'onnxruntime', 'threads': 1, 'adapted_classes': classes}\n"
        "with EmotionClassifier.open(folder, **options) as classifier:\n"
        "    print(classifier.predict(image)[0].label)\n"
        "loaded = {name.split('.')[0] for name, module in sys.modules.items() if module}\n"
        "assert not loaded & {'sklearn', 'scipy'}\n"
    )
    image = next((faces[0] / "neutral").iterdir())
    arguments = [str(path) for path in (artifact.folder, learnt, image)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("neutral", "happiness")


def test_adapting_without_scikit_learn_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.exceptions'] = None\n"
        "import motivnet_engines.adaptation.mixtures"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (
        "scikit-learn is not installed; install it with: pip install 'motivnet[adapt]'"
        in done.stderr
    )


def test_a_file_that_is_there_is_not_replaced_unasked(
    artifact: Artifact, faces: tuple[Path, Path], learnt: Path
) -> None:
    before = learnt.read_bytes()
    with pytest.raises(
        ConfigError, match=f"{learnt} exists; extend it with --adapted-classes {learnt}"
    ):
        adapt_artifact(artifact.folder, faces[1], runtime="onnxruntime", threads=1)
    assert learnt.read_bytes() == before


def test_extending_to_another_file_keeps_the_first(
    artifact: Artifact, faces: tuple[Path, Path], learnt: Path, tmp_path: Path
) -> None:
    before = learnt.read_bytes()
    adapt_artifact(
        artifact.folder,
        faces[1],
        adapted_classes=learnt,
        out=tmp_path / "more.npz",
        runtime="onnxruntime",
        threads=1,
    )
    assert learnt.read_bytes() == before
    assert len(read_adapted_classes(tmp_path / "more.npz", artifact).head.labels) == 4


@pytest.mark.parametrize("part", ["graph", "checkpoint"])
def test_classes_of_another_model_are_refused(part: str, artifact: Artifact, learnt: Path) -> None:
    manifest = artifact.manifest
    if part == "graph":
        files = tuple(msgspec.structs.replace(file, sha256="0" * 64) for file in manifest.files)
        other = msgspec.structs.replace(manifest, files=files)
    else:
        other = msgspec.structs.replace(
            manifest, source=msgspec.structs.replace(manifest.source, sha256="0" * 64)
        )
    with pytest.raises(
        ArtifactError, match=r"were learnt with another model than that of .*; learn them again"
    ):
        read_adapted_classes(learnt, replace(artifact, manifest=other))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("variances", lambda array: -array, "a weight or a variance is not positive"),
        ("weights", lambda array: array * 0, "a weight or a variance is not positive"),
        ("means", lambda array: array[:1], "means has the shape"),
        ("matrix", lambda array: array[:, 1:], "matrix has the shape"),
        ("mean", lambda array: array * np.inf, "mean is not float32 or not finite"),
        (METADATA, lambda array: array[:-5], "not JSON"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_file_that_does_not_fit_is_one_line(
    name: str, damage, message: str, artifact, learnt: Path
) -> None:
    with np.load(learnt) as old:
        arrays = dict(old)
    if name == METADATA:
        [name] = [key for key, array in arrays.items() if array.dtype == np.uint8]
    buffer = io.BytesIO()
    np.savez(buffer, **{**arrays, name: damage(arrays[name])})
    learnt.write_bytes(buffer.getvalue())
    with pytest.raises(FileError, match=f"{message}.*; make it with: motivnet adapt"):
        read_adapted_classes(learnt, artifact)


def test_missing_files_and_reserved_names_are_one_line(
    artifact: Artifact, faces: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(FileError, match="does not exist"):
        adapt_artifact(artifact.folder, faces[0], adapted_classes=tmp_path / "none.npz")
    (faces[0] / "neutral").rename(faces[0] / "unknown")
    with pytest.raises(
        DatasetError, match="cannot be the name of a class; use printable text other than 'unknown'"
    ):
        adapt_artifact(artifact.folder, faces[0])


def test_without_held_out_images_the_folder_is_cross_validated(
    artifact: Artifact, faces: tuple[Path, Path], tmp_path: Path
) -> None:
    outcome = command(artifact.folder, faces[0], "--out", tmp_path / "c.npz")
    assert outcome.exit_code == 0, outcome.output
    rows = {line.split()[0]: line.split() for line in outcome.stdout.splitlines() if line}
    assert all(
        rows[label][3].endswith("%") and rows[label][4].endswith("%")
        for label in ("neutral", "happiness")
    )
    assert "old classes" in outcome.stdout
    assert "by cross-validation" in outcome.stdout


def test_old_classes_that_nothing_can_measure_ask_for_held_out_images(
    artifact: Artifact, faces: tuple[Path, Path], learnt: Path
) -> None:
    outcome = command(artifact.folder, faces[1], "--adapted-classes", learnt)
    assert (
        "no images to measure the older classes happiness, neutral with: give some with --val\n"
        in outcome.stderr
    )
    assert "forgetting" not in outcome.stdout


def test_forgetting_counts_from_the_best_accuracy_of_any_time(
    artifact: Artifact, faces: tuple[Path, Path], drawn_folder: Path, tmp_path: Path
) -> None:
    path, options = (
        tmp_path / "c.npz",
        {"runtime": "onnxruntime", "threads": 1, "held_out": drawn_folder},
    )
    adapt_artifact(artifact.folder, faces[0], out=path, **options)
    known = read_adapted_classes(path, artifact)
    assert set(known.best) == {"happiness", "neutral"}
    write_adapted_classes(
        replace(known, best={"happiness": 1.0, "neutral": 1.0}), path, manifest=artifact.manifest
    )
    found = adapt_artifact(artifact.folder, faces[1], adapted_classes=path, **options)
    after = {row.label: row.after for row in found.classes}
    assert found.forgetting == pytest.approx(1 - (after["happiness"] + after["neutral"]) / 2)
    best = read_adapted_classes(path, artifact).best
    assert (best["neutral"], best["fear"]) == (1.0, after["fear"])
    outcome = command(artifact.folder, faces[1], "--adapted-classes", path, "--val", drawn_folder)
    assert "points: best earlier minus final accuracy, averaged over old classes" in outcome.stdout


def test_too_few_images_are_said_before_anything_is_opened(
    artifact: Artifact, faces: tuple[Path, Path]
) -> None:
    for path in sorted((faces[0] / "neutral").iterdir())[2:]:
        path.unlink()
    with pytest.raises(DatasetError, match="the class neutral has 2 images; give at least 5"):
        adapt_artifact(artifact.folder, faces[0], runtime="of no such name")


def test_a_file_that_is_no_archive_is_called_so(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("file,label")
    with pytest.raises(FileError, match=r"results.csv is not an .npz file; make it with: motivnet"):
        read_adapted_classes(tmp_path / "results.csv", artifact)


def test_what_cannot_be_a_file_of_classes_is_not_called_one(
    artifact: Artifact, faces: tuple[Path, Path], tmp_path: Path
) -> None:
    for target in (Path("/dev/full"), tmp_path):
        with pytest.raises(ConfigError, match=r"is not a regular file; choose .* with --out"):
            adapt_artifact(artifact.folder, faces[0], out=target)


def test_a_class_of_four_images_is_learnt_with_a_warning(
    artifact: Artifact, faces: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in sorted((faces[0] / "neutral").iterdir())[4:]:
        path.unlink()
    outcome = command(artifact.folder, faces[0], "--out", tmp_path / "c.npz")
    assert outcome.exit_code == 0, outcome.output
    assert (
        "warning: fewer than 5 images of neutral: too few to tell such a class well\n"
        in outcome.stderr
    )


def test_folders_are_classes_under_the_names_that_the_model_has(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = tmp_path / "archive" / "train"
    for label, name in {"neutral": "Neutral", "happiness": "1_happy", "fear": "Boredom"}.items():
        shutil.copytree(drawn_folder / label, faces / name)
    shutil.copytree(drawn_folder / "anger", faces / "__MACOSX")
    (faces / "Neutral" / "broken.jpe").write_bytes(b"text")
    outcome = command(artifact.folder, tmp_path / "archive", "--out", tmp_path / "c.npz")
    assert outcome.exit_code == 0, outcome.output
    head = read_adapted_classes(tmp_path / "c.npz", artifact).head
    assert dict(zip(head.labels, (one.images for one in head.mixtures), strict=True)) == {
        "happiness": 12,
        "Boredom": 12,
        "neutral": 12,
    }
    [line] = caplog.messages
    assert "left out 1 x unreadable image (train/Neutral/broken.jpe is not a JPEG" in line
    more = tmp_path / "more"
    shutil.copytree(drawn_folder / "surprise", more / "boredom")
    extend = ("--adapted-classes", tmp_path / "c.npz")
    assert command(artifact.folder, more, *extend).exit_code == 0
    head = read_adapted_classes(tmp_path / "c.npz", artifact).head
    assert head.labels == ("happiness", "Boredom", "neutral")
    assert head.mixtures[1].images == 24


def test_images_none_of_which_can_be_read_are_one_line(artifact: Artifact, tmp_path: Path) -> None:
    for label in ("neutral", "fear"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        (tmp_path / "faces" / label / "1.jpg").write_bytes(b"text")
    with pytest.raises(DatasetError, match=r"no image of .*faces can be read: 2 x unreadable ima"):
        adapt_artifact(artifact.folder, tmp_path / "faces")
