"""Classes added two at a time to a trained encoder: what the old ones lose.

Most of that is competition: new classes take the images that look like them, and refitting
everything from scratch after each step loses as much. So both are measured in the same orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivnet.artifact import open_artifact
from motivnet.datasets.class_folders import read_class_folders
from motivnet.labels import EMOTIONS
from motivnet.synthetic import iterate_faces
from motivnet_engines.adaptation.evaluation import evaluate, forgetting
from motivnet_engines.adaptation.learning import learn_classes
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs, compute_outputs
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.heads import mixture_features
from motivnet_engines.runtimes.selection import open_runtime

ORDERS = (
    EMOTIONS,
    EMOTIONS[::-1],
    tuple(sorted(EMOTIONS)),
    *(tuple(np.random.default_rng(seed).permutation(EMOTIONS).tolist()) for seed in range(2)),
)
POINT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Accuracy by class after each step."""

    steps: list[dict[str, float]]

    @property
    def final(self) -> float:
        return float(np.mean(list(self.steps[-1].values())))

    @property
    def forgetting(self) -> float:
        best: dict[str, float] = {}
        for step in self.steps[:-1]:
            best |= {label: max(share, best.get(label, 0)) for label, share in step.items()}
        found = forgetting(best, self.steps[-1])
        assert found is not None
        return found


def outputs_of(artifact: Path, *folders: Path) -> list[LabelledOutputs]:
    opened = open_artifact(artifact)
    runtime = open_runtime(opened, runtime="onnxruntime", threads=1)
    with EmotionClassifier(runtime, opened.manifest) as classifier:
        return compute_outputs(
            classifier,
            [read_class_folders(folder, labels=(), new_classes=True) for folder in folders],
        )


def only(outputs: LabelledOutputs, labels: Sequence[str]) -> LabelledOutputs:
    kept = np.isin(np.array(outputs.labels)[outputs.classes], labels)
    return replace(
        outputs,
        classes=outputs.classes[kept],
        logits=outputs.logits[kept],
        embedding=outputs.embedding[kept],
    )


def course(
    training: LabelledOutputs, validation: LabelledOutputs, order: Sequence[str], *, refit: bool
) -> Course:
    """Two classes at a time: added to the earlier ones, or all so far refitted from scratch."""
    head, steps = None, []
    for end in range(2, len(order) + 2, 2):
        shown = only(training, order[:end] if refit else order[end - 2 : end])
        head = learn_classes(shown, before=None if refit else head)[0]
        seen = only(validation, order[:end])
        densities = head.log_densities(mixture_features(seen.logits, seen.embedding))
        steps.append(evaluate(seen, densities, head.labels).by_class())
    return Course(steps=steps)


def courses(
    training: LabelledOutputs, validation: LabelledOutputs, *, names: Sequence[str]
) -> tuple[list[Course], list[Course]]:
    """In each order: classes added, and everything fitted again."""
    orders = [[name for name in order if name in names] for order in ORDERS]
    added, refitted = (
        [course(training, validation, order, refit=refit) for order in orders]
        for refit in (False, True)
    )
    return added, refitted


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def draw(root: Path, count: int, *, seed: int) -> Path:
    for index, face in enumerate(iterate_faces(7 * count, seed=seed, size=(128, 96))):
        folder = root / EMOTIONS[index % 7]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / f"{index:04}.png")
    return root


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_drawn_classes_lose_at_most_two_points(demo_artifact: Path, tmp_path: Path) -> None:
    folders = [draw(tmp_path / f"{count}", count, seed=1_000 + count) for count in (40, 50)]
    added, refitted = courses(*outputs_of(demo_artifact, *folders), names=EMOTIONS[:7])
    assert mean([each.forgetting for each in added]) <= 2 * POINT, added
    assert (
        mean([each.final for each in added]) >= mean([each.final for each in refitted]) - 3 * POINT
    )
    assert mean([each.final for each in refitted]) > 0.85


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(3600)
def test_rendered_classes_lose_what_they_lose_when_everything_is_fitted_again(
    expressions_artifact: Path, shared_dir: Path
) -> None:
    """Two points are not held here, nor by fitting everything again: the encoder confuses the
    classes.

    Over these orders 6.5 points are lost and 7.3 by fitting again; with an encoder that was trained
    for longer (accuracy 91 %) 3.7 and 4.5.
    """
    rendered = shared_dir / "data" / "expressions"
    added, refitted = courses(
        *outputs_of(expressions_artifact, rendered / "train", rendered / "val"), names=EMOTIONS
    )
    lost, lost_anyway = (
        mean([each.forgetting for each in courses]) for courses in (added, refitted)
    )
    assert lost <= lost_anyway + POINT, (lost, lost_anyway)
    assert lost <= 9 * POINT, (lost, lost_anyway)
    assert (
        mean([each.final for each in added]) >= mean([each.final for each in refitted]) - 3 * POINT
    )
    assert mean([each.final for each in refitted]) >= 0.8
