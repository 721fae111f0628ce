"""Complete faces from seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.labels import EMOTIONS
from motivnet.synthetic.canvas import canvas_for
from motivnet.synthetic.drawing import (
    draw_background,
    draw_brows,
    draw_cheeks,
    draw_eyes,
    draw_hair,
    draw_head,
    draw_mouth,
    draw_nose,
    draw_shoulders,
    light,
)
from motivnet.synthetic.person import Scene, sample_expression, sample_person, sample_scene


def draw_face(emotion: str, *, seed: int, size: tuple[int, int] = (256, 192)) -> NDArray[np.uint8]:
    """Return an RGB picture ``(H, W, 3)`` of a drawn face that shows an emotion.

    Faces with the same seed show the same person in the same pose, light and place.

    Args:
        emotion: One of ``motivnet.labels.EMOTIONS``.
        seed: Not negative; equal seeds give equal pixels.
        size: (height, width) in pixels.

    Raises:
        ConfigError: If there is no such emotion.
    """
    rng = np.random.default_rng(seed)
    person, scene = sample_person(rng), sample_scene(rng)
    expression = sample_expression(emotion, rng)
    canvas = canvas_for((2 * size[0], 2 * size[1]), scene)
    draw_background(canvas, scene)
    draw_shoulders(canvas, person, scene)
    draw_head(canvas, person)
    draw_nose(canvas, person, expression)
    draw_cheeks(canvas, person, expression)
    draw_mouth(canvas, person, expression)
    draw_eyes(canvas, person, expression)
    draw_hair(canvas, person)
    draw_brows(canvas, person, expression)
    return _photograph(light(canvas, scene), scene, size, rng)


def synthetic_faces(
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = (256, 192),
    labels: Sequence[str] = EMOTIONS[:7],
) -> list[NDArray[np.uint8]]:
    """Return drawn faces ``(H, W, 3)`` of different people, with the labels in turn.

    The first faces of a longer list are those of a shorter one; different seeds share no face.

    Raises:
        ConfigError: If a label is not an emotion.
    """
    return list(iterate_faces(count, seed=seed, size=size, labels=labels))


def iterate_faces(
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = (256, 192),
    labels: Sequence[str] = EMOTIONS[:7],
) -> Iterator[NDArray[np.uint8]]:
    """Iterate over the faces of ``synthetic_faces``."""
    for index in range(count):
        face_seed = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]
        yield draw_face(labels[index % len(labels)], seed=int(face_seed), size=size)


def _photograph(
    picture: NDArray[np.uint8], scene: Scene, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the picture at its final size, slightly blurred and with camera noise."""
    small = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    if scene.blur > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), scene.blur)
    noise = rng.standard_normal(small.shape, np.float32) * np.float32(scene.noise)
    return np.asarray(np.clip(np.rint(small + noise), 0, 255), np.uint8)
