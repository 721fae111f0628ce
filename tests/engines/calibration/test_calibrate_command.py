"""``motivnet calibrate`` on drawn faces, and what a classifier makes of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import DatasetError, MotivNetError
from motivnet_engines.calibration.calibrate import calibrate_artifact
from motivnet_engines.cli.calibrate import calibrate
from motivnet_engines.inference.calibration import calibration_of_artifact
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest


@pytest.fixture
def artifact(copied_artifact) -> Artifact:
    return copied_artifact(verified=("onnxruntime",))


@pytest.fixture(scope="module")
def calibrated(
    fp32_artifact: Path, drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = Path(
        shutil.copytree(fp32_artifact, tmp_path_factory.mktemp("calibrated") / "artifact")
    )
    calibrate_artifact(folder, drawn_folder, runtime="onnxruntime", threads=1)
    return folder


def command(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(calibrate)
    return CliRunner().invoke(app, [*map(str, arguments), "--threads", "1"])


def test_the_figures_are_printed_and_written_into_the_artifact(
    artifact: Artifact, drawn_folder: Path
) -> None:
    outcome = command(artifact.folder, drawn_folder)
    assert outcome.exit_code == 0, outcome.output
    assert "84 of drawn" in outcome.stdout
    assert re.search(r"calibration error +0\.\d+ -> 0\.\d+", outcome.stdout)
    assert re.search(r"known +9\d\.\d%", outcome.stdout)
    assert calibration_of_artifact(open_artifact(artifact.folder)) is not None


def test_a_model_that_does_not_know_the_faces_is_said(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path
) -> None:
    """The labels turned round: what the model is sure of is wrong."""
    right = command(artifact.folder, drawn_folder)
    labels = artifact.manifest.labels
    with EmotionClassifier.open(artifact.folder, runtime="onnxruntime") as classifier:
        for number, path in enumerate(sorted(drawn_folder.rglob("*.png"))):
            least = min((found := classifier.predict(path)[0].probabilities), key=found.__getitem__)
            (tmp_path / "wrong" / least).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "wrong" / least / f"{number}.png")
    counts = {label: len(list((tmp_path / "wrong" / label).glob("*"))) for label in labels}
    for label, count in counts.items():
        if count < 10:
            shutil.rmtree(tmp_path / "wrong" / label, ignore_errors=True)
    wrong = command(artifact.folder, tmp_path / "wrong")
    assert wrong.exit_code == 0, wrong.output
    assert "accuracy 0.0% of" in " ".join(wrong.stdout.split())
    assert "the temperature is at its bound, 20: the model is right on 0.0%" in wrong.output
    assert "accuracy" in right.stdout


def test_json_has_what_is_in_the_file(artifact: Artifact, drawn_folder: Path) -> None:
    outcome = command(artifact.folder, drawn_folder, "--val", drawn_folder, "--json")
    found = json.loads(outcome.stdout)
    calibration = calibration_of_artifact(open_artifact(artifact.folder))
    assert calibration is not None
    assert found["temperature"] == calibration.metadata.temperature
    assert found["images"] == dict.fromkeys(artifact.manifest.labels, 12)
    assert found["held_out_folder"] == drawn_folder.name
    assert found["runtime"] == "onnxruntime"


def test_faces_are_known_and_noise_is_farther_away(
    calibrated: Path, drawn_folder: Path, noise_and_textures
) -> None:
    """The weights are random; ``test_out_of_distribution`` has a trained model."""
    with EmotionClassifier.open(
        calibrated, runtime="onnxruntime", threads=1, unknown=True
    ) as classifier:
        faces = classifier.predict(sorted(drawn_folder.rglob("*.png")))
        others = classifier.predict(noise_and_textures[0])
    assert np.mean([face.known for face in faces]) >= 0.95
    assert all((other.label == "unknown") == (not other.known) for other in others)
    assert np.mean([other.known for other in others]) <= 0.7


def test_probabilities_are_at_the_temperature(calibrated: Path, drawn_folder: Path) -> None:
    image = next(drawn_folder.rglob("*.png"))
    calibration = calibration_of_artifact(open_artifact(calibrated))
    assert calibration is not None
    with EmotionClassifier.open(calibrated, runtime="onnxruntime", threads=1) as classifier:
        [tempered] = classifier.predict(image)
        [plain] = EmotionClassifier(classifier.runtime, classifier.manifest).predict(image)
    expected = np.array(list(plain.probabilities.values())) ** (
        1 / calibration.metadata.temperature
    )
    assert list(tempered.probabilities.values()) == pytest.approx(
        expected / expected.sum(), rel=1e-4
    )


def test_calibrating_again_starts_from_the_model_and_not_from_the_last_calibration(
    calibrated: Path, drawn_folder: Path
) -> None:
    first = calibration_of_artifact(open_artifact(calibrated))
    again, _ = calibrate_artifact(calibrated, drawn_folder, runtime="onnxruntime", threads=1)
    assert first is not None
    assert again == first.metadata


def test_a_class_without_images_and_an_emotion_that_the_model_lacks_are_said(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = Path(shutil.copytree(drawn_folder, tmp_path / "faces"))
    (faces / "fear").rename(faces / "contempt")
    (faces / "anger").rename(faces / "Anger")
    outcome = command(artifact.folder, faces)
    assert outcome.exit_code == 0, outcome.output
    assert caplog.messages == [
        f"{faces}: left out 12 x the model has no class contempt "
        "(contempt/004.png, contempt/011.png, contempt/018.png, …)"
    ]
    assert (
        "warning: there are no images of fear: faces that show it may be taken for unknown\n"
        in outcome.stderr
    )
    assert "72 of faces" in outcome.stdout


def test_folders_are_called_as_for_a_training_and_broken_images_are_left_out(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = Path(shutil.copytree(drawn_folder, tmp_path / "archive" / "faces" / "train"))
    for label, name in {"happiness": "happy", "sadness": "Sad", "anger": "6_ANGRY"}.items():
        (faces / label).rename(faces / name)
    for number, junk in enumerate(("__MACOSX", "@eaDir", ".ipynb_checkpoints")):
        shutil.copytree(faces / "fear", faces / junk)
        (faces / "fear" / f"broken{number}.jfif").write_bytes(b"text")
    with Image.open(next((faces / "fear").glob("*.png"))) as image:
        image.save(faces / "fear" / "scan.tif")
    outcome = command(artifact.folder, tmp_path / "archive", "--json")
    assert outcome.exit_code == 0, outcome.output
    counts = dict.fromkeys(artifact.manifest.labels, 12)
    assert json.loads(outcome.stdout)["images"] == counts | {"fear": 13}
    [line] = caplog.messages
    assert line.startswith(
        f"{tmp_path}/archive: left out 3 x unreadable image (faces/train/fear/broken0"
    )
    assert "fear/broken2.jfif each is not a JPEG, PNG" in line
    assert line.endswith("), 3 x hidden or of the system")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda faces: (faces / "fear").rename(faces / "boredom"),
            "boredom is not called as a class of the model",
        ),
        (shutil.rmtree, "is not a folder; give one that holds a folder of images for each class"),
        (
            lambda faces: [path.unlink() for path in sorted((faces / "fear").iterdir())[3:]],
            "the class fear has 3 im",
        ),
        (
            lambda faces: [path.write_bytes(b"text") for path in (faces / "fear").iterdir()],
            r"12 of 84 images cannot be read, more than 5%: .*is not a JPEG",
        ),
    ],
)
def test_a_folder_that_does_not_do_is_one_line_and_changes_nothing(
    change, message: str, artifact: Artifact, drawn_folder: Path, tmp_path: Path
) -> None:
    faces = Path(shutil.copytree(drawn_folder, tmp_path / "faces"))
    change(faces)
    with pytest.raises(MotivNetError, match=message) as caught:
        calibrate_artifact(artifact.folder, faces, runtime="onnxruntime", threads=1)
    assert "\n" not in str(caught.value)
    assert open_artifact(artifact.folder).manifest == artifact.manifest


class BlindDetector:
    """A detector that finds no face, or one that is the whole picture."""

    def __init__(self, *, every: int) -> None:
        self.every, self.seen = every, 0

    def detect(self, pixels: np.ndarray) -> tuple:
        from motivnet.prediction import Box
        from motivnet_engines.faces.detector import Face

        self.seen += 1
        box = Box(x=0.0, y=0.0, width=float(pixels.shape[1]), height=float(pixels.shape[0]))
        return () if self.every == 0 or self.seen % self.every == 0 else (Face(box=box, score=1.0),)


def test_images_without_a_face_are_counted_and_left_out(
    artifact: Artifact, drawn_folder: Path
) -> None:
    metadata, warnings = calibrate_artifact(
        artifact.folder,
        drawn_folder,
        runtime="onnxruntime",
        threads=1,
        detector=BlindDetector(every=42),
    )
    assert metadata.detected
    assert sum(metadata.images.values()) == 82
    assert warnings == ["no face was found in 2 images, left out"]


def test_a_folder_in_which_no_face_is_found_says_what_to_do(
    artifact: Artifact, drawn_folder: Path
) -> None:
    with pytest.raises(
        DatasetError,
        match=r"no face was found in any image of .*; if they are faces, use no detector",
    ):
        calibrate_artifact(
            artifact.folder,
            drawn_folder,
            runtime="onnxruntime",
            threads=1,
            detector=BlindDetector(every=0),
        )


def test_too_few_images_are_said_before_anything_is_opened(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path
) -> None:
    for label in ("fear", "anger", "neutral"):
        shutil.copytree(drawn_folder / label, tmp_path / "faces" / label)
    with pytest.raises(DatasetError, match="36 images cannot tell"):
        calibrate_artifact(artifact.folder, tmp_path / "faces", runtime="of no such name")
    with pytest.raises(DatasetError, match="36 images cannot tell"):
        calibrate_artifact(
            artifact.folder, drawn_folder, held_out=tmp_path / "faces", runtime="of no such name"
        )


def test_folders_of_other_emotions_alone_are_one_line(
    artifact: Artifact, drawn_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_folder / "fear", tmp_path / "faces" / "contempt")
    with pytest.raises(DatasetError, match="holds no image of a class of the model "):
        calibrate_artifact(artifact.folder, tmp_path / "faces", runtime="onnxruntime")


def test_a_rebuild_says_that_the_calibration_is_gone(
    calibrated: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder, said = shutil.copytree(calibrated, tmp_path / "demo"), list[str]()
    build_artifact(
        BuildRequest(checkpoint=tiny_checkpoint, out=folder, num_images=2), on_message=said.append
    )
    assert open_artifact(folder).manifest.calibration is None
    assert said == [
        "the calibration of the older artifact went with it; "
        f"make it again with: motivnet calibrate {folder}"
    ]
