"""The cascade over fake runtimes, where every call can be seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from motivnet.artifact.manifest import ModelIdentity
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, MotivNetError, RuntimeUnavailableError
from motivnet.prediction import Box
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.cascade import Cascade
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.escalation import Escalation
from motivnet_engines.inference.preprocessing import PreparedImage
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest

LARGER = ModelConfig.named("tiny").at((256, 192))


class TwoFaces:
    """A detector that takes the two halves of a picture for faces, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        self.calls += 1
        height, width = pixels.shape[:2]
        halves = (
            Box(x=float(left), y=0.0, width=width / 2, height=float(height))
            for left in (0, width // 2)
        )
        return tuple(Face(box=box, score=0.9) for box in halves)


def escalation(threshold: float) -> Escalation:
    return Escalation(
        student=ModelIdentity(graph="0" * 64, checkpoint=None),
        full=ModelIdentity(graph="1" * 64, checkpoint=None),
        full_name="full",
        labels=fake_manifest().labels,
        calibration=None,
        threshold=threshold,
        max_changed=0.02,
        images=400,
        by_student=300,
        changed=2,
        unknown=0,
        student_flop=1,
        full_flop=10,
        student_ms=1.0,
        full_ms=10.0,
        folder="val",
        detected=False,
        runtime="fake",
    )


def cascade_over_fakes(threshold: float, detector: TwoFaces | None = None) -> Cascade:
    """A student of 128x96 floats, and a full model of 256x192 bytes with a white border."""
    student, full = (
        fake_manifest(),
        fake_manifest(LARGER, preprocessing="square-white-pad", dtype="uint8", max_batch=3),
    )
    return Cascade(
        EmotionClassifier(FakeRuntime(student), student, detector=detector),
        EmotionClassifier(FakeRuntime(full, seed=1), full, detector=detector),
        escalation(threshold),
    )


def calls_of(classifier: EmotionClassifier) -> list[int]:
    assert isinstance(classifier.runtime, FakeRuntime)
    return [len(call["image"]) for call in classifier.runtime.calls]


def answers(cascade: Cascade, images: list[np.ndarray]) -> list:
    found = []
    for outcome in cascade.outcomes(images):
        assert not isinstance(outcome, MotivNetError)
        found += outcome.faces
    return found


def median_confidence(cascade: Cascade, images: list[np.ndarray]) -> float:
    return float(np.median([one.confidence for one in cascade.student.predict(images)]))


def test_the_unsure_ones_of_a_batch_go_to_the_full_model_together(pixels) -> None:
    images = pixels(8)
    threshold = median_confidence(cascade_over_fakes(0.0), images)
    cascade = cascade_over_fakes(threshold)
    found = answers(cascade, images)
    # Four of the eight, in calls of at most three.
    assert (calls_of(cascade.student), calls_of(cascade.full)) == ([8], [3, 1])
    other = cascade_over_fakes(threshold)
    by_student, by_full = other.student.predict(images), other.full.predict(images)
    for prediction, own, asked in zip(found, by_student, by_full, strict=True):
        expected = own if own.confidence >= threshold else asked
        assert prediction.probabilities == expected.probabilities
        assert prediction.label == expected.label
        assert prediction.answered_by == ("student" if expected is own else "full")
    assert (cascade.faces, cascade.by_student) == (8, 4)
    share = ModelConfig.named("tiny").flop / LARGER.flop + 0.5
    assert cascade.summary() == (
        f"8 faces: 4 by the student, 4 by the full model; {share:.0%} of the full model's cost "
        "(FLOP)"
    )


@pytest.mark.parametrize(("threshold", "asked"), [(0.0, 0), (1.0, 4)])
def test_at_the_ends_only_one_model_answers(threshold: float, asked: int, pixels) -> None:
    cascade = cascade_over_fakes(threshold)
    found = answers(cascade, pixels(4))
    assert sum(one.answered_by == "full" for one in found) == asked == sum(calls_of(cascade.full))


def test_a_confidence_of_just_the_threshold_is_answered_by_the_student(pixels) -> None:
    images = pixels(4)
    own = cascade_over_fakes(0.0).student.predict(images)
    lowest = min(one.confidence for one in own)
    assert {one.answered_by for one in answers(cascade_over_fakes(lowest), images)} == {"student"}
    above = np.nextafter(lowest, 1.0)
    found = answers(cascade_over_fakes(float(above)), images)
    assert [one.answered_by for one in found].count("full") == 1


def test_without_an_escalation_the_full_model_is_always_asked(pixels) -> None:
    cascade = cascade_over_fakes(0.0)
    cascade.escalation = None
    assert {one.answered_by for one in answers(cascade, pixels(4))} == {"full"}


def test_faces_are_found_once_and_cropped_as_by_either_model_alone(pixels) -> None:
    detector = TwoFaces()
    cascade = cascade_over_fakes(1.0, detector)
    prepared = cascade.prepare(pixels(1)[0])
    assert detector.calls == 1
    for name, model in (("student", cascade.student), ("full", cascade.full)):
        alone = model.prepare(pixels(1)[0])
        assert [face.box for face in alone.faces] == [face.box for face in prepared.faces]
        for pair, array in zip(prepared.inputs, alone.inputs, strict=True):
            assert np.array_equal(getattr(pair, name), array)
    pair = prepared.inputs[0]
    assert pair.nbytes == pair.student.nbytes + pair.full.nbytes


def test_what_cannot_be_read_and_what_has_no_face_stay_in_their_places(pixels) -> None:
    class NoFace:
        def detect(self, _: np.ndarray) -> tuple[Face, ...]:
            return ()

    cascade = cascade_over_fakes(1.0)
    outcomes = list(cascade.outcomes([pixels(1)[0], b"no image", pixels(2)[1]]))
    assert [isinstance(one, MotivNetError) for one in outcomes] == [False, True, False]
    assert "images[1] is not a JPEG" in str(outcomes[1])
    cascade = cascade_over_fakes(1.0)
    assert cascade.classify_group([None]) == [None]
    cascade.detector = NoFace()
    [empty] = cascade.outcomes(pixels(1))
    assert empty.faces == ()
    assert cascade.summary().startswith("no face was found")


def test_several_threads_are_counted_and_answered_right(pixels) -> None:
    images = pixels(8)
    cascade = cascade_over_fakes(median_confidence(cascade_over_fakes(0.0), images))
    inputs = [cascade.prepare(image).inputs[0] for image in images]
    expected = cascade.classify(inputs)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cascade.classify(inputs), range(40)))
    assert all(one == expected for one in found)
    assert (cascade.faces, cascade.by_student) == (41 * 8, 41 * 4)


def test_both_models_are_closed_even_if_one_fails_to(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = cascade_over_fakes(1.0)
    full = cascade.full.runtime
    assert isinstance(full, FakeRuntime)

    def broken() -> None:
        raise RuntimeUnavailableError("broken")

    monkeypatch.setattr(cascade.student.runtime, "close", broken)
    with pytest.raises(RuntimeUnavailableError, match="broken"), cascade:
        pass
    assert full.closed


def test_a_prepared_image_names_the_bytes_of_both_inputs(pixels) -> None:
    prepared = cascade_over_fakes(1.0).prepare(pixels(1)[0])
    assert isinstance(prepared, PreparedImage)
    assert prepared.inputs[0].nbytes == 4 * 3 * 128 * 96 + 3 * 256 * 192


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"by_student": 401}, "do not fit"), ({"changed": 301}, "do not fit")],
)
def test_counts_that_cannot_be_are_refused(changes: dict[str, int], message: str) -> None:
    import msgspec

    with pytest.raises(ConfigError, match=message):
        Escalation(**{**msgspec.structs.asdict(escalation(0.5)), **changes})


def test_an_artifact_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MotivNetError, match="nowhere"):
        Cascade.open(tmp_path / "nowhere", tmp_path)
