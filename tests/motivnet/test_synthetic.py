import hashlib
import subprocess
import sys

import numpy as np
import pytest

from motivnet.errors import ConfigError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face, iterate_faces, synthetic_faces

SIZE = (128, 96)


@pytest.mark.parametrize("size", [(128, 96), (256, 192), (64, 64), (33, 50)])
@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_face_of_every_emotion_has_the_size_asked_for(
    emotion: str, size: tuple[int, int]
) -> None:
    face = draw_face(emotion, seed=3, size=size)
    assert face.shape == (*size, 3)
    assert face.dtype == np.uint8
    assert face.std() > 10


def test_equal_seeds_give_equal_faces_in_another_process() -> None:
    code = (
        "import hashlib; from motivnet.synthetic import draw_face; "
        "print(hashlib.sha256(draw_face('fear', seed=5).tobytes()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert hashlib.sha256(draw_face("fear", seed=5).tobytes()).hexdigest() == other


def test_different_seeds_give_different_people() -> None:
    assert len({draw_face("neutral", seed=seed, size=SIZE).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_an_emotion_changes_the_middle_of_the_face_and_nothing_around_it(emotion: str) -> None:
    changes = np.mean(
        [
            np.abs(
                draw_face(emotion, seed=s, size=SIZE).astype(int)
                - draw_face("neutral", seed=s, size=SIZE)
            ).max(axis=2)
            for s in range(12)
        ],
        axis=0,
    )
    assert changes[:24].mean() < 1  # hair
    assert changes[:, :8].mean() < 1  # background on the left
    assert changes[:, -8:].mean() < 1  # and on the right
    assert changes[116:].mean() < 1  # neck and clothes
    assert changes[40:105, 20:76].mean() > 4


def test_every_two_emotions_of_one_person_differ() -> None:
    faces = [draw_face(emotion, seed=1, size=SIZE).astype(int) for emotion in EMOTIONS]
    for i, one in enumerate(faces):
        for other in faces[:i]:
            assert (np.abs(one - other).max(axis=2) > 20).sum() > 40


def test_a_series_goes_through_the_labels_in_turn() -> None:
    labels = ("anger", "happiness")
    series = synthetic_faces(5, seed=0, size=SIZE, labels=labels)
    assert len(series) == 5
    assert not np.array_equal(series[0], series[2])
    swapped = synthetic_faces(5, seed=0, size=SIZE, labels=labels[::-1])
    assert not np.array_equal(series[0], swapped[0])
    np.testing.assert_array_equal(
        series[3], synthetic_faces(4, seed=0, size=SIZE, labels=("fear", "happiness"))[3]
    )


def test_a_longer_series_begins_with_the_shorter() -> None:
    short, long = synthetic_faces(7, seed=4, size=SIZE), list(iterate_faces(9, seed=4, size=SIZE))
    np.testing.assert_array_equal(short, long[:7])


def test_series_of_different_seeds_share_no_face() -> None:
    first, second = (
        {face.tobytes() for face in synthetic_faces(40, seed=seed, size=SIZE)} for seed in (0, 1)
    )
    assert len(first) == len(second) == 40
    assert not first & second


def test_an_unknown_emotion_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="no face is drawn for 'boredom'; the emotions are neutral, happiness"
    ):
        draw_face("boredom", seed=0)


def test_drawing_imports_no_torch() -> None:
    code = "import sys, motivnet.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
