import numpy as np
import pytest

from motivnet.synthetic import draw_face
from motivnet_training.augmentation import augment

FACE = draw_face("anger", seed=0, size=(64, 48))


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    assert np.array_equal(augment(FACE, "none", key=(0, 0, 0)), FACE)


def test_half_of_the_images_are_mirrored_and_nothing_else() -> None:
    mirrored = 0
    for index in range(200):
        changed = augment(FACE, "mirror", key=(0, 0, index))
        is_mirrored = np.array_equal(changed, FACE[:, ::-1])
        assert is_mirrored or np.array_equal(changed, FACE)
        mirrored += is_mirrored
    assert 70 < mirrored < 130


@pytest.mark.parametrize("kind", ["mirror", "strong"])
def test_what_is_drawn_follows_from_seed_epoch_and_index(kind) -> None:
    def sequence(seed: int, epoch: int) -> np.ndarray:
        return np.stack([augment(FACE, kind, key=(seed, epoch, index)) for index in range(16)])

    before = sequence(1, 2)
    np.random.default_rng(0).random()
    assert np.array_equal(sequence(1, 2), before)
    assert not np.array_equal(sequence(1, 3), before)
    assert not np.array_equal(sequence(2, 2), before)


def test_strong_changes_keep_the_size_the_image_and_the_face() -> None:
    original = FACE.copy()
    for index in range(50):
        changed = augment(FACE, "strong", key=(0, 0, index))
        assert (changed.shape, changed.dtype) == (FACE.shape, np.uint8)
        alike = max(
            np.corrcoef(changed.ravel(), each.ravel())[0, 1] for each in (FACE, FACE[:, ::-1])
        )
        assert 0.3 < alike < 0.9999
    assert np.array_equal(FACE, original)
