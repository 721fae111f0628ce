"""Out-of-distribution detection: rendered faces against pictures without any.

The statistics are of rendered faces: which the first encoder, of drawn faces, never saw, and the
second was trained on.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from motivnet.prediction import Prediction
from motivnet_engines.calibration.calibrate import calibrate_artifact
from motivnet_engines.inference.classifier import EmotionClassifier

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
            top, left = (
                int(generator.integers(0, length - side + 1)) for length in picture.shape[:2]
            )
            pictures.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return pictures


def rgb(picture: NDArray[np.generic]) -> NDArray[np.uint8]:
    scaled = (
        picture
        if picture.dtype == np.uint8
        else (picture.astype(np.float64) * 255).astype(np.uint8)
    )
    return np.ascontiguousarray(
        np.repeat(scaled[..., None], 3, axis=2) if scaled.ndim == 2 else scaled[..., :3]
    )


def auroc(inside: list[float], outside: list[float]) -> float:
    return float(roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside))


def areas(
    artifact: Path, rendered: Path, noise_and_textures, folder: Path
) -> dict[str, dict[str, float]]:
    """AUROC by score and by kind of picture ("all" together), calibrated on rendered faces."""
    shutil.copytree(artifact, folder)
    calibrate_artifact(folder, rendered / "train", runtime="onnxruntime", threads=1)
    with EmotionClassifier.open(folder, runtime="onnxruntime", threads=1) as classifier:
        faces = classifier.predict(sorted((rendered / "val").rglob("*.jpg")))
        kinds = {
            "noise": classifier.predict(noise_and_textures[0]),
            "textures": classifier.predict(noise_and_textures[1]),
            "pictures": classifier.predict(sample_pictures()),
        }
    assert len(faces) == 400
    assert np.mean([face.known for face in faces]) >= 0.9
    kinds["all"] = [*itertools.chain.from_iterable(kinds.values())]
    scores: dict[str, Callable[[Prediction], float]] = {
        "distance": lambda face: float(face.distance or 0),
        "energy": lambda face: face.energy,
    }
    return {
        name: {
            kind: auroc([score(face) for face in faces], [score(other) for other in others])
            for kind, others in kinds.items()
        }
        for name, score in scores.items()
    }


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(1800)
def test_distance_tells_faces_from_each_kind_of_other_pictures(
    demo_artifact: Path, shared_dir: Path, noise_and_textures, tmp_path: Path
) -> None:
    """The energy does not: these logits are of drawn faces, and larger for textures than faces."""
    found = areas(
        demo_artifact,
        shared_dir / "data" / "expressions",
        noise_and_textures,
        tmp_path / "artifact",
    )
    assert found["distance"]["all"] >= 0.95, found
    assert min(found["distance"].values()) >= 0.94, found
    assert found["energy"]["all"] < found["distance"]["all"] - 0.1, found


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(3600)
def test_energy_tells_the_faces_that_the_model_was_trained_on(
    expressions_artifact: Path, shared_dir: Path, noise_and_textures, tmp_path: Path
) -> None:
    """The distance has 0.88 after this short training, 0.98 after a long one."""
    found = areas(
        expressions_artifact,
        shared_dir / "data" / "expressions",
        noise_and_textures,
        tmp_path / "artifact",
    )
    assert found["energy"]["all"] >= 0.85, found
    assert found["distance"]["all"] >= 0.8, found
