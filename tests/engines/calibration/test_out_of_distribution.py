"""How well the distance of the embedding tells rendered faces from pictures without any.

The encoder learnt on drawn faces; the statistics are of rendered ones, which it never saw. A model that was trained on
the rendered faces does better still.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from motivnet_engines.calibration.calibrating import calibrate_artifact
from motivnet_engines.classifier import EmotionClassifier

SAMPLES = (
    "brick",
    "camera",
    "cell",
    "chelsea",
    "clock",
    "coffee",
    "coins",
    "colorwheel",
    "grass",
    "gravel",
    "horse",
    "hubble_deep_field",
    "immunohistochemistry",
    "logo",
    "microaneurysms",
    "moon",
    "page",
    "retina",
    "rocket",
    "text",
    "binary_blobs",
    "checkerboard",
    "shepp_logan_phantom",
)
"""What scikit-image ships inside; the astronaut has a face."""

CROPS = 8


def sample_pictures() -> list[NDArray[np.uint8]]:
    """Each sample whole and in square crops."""
    data = pytest.importorskip("skimage.data")
    generator, pictures = np.random.default_rng(0), []
    for name in SAMPLES:
        picture = rgb(np.asarray(getattr(data, name)()))
        pictures.append(picture)
        for _ in range(CROPS):
            side = int(min(picture.shape[:2]) * generator.uniform(0.4, 0.9))
            top, left = (int(generator.integers(0, length - side + 1)) for length in picture.shape[:2])
            pictures.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return pictures


def rgb(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    scaled = picture if picture.dtype == np.uint8 else (picture.astype(np.float64) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(scaled[..., None], 3, axis=2) if scaled.ndim == 2 else scaled[..., :3])


def auroc(inside: list[float], outside: list[float]) -> float:
    return float(roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(1800)
def test_distance_tells_faces_from_other_pictures(
    demo_artifact: Path, shared_dir: Path, noise_and_textures, tmp_path: Path
) -> None:
    rendered = shared_dir / "data" / "expressions"
    folder = shutil.copytree(demo_artifact, tmp_path / "artifact")
    calibrate_artifact(folder, rendered / "train", runtime="onnxruntime", threads=1)
    with EmotionClassifier.open(folder, runtime="onnxruntime", threads=1) as classifier:
        kinds = {
            "faces": classifier.predict(sorted((rendered / "val").rglob("*.jpg"))),
            "noise": classifier.predict(noise_and_textures[0]),
            "textures": classifier.predict(noise_and_textures[1]),
            "pictures": classifier.predict(sample_pictures()),
        }
    distances = {kind: [float(face.distance or 0) for face in faces] for kind, faces in kinds.items()}
    faces = distances.pop("faces")
    assert len(faces) == 400
    areas = {kind: auroc(faces, others) for kind, others in distances.items()}
    assert auroc(faces, [*itertools.chain.from_iterable(distances.values())]) >= 0.95, areas
    assert min(areas.values()) >= 0.93, areas
    assert np.mean([face.known for face in kinds["faces"]]) >= 0.9
