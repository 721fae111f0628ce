"""The parts of a picture that do not move: background, shoulders, hair, head and light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.synthetic.canvas import Canvas, Points, curve, ellipse
from motivnet.synthetic.person import Person, Scene


def draw_background(canvas: Canvas, scene: Scene) -> None:
    """A blurred wall of a few colours that run into one another."""
    height, width = canvas.pixels.shape[:2]
    coarse = np.clip(scene.background, 0, 255).astype(np.uint8)
    canvas.pixels[:] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw_shoulders(canvas: Canvas, person: Person, scene: Scene) -> None:
    """Long hair behind the head, the neck and the clothes."""
    if person.hair_length > 0.6:
        low = person.hair_length
        canvas.fill(
            ellipse((0.0, low / 2 - 0.45), (person.half_width * 1.22, 0.55 + low / 2)),
            person.hair * 0.85,
        )
    neck = person.half_width * 0.55
    canvas.fill(
        np.array([(-neck, 0.6), (neck, 0.6), (neck * 1.05, 1.5), (-neck * 1.05, 1.5)]),
        person.skin * 0.8,
    )
    canvas.fill(
        np.vstack(
            [
                curve((-1.6, 2.2), (-1.4, 1.15), (-neck, 1.22)),
                curve((neck, 1.22), (1.4, 1.15), (1.6, 2.2)),
            ]
        ),
        scene.clothes,
    )


def draw_head(canvas: Canvas, person: Person) -> None:
    """Ears and the bare head."""
    for side in (-1.0, 1.0):
        canvas.fill(
            ellipse((side * person.half_width * 1.0, person.eye_line + 0.12), (0.09, 0.18)),
            person.skin * 0.9,
        )
    canvas.fill(_outline(person), person.skin)


def draw_hair(canvas: Canvas, person: Person) -> None:
    """Hair over the forehead, parted, with sides down to its length."""
    if person.hair_length < 0.12:
        return
    half, line, top = person.half_width, person.hair_line, -1.14
    side = min(person.eye_line + 0.1, line + 0.35 * person.hair_length + 0.25)
    part = person.parting * half
    crown = curve(
        (-half * 1.06, side),
        (-half * 1.25, top * 1.15),
        (half * 1.25, top * 1.15),
        (half * 1.06, side),
        samples=24,
    )
    fringe = np.vstack(
        [
            curve((half * 1.06, side), (half * 0.9, line - 0.06), (part, line - 0.1)),
            curve((part, line - 0.1), (-half * 0.9, line - 0.06), (-half * 1.06, side)),
        ]
    )
    canvas.fill(np.vstack([crown, fringe]), person.hair)
    canvas.stroke(curve((part, line - 0.1), (part * 0.9, -0.9)), person.hair * 0.8, 0.02)


def lit(canvas: Canvas, scene: Scene) -> NDArray[np.uint8]:
    """The picture under its light: brighter on one side, darker towards the edges of the head."""
    height, width = canvas.pixels.shape[:2]
    rows, columns = np.mgrid[0 : height : height / 16, 0 : width : width / 12]
    x = (columns - canvas.matrix[0, 2]) / canvas.unit
    y = (rows - canvas.matrix[1, 2]) / canvas.unit
    slope = np.clip(x, -1.2, 1.2) * scene.light[0] + np.clip(y, -1.2, 1.2) * scene.light[1]
    gain = scene.brightness * (1 + scene.contrast * slope - 0.1 * np.clip(x**2 + y**2 / 2, 0, 1.5))
    tint = np.array([1 + scene.warmth, 1.0, 1 - scene.warmth])
    smooth = cv2.resize(
        (gain[:, :, None] * tint).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    return np.asarray(cv2.multiply(canvas.pixels, smooth, dtype=cv2.CV_8U), np.uint8)


def _outline(person: Person) -> Points:
    """The head from above: half an ellipse for the skull, then cheeks that narrow to the chin."""
    half, jaw = person.half_width, person.half_width * person.jaw
    skull = ellipse((0.0, -0.05), (half, 0.98), 48)
    skull = skull[skull[:, 1] <= 0.0]
    order = np.argsort(skull[:, 0])
    right = curve((half, 0.0), (half * 0.98, 0.55), (jaw * 0.95, 0.98), (0.0, 1.0), samples=20)
    left = right[::-1] * (-1, 1)
    return np.vstack([skull[order], right, left])
