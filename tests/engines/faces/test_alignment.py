"""Faces come to lie in one position, however they were turned, and a picture without one stays."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from motivnet import schema
from motivnet.artifact.manifest import InputEntry
from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import ArtifactError, ConfigError
from motivnet.preprocess import Preprocessing
from motivnet_engines.diagnostics.tables import input_text
from motivnet_engines.faces.alignment import POSITION, align_face, aligned, find_points
from motivnet_engines.faces.detector import square_crop
from motivnet_engines.inference.preprocessing import prepare_image
from motivnet_engines.runtimes.signature import batch_from_images
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest
from motivnet_training.data import ImageInputs, decode_images, warn_of_unaligned

PLAIN = Preprocessing.named("stretch", size=(64, 48))
ALIGNED = Preprocessing.named("stretch", size=(64, 48), align=True)


def similarity(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Returns what moves the points of ``POSITION`` in a picture of 200 pixels."""
    turn = cv2.getRotationMatrix2D((100, 100), degrees, scale)
    turn[:, 2] += shift
    return turn


def marked(points: np.ndarray) -> np.ndarray:
    """Returns 200 x 200 black pixels with a soft white spot at each point."""
    rows, columns = np.indices((200, 200))
    spots = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0) for x, y in points)
    return np.repeat((255 * np.clip(spots, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("degrees", [0, 17, -40, 90, 180])
def test_the_points_come_to_the_position_whatever_moved_them(degrees: float) -> None:
    matrix = similarity(degrees, 0.8, (6, -9))
    moved = POSITION * 200 @ matrix[:, :2].T + matrix[:, 2]
    face = align_face(marked(moved), [tuple(point) for point in moved])
    assert face.shape == (200, 200, 3)
    for x, y in POSITION * 200:
        top, left = round(y) - 8, round(x) - 8
        around = face[top : top + 17, left : left + 17, 0].astype(float)
        rows, columns = np.indices(around.shape)
        centre = (columns * around).sum() / around.sum(), (rows * around).sum() / around.sum()
        assert left + centre[0] == pytest.approx(x, abs=1)
        assert top + centre[1] == pytest.approx(y, abs=1)


def test_a_face_in_the_position_stays_where_it_is() -> None:
    picture = marked(POSITION * 200)
    same = align_face(picture, [tuple(point) for point in POSITION * 200])
    assert np.abs(same.astype(int) - picture).max() <= 1


def test_points_in_one_place_align_nothing() -> None:
    picture = marked(POSITION * 200)
    assert align_face(picture, [(3.0, 4.0)] * 5) is picture


def test_a_picture_without_a_face_stays_as_it_is() -> None:
    grey = np.full((40, 30, 3), 128, np.uint8)
    assert aligned(ALIGNED, grey) is grey


def test_only_a_preprocessing_that_aligns_says_so() -> None:
    assert b"align" not in schema.encode(PLAIN)
    assert msgspec.json.decode(schema.encode(ALIGNED), type=Preprocessing) == ALIGNED
    entry = InputEntry(name="image", dtype="float32", preprocessing=PLAIN)
    assert "aligned" not in input_text(entry)
    aligning = InputEntry(name="image", dtype="float32", preprocessing=ALIGNED)
    assert input_text(aligning).endswith("to 64 x 48, faces aligned by five points")
    with pytest.raises(ArtifactError, match="a graph that resizes cannot align faces"):
        InputEntry(name="image", dtype="uint8", preprocessing=ALIGNED, any_size=True)


def test_a_graph_that_resizes_is_refused_before_it_is_exported(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_checkpoint(tiny_checkpoint)
    size = loaded.config.encoder.image_size
    save_model(
        loaded.model,
        tmp_path / "aligning.safetensors",
        config=loaded.config,
        labels=loaded.labels,
        preprocessing=Preprocessing.named("stretch", size=size, align=True),
        metadata=loaded.metadata,
    )

    def compute(*_: object, **__: object) -> None:
        raise AssertionError("it was compared")

    monkeypatch.setattr("motivnet_export.build.compute_reference", compute)
    request = BuildRequest(
        checkpoint=tmp_path / "aligning.safetensors", out=tmp_path / "out", input="image"
    )
    with pytest.raises(ConfigError, match="aligns faces, which a graph that resizes"):
        build_artifact(request)


def test_images_without_a_face_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    grey = RawPixels(data=bytes([128]) * 1600, size=(40, 40))
    warn_of_unaligned([Sample(name=str(number), image=grey, label=0) for number in range(3)])
    [line] = caplog.messages
    assert line.startswith("no face was found in 3 of 3 images, such as 0: they are used as they")


@pytest.mark.shared
def test_real_faces_are_turned_upright(london) -> None:
    for pixels, box in london(every=30):
        crop = square_crop(pixels, box)
        height, width = crop.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 30, 1.0)
        turned = cv2.warpAffine(crop, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        points = find_points(aligned(ALIGNED, turned))
        assert points is not None
        off = np.array(points) / max(height, width) - POSITION
        assert np.abs(off.mean(axis=0)).max() < 0.05
        eyes = np.subtract(points[1], points[0])
        assert abs(np.degrees(np.arctan2(eyes[1], eyes[0]))) < 12


@pytest.mark.shared
def test_training_and_prediction_align_alike(london, detector, tmp_path: Path) -> None:
    [(pixels, box), *_] = london(every=60)
    crop = square_crop(pixels, box)
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.ascontiguousarray(crop[..., ::-1]))
    samples = [Sample(name="face", image=path, label=0)]
    decoded = decode_images(samples, ALIGNED)
    assert decoded is not None
    one_by_one = ImageInputs(samples=samples, preprocess=ALIGNED).batch([(-1, 0)]).numpy()
    entry = InputEntry(name="image", dtype="float32", preprocessing=ALIGNED)
    predicted = batch_from_images(entry, [crop])
    served = prepare_image(path, name="face", entry=entry).inputs[0]
    assert np.array_equal(ALIGNED.normalise(decoded), predicted)
    assert np.array_equal(one_by_one, predicted)
    assert np.array_equal(served, predicted[0])
    plain = batch_from_images(msgspec.structs.replace(entry, preprocessing=PLAIN), [crop])
    assert not np.array_equal(plain, predicted)


@pytest.mark.shared
def test_points_of_a_reduced_picture_are_those_of_the_whole(london, detector) -> None:
    [(pixels, _), *_] = london(every=60)
    [face] = detector.detect(pixels)
    large = cv2.resize(pixels, None, fx=4, fy=4)
    entry = InputEntry(name="image", dtype="float32", preprocessing=PLAIN)
    whole = prepare_image(large, name="large", entry=entry, detector=detector).faces[0]
    assert whole is not None
    assert face.points is not None
    assert whole.points is not None
    assert np.abs(np.array(whole.points) / 4 - face.points).max() < 0.08 * face.box.width
