"""Classes added two at a time to a trained encoder: what the old ones lose, and what all at once would give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from motivnet.labels import EMOTIONS
from motivnet.synthetic import iterate_faces
from motivnet_engines.adaptation.adapting import adapt_artifact


def draw(root: Path, count: int, *, seed: int) -> Path:
    for index, face in enumerate(iterate_faces(7 * count, seed=seed, size=(128, 96))):
        folder = root / EMOTIONS[index % 7]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / f"{index:04}.png")
    return root


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_old_classes_are_not_forgotten_on_faces_never_seen(demo_artifact: Path, tmp_path: Path) -> None:
    training, validation = (draw(tmp_path / f"{n}", n, seed=1_000 + n) for n in (40, 50))
    classes, falls, accuracy = None, [], None
    for step in (EMOTIONS[0:2], EMOTIONS[2:4], EMOTIONS[4:6], EMOTIONS[6:7]):
        for name in step:
            shutil.copytree(training / name, tmp_path / step[0] / name)
        found = adapt_artifact(
            demo_artifact,
            tmp_path / step[0],
            classes=classes,
            out=tmp_path / "classes.npz",
            validation=validation,
            runtime="onnxruntime",
            threads=1,
        )
        if classes is not None and found.old_before is not None and found.old_after is not None:
            falls.append(found.old_before - found.old_after)
        classes, accuracy = tmp_path / "classes.npz", found.accuracy
    at_once = adapt_artifact(
        demo_artifact, training, out=tmp_path / "all.npz", validation=validation, runtime="onnxruntime", threads=1
    )
    assert len(falls) == 3
    assert sum(falls) / 3 <= 0.02
    assert accuracy is not None
    assert at_once.accuracy is not None
    assert accuracy >= at_once.accuracy - 0.03
    assert at_once.accuracy > 0.85
